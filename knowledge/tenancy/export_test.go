package tenancy

import "time"

// SplitToken is splitToken.
func SplitToken(token string) (prefix, secret string, ok bool) { return splitToken(token) }

// SetNow gives k another clock.
func (k *Keys) SetNow(now func() time.Time) { k.now = now }

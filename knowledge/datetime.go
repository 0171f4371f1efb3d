package knowledge

import (
	"strconv"
	"time"
)

// ParseDatetime returns the instant of an RFC 3339 string of the years 1 to 9999
// in UTC, in seconds since 1970, rounded to the microsecond and then to the nearest
// float64, which tells microseconds apart until 2242 and 31 of them in 9999. It
// returns an [InvalidError]. A value of a [Datetime] field is compared by it.
func ParseDatetime(s string) (float64, error) {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return 0, Invalid("", "is not a time as in RFC 3339, such as 2027-01-31T12:00:00Z")
	}
	t = t.UTC().Round(time.Microsecond)
	if t.Year() < 1 || t.Year() > 9999 {
		return 0, Invalid("", "is outside of the years 1 to 9999 in UTC")
	}
	// From decimal, as PostgreSQL does: a division of the microseconds, which
	// can be more than a float64 tells apart, would round twice.
	micro := t.UnixMicro()
	sign := ""
	if micro < 0 {
		sign, micro = "-", -micro
	}
	fraction := strconv.FormatInt(1_000_000+micro%1_000_000, 10)[1:]
	return strconv.ParseFloat(sign+strconv.FormatInt(micro/1_000_000, 10)+"."+fraction, 64)
}

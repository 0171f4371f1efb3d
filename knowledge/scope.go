package knowledge

import (
	"context"
	"slices"
)

// LimitToViews returns a context in which a tenant has nothing but these views of
// its own: every other name is one of no collection, to read and to write, in lists
// and in definitions. No views limit it to nothing. It is set where a request is
// authenticated, and looked at in the one place of each [Store] where a name becomes
// a collection.
func LimitToViews(ctx context.Context, views []CollectionName) context.Context {
	return context.WithValue(ctx, viewsKey{}, slices.Clone(views))
}

type viewsKey struct{}

// ViewsOf returns the views that ctx is limited to, and whether it is at all.
func ViewsOf(ctx context.Context) (views []CollectionName, limited bool) {
	views, limited = ctx.Value(viewsKey{}).([]CollectionName)
	return views, limited
}

// Unlimited returns an error of the kind [ErrForbidden] where ctx is limited to
// views: what defines collections, aliases and views is for the others.
func Unlimited(ctx context.Context) error {
	if _, limited := ViewsOf(ctx); limited {
		return Forbidden("this key is limited to views, which can only be read")
	}
	return nil
}

// AskedBy returns a context of what is done for the key with this id. It is set
// where a request is authenticated, and looked at by who notes what was used. It
// gives no right. What is read by a share has the share's id instead.
func AskedBy(ctx context.Context, keyID string) context.Context {
	return context.WithValue(ctx, askerKey{}, keyID)
}

type askerKey struct{}

// AskerOf returns the id of the key that ctx is of, empty for work of the service's
// own, and in the background.
func AskerOf(ctx context.Context) string {
	id, _ := ctx.Value(askerKey{}).(string)
	return id
}

// ThroughShare returns a context for reading the owner's data by a share: that of one
// who has nothing but the view, and is the grantee to whatever keeps apart what each
// tenant asks. What is noted of it is noted for the share: a key of the grantee's is
// none of the owner's.
func ThroughShare(ctx context.Context, s Share) context.Context {
	ctx = AskedBy(LimitToViews(ctx, []CollectionName{s.View}), string(s.ID))
	return context.WithValue(ctx, guestKey{}, s.Grantee)
}

type guestKey struct{}

// GuestOf returns the tenant that reads another's data by a share, and whether ctx is
// of such a reading.
func GuestOf(ctx context.Context) (TenantID, bool) {
	guest, ok := ctx.Value(guestKey{}).(TenantID)
	return guest, ok
}

package knowledge

import (
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// MaxHidden is how many fields a view may hide.
const MaxHidden = 64

// View is a part of a collection under a name of its own: the records that pass a
// filter, without some of their metadata. It stands wherever records are read, and
// cannot be written through. A record that does not pass the filter is not found
// through the view.
type View struct {
	Name       CollectionName
	Collection CollectionName // or an alias, which the view then follows; a view of a view is refused
	Filter     Filter         // never zero; what admits all must be said, as an And of nothing
	Hidden     []string       // top-level keys that are left out of the metadata, and that no filter may name
	Defaults   Defaults       // go before those of the collection

	Created time.Time // set by the store
	Updated time.Time // set by the store
}

// Validate checks a view by itself, or returns an [InvalidError].
func (v View) Validate() error {
	switch {
	case v.Filter.IsZero():
		return Invalid("filter", "is missing; a view needs one, {\"and\":[]} admits all")
	case v.Name == v.Collection:
		return Invalid("collection", "is the view itself; need the name of a collection or of an alias")
	case len(v.Hidden) > MaxHidden:
		return Invalid("hidden", "has %d entries; at most %d are allowed", len(v.Hidden), MaxHidden)
	}
	seen := make(map[string]bool, len(v.Hidden))
	for i, key := range v.Hidden {
		switch {
		case key == "" || len(key) > MaxFilterField:
			return Invalid("hidden["+itoa(i)+"]", "has %d bytes; need 1 to %d", len(key), MaxFilterField)
		case !utf8.ValidString(key) || strings.IndexByte(key, 0) >= 0:
			return Invalid("hidden["+itoa(i)+"]", "is not UTF-8 text without NUL")
		case seen[key]:
			return Invalid("hidden["+itoa(i)+"]", "comes twice")
		}
		seen[key] = true
	}
	if err := v.Filter.Validate(Collection{}); err != nil {
		return At("filter", err)
	}
	return At("defaults", v.Defaults.Validate())
}

// Equal reports that both define the same.
func (v View) Equal(w View) bool {
	return v.Name == w.Name && v.Collection == w.Collection && v.Filter.Equal(w.Filter) &&
		slices.Equal(v.Hidden, w.Hidden) && v.Defaults.Equal(w.Defaults)
}

// Equal reports that two filters are written alike.
func (f Filter) Equal(g Filter) bool {
	return f.Op == g.Op && f.Field == g.Field && slices.Equal(f.Values, g.Values) && slices.EqualFunc(f.Terms, g.Terms, Filter.Equal)
}

// Fields calls yield with each field that a filter names, until that returns false.
func (f Filter) Fields(yield func(string) bool) bool {
	if f.Field != "" && !yield(f.Field) {
		return false
	}
	for _, term := range f.Terms {
		if !term.Fields(yield) {
			return false
		}
	}
	return true
}

// CheckField refuses a metadata field that the view hides: whatever compares with
// it, groups, counts or sorts by it would tell it. A nil View hides none.
func (v *View) CheckField(name string) error {
	if v != nil && slices.Contains(v.Hidden, name) {
		return Invalid("", "names a field that this view does not have")
	}
	return nil
}

// Narrow returns the filter of a read through the view: the view's and the
// request's. It returns an [InvalidError] when that names a hidden field. A nil View
// narrows nothing.
func (v *View) Narrow(f Filter) (Filter, error) {
	if v == nil {
		return f, nil
	}
	var err error
	f.Fields(func(name string) bool { err = v.CheckField(name); return err == nil })
	if err != nil {
		return Filter{}, At("filter", err)
	}
	if f.IsZero() {
		return v.Filter, nil
	}
	return Filter{Op: OpAnd, Terms: []Filter{v.Filter, f}}, nil
}

// Hide returns metadata without what the view hides; metadata itself is not changed.
func (v *View) Hide(metadata map[string]any) map[string]any {
	if v == nil || len(v.Hidden) == 0 {
		return metadata
	}
	metadata = maps.Clone(metadata)
	for _, key := range v.Hidden {
		delete(metadata, key)
	}
	return metadata
}

// Resolved is what a name stands for when records are read.
type Resolved struct {
	Collection       // the definition; Records is not set
	View       *View // nil unless the name is a view's
}

// Label is the name under which a record is given out: the view's, so that its
// readers learn no other, or else the collection's own, also where an alias was
// asked, so that a citation stays what it was when the alias moves.
func (r Resolved) Label() CollectionName {
	if r.View != nil {
		return r.View.Name
	}
	return r.Name
}

// Preset are the defaults of searches and queries by this name.
func (r Resolved) Preset() Defaults {
	if r.View != nil {
		return r.View.Defaults.Over(r.Defaults)
	}
	return r.Defaults
}

// Refusals of names that stand for something, but not for this. Stores share their
// texts.

// WriteThroughView is the error for a write to a view.
func WriteThroughView(view CollectionName) error {
	return Forbidden("%q is a view, which can only be read; write to its collection", view)
}

// NotOwnName is the error where a collection's own name is needed, and name is that
// of an alias or a view (kind) of it.
func NotOwnName(kind string, name, collection CollectionName) error {
	return Conflict("collection", "%q is %s of %q; this needs a collection's own name", name, kind, collection)
}

// NameTaken is the error for a name that is that of another kind.
func NameTaken(name CollectionName, kind string) error {
	return Conflict("name", "%q is already that of %s; collections, aliases and views share their names", name, kind)
}

// MaxNames is how many aliases and views a tenant may have together.
const MaxNames = 10_000

// TooManyNames is the error at [MaxNames].
func TooManyNames() error {
	return Limit("the tenant has as many aliases and views as it may")
}

// StillStandsOn returns an error that names the aliases and views which keep a
// collection, or an alias (kind), from being removed; nil when there are none.
func StillStandsOn(kind string, name CollectionName, aliases, views []CollectionName) error {
	slices.Sort(aliases)
	slices.Sort(views)
	var on []string
	if len(views) > 0 {
		on = append(on, "the views "+nameList(views))
	}
	if len(aliases) > 0 {
		on = append(on, "the aliases "+nameList(aliases)+", which aliases=drop removes too")
	}
	if len(on) == 0 {
		return nil
	}
	return Conflict(kind, "on %q stand %s", name, strings.Join(on, " and "))
}

// nameList writes out the first few names.
func nameList(names []CollectionName) string {
	const most = 10
	var b strings.Builder
	for i, name := range names {
		if i == most {
			b.WriteString(" and more")
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(string(name))
	}
	return b.String()
}

// Seen is the definition as those see it who ask by this name.
func (r Resolved) Seen() Collection {
	c := r.Collection
	if r.View == nil {
		return c
	}
	c.Name, c.Defaults = r.View.Name, r.Preset()
	c.Fields = slices.DeleteFunc(slices.Clone(c.Fields), func(f Field) bool { return slices.Contains(r.View.Hidden, f.Name) })
	return c
}

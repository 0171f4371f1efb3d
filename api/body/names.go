package body

import (
	"slices"

	"github.com/tars-project/tars/knowledge"
)

// CollectionAliasTarget is the body of putAlias.
type CollectionAliasTarget struct{ Collection knowledge.CollectionName }

func (b *CollectionAliasTarget) decode(d *decoder) error {
	err := d.object(func(name string) (err error) {
		if name != "collection" {
			return unknown()
		}
		b.Collection, err = parsed(d, knowledge.ParseCollectionName)
		return err
	})
	if err == nil && b.Collection == "" {
		err = missing("collection")
	}
	return err
}

// AliasActions is the body of changeAliases.
type AliasActions struct{ Actions []knowledge.AliasAction }

func (b *AliasActions) decode(d *decoder) error {
	given := false
	err := d.object(func(name string) error {
		if name != "actions" {
			return unknown()
		}
		given = true
		return d.array(1, knowledge.MaxAliasActions, func(int) error {
			action, err := d.aliasAction()
			b.Actions = append(b.Actions, action)
			return err
		})
	})
	if err == nil && !given {
		err = missing("actions")
	}
	return err
}

func (d *decoder) aliasAction() (a knowledge.AliasAction, err error) {
	action := ""
	err = d.object(func(name string) (err error) {
		switch name {
		case "action":
			action, err = word(d, "set", "delete")
		case "alias":
			a.Alias, err = parsed(d, knowledge.ParseCollectionName)
		case "collection":
			a.Collection, err = parsed(d, knowledge.ParseCollectionName)
		default:
			err = unknown()
		}
		return err
	})
	switch {
	case err != nil:
		return a, err
	case action == "":
		return a, missing("action")
	case a.Alias == "":
		return a, missing("alias")
	case action == "set" && a.Collection == "":
		return a, missing("collection")
	case action == "delete" && a.Collection != "":
		return a, knowledge.Invalid("collection", "does not go with delete")
	}
	return a, nil
}

// ViewDefinition is the body of putView. Its name is not part of it.
type ViewDefinition knowledge.View

func (b *ViewDefinition) decode(d *decoder) error {
	return d.view((*knowledge.View)(b), func(string) (bool, error) { return false, nil })
}

// view reads a view. other is asked first about each of its members, and says
// whether it has read that.
func (d *decoder) view(v *knowledge.View, other func(name string) (bool, error)) error {
	filtered := false
	err := d.object(func(name string) error {
		if known, err := other(name); known || err != nil {
			return err
		}
		filtered = filtered || name == "filter"
		return d.viewMember(name, v)
	})
	switch {
	case err != nil:
		return err
	case v.Collection == "":
		return missing("collection")
	case !filtered:
		return missing("filter")
	}
	return nil
}

func (d *decoder) viewMember(name string, v *knowledge.View) (err error) {
	switch name {
	case "collection":
		v.Collection, err = parsed(d, knowledge.ParseCollectionName)
	case "filter":
		v.Filter, err = d.filter()
	case "hidden":
		err = d.array(0, knowledge.MaxHidden, func(int) error {
			field, err := d.text(1, knowledge.MaxFilterField)
			if slices.Contains(v.Hidden, field) {
				return knowledge.Invalid("", "comes twice")
			}
			v.Hidden = append(v.Hidden, field)
			return err
		})
	case "defaults":
		v.Defaults, err = d.defaults()
	default:
		err = unknown()
	}
	return err
}

// PageRequest asks for a page of a list where there is no query string.
type PageRequest struct {
	Cursor string
	Limit  int
}

func (b *PageRequest) decode(d *decoder) error {
	return d.object(func(name string) (err error) {
		switch name {
		case "cursor":
			b.Cursor, err = d.text(1, 512)
		case "limit":
			b.Limit, err = count(d, 1, 200)
		default:
			err = unknown()
		}
		return err
	})
}

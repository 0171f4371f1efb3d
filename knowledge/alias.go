package knowledge

import "time"

// MaxAliasActions is how many aliases may change at once.
const MaxAliasActions = 100

// Alias is a second name of a collection. It stands wherever records are read or
// written, and moves to another collection in one step. Collections, aliases and
// views of a tenant share one space of names.
type Alias struct {
	Name       CollectionName
	Collection CollectionName // a collection's own name: an alias of an alias is refused, so that there are no chains and no loops
	Created    time.Time      // set by the store
	Updated    time.Time      // set by the store: when it was last pointed at another collection
}

// AliasAction sets or removes one alias.
type AliasAction struct {
	Alias      CollectionName
	Collection CollectionName // that it is to name; empty: the alias is removed
}

// CheckAliasActions returns an [InvalidError] unless there are 1 to
// [MaxAliasActions] of them, for different aliases.
func CheckAliasActions(actions []AliasAction) error {
	if len(actions) < 1 || len(actions) > MaxAliasActions {
		return Invalid("actions", "has %d entries; need 1 to %d", len(actions), MaxAliasActions)
	}
	seen := make(map[CollectionName]bool, len(actions))
	for i, a := range actions {
		if seen[a.Alias] {
			return Invalid("actions["+itoa(i)+"].alias", "comes twice; need one action for each alias")
		}
		if seen[a.Alias] = true; a.Alias == a.Collection {
			return Invalid("actions["+itoa(i)+"].collection", "is the alias itself; need the name of a collection")
		}
	}
	return nil
}

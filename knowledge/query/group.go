package query

import (
	"github.com/tars-project/tars/knowledge"
)

// Bounds of groups.
const (
	MaxGroups    = 100 // in an answer
	MaxGroupSize = 100 // matches of one group
)

// GroupBy gathers matches that share a value of a metadata field.
type GroupBy struct {
	Field  string // top-level key; strings, numbers and booleans make groups, and each item of a list its own
	Groups int    // wanted, 1 to [MaxGroups]; 0 means 10
	Size   int    // matches of each at most, 1 to [MaxGroupSize]; 0 means 3. Groups * Size is up to [knowledge.MaxLimit]
}

// Group is what one value has gathered.
type Group struct {
	Value   any // string, float64 or bool
	Matches []Candidate
}

func (g GroupBy) validate() (GroupBy, error) {
	if g.Groups == 0 {
		g.Groups = 10
	}
	if g.Size == 0 {
		g.Size = 3
	}
	if err := knowledge.CheckFieldName(g.Field); err != nil {
		return g, knowledge.At("field", err)
	}
	switch {
	case g.Groups < 1 || g.Groups > MaxGroups:
		return g, knowledge.Invalid("groups", "is %d; need 1 to %d", g.Groups, MaxGroups)
	case g.Size < 1 || g.Size > MaxGroupSize:
		return g, knowledge.Invalid("size", "is %d; need 1 to %d", g.Size, MaxGroupSize)
	case g.Groups*g.Size > knowledge.MaxLimit:
		return g, knowledge.Invalid("size", "times groups is %d; at most %d are allowed", g.Groups*g.Size, knowledge.MaxLimit)
	}
	return g, nil
}

// apply gathers candidates in their order: a group stands where its first match
// does. Candidates that lack the field are in no group.
func (g GroupBy) apply(candidates []Candidate) []Group {
	groups := []Group{}
	at := map[any]int{}
	for _, c := range candidates {
		for _, value := range scalars(c.Metadata[g.Field]) {
			i, seen := at[value]
			if !seen {
				if len(groups) == g.Groups {
					continue
				}
				i = len(groups)
				at[value] = i
				groups = append(groups, Group{Value: value})
			}
			if len(groups[i].Matches) < g.Size {
				groups[i].Matches = append(groups[i].Matches, c)
			}
		}
	}
	return groups
}

// scalars are the distinct values that a field has: itself, or the items of a list.
func scalars(value any) []any {
	list, ok := value.([]any)
	if !ok {
		list = []any{value}
	}
	var found []any
	seen := map[any]bool{}
	for _, v := range list {
		switch v.(type) {
		case string, float64, bool:
			if !seen[v] {
				seen[v] = true
				found = append(found, v)
			}
		}
	}
	return found
}

package knowledge

import (
	"maps"
	"time"
)

// Patch changes one record in part. Text and vector stay.
type Patch struct {
	ID RecordID
	// Metadata is merged into the record's, as in RFC 7396: a member replaces
	// that of its name, objects are merged one by one, and nil removes. A nil
	// map changes nothing.
	Metadata map[string]any
	// SetExpires says that Expires replaces the record's; zero: it never
	// expires.
	SetExpires bool
	Expires    time.Time
	// IfVersion is the version that the record must have; 0: any.
	IfVersion int64
}

// Validate checks what can be known without the record. It returns an
// [InvalidError].
func (p Patch) Validate() error {
	if _, err := ParseRecordID(string(p.ID)); err != nil {
		return At("id", err)
	}
	if p.Metadata == nil && !p.SetExpires {
		return Invalid("", "changes nothing; need metadata or expires_at")
	}
	if p.IfVersion < 0 {
		return Invalid("if_version", "is %d; need 1 or more", p.IfVersion)
	}
	return At("metadata", CheckMetadata(p.Metadata))
}

// Apply returns the record as the patch makes it, but for version and times,
// which are the store's. It returns a [ConflictError] about if_version when the
// record has another, and an [InvalidError] when its metadata would become what
// no record may have. r is not changed.
func (p Patch) Apply(r Record) (Record, error) {
	if p.IfVersion != 0 && p.IfVersion != r.Version {
		return r, Conflict("if_version", "is %d, but the record is at version %d", p.IfVersion, r.Version)
	}
	if p.SetExpires {
		r.Expires = p.Expires
	}
	if p.Metadata == nil {
		return r, nil
	}
	r.Metadata = mergeObject(r.Metadata, p.Metadata)
	return r, At("metadata", CheckMetadata(r.Metadata))
}

// mergeObject is MergePatch of RFC 7396 for two objects. Neither is changed.
func mergeObject(old, patch map[string]any) map[string]any {
	merged := maps.Clone(old)
	if merged == nil {
		merged = make(map[string]any, len(patch))
	}
	for key, value := range patch {
		switch v := value.(type) {
		case nil:
			delete(merged, key)
		case map[string]any:
			inner, _ := merged[key].(map[string]any) // anything else is replaced
			merged[key] = mergeObject(inner, v)
		default:
			merged[key] = value
		}
	}
	return merged
}

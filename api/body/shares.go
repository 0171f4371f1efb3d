package body

import "github.com/tars-project/tars/knowledge"

// ShareDefinition is the body of createShare.
type ShareDefinition knowledge.Share

func (b *ShareDefinition) decode(d *decoder) error {
	err := d.object(func(name string) (err error) {
		switch name {
		case "view":
			b.View, err = parsed(d, knowledge.ParseCollectionName)
		case "grantee":
			b.Grantee, err = parsed(d, knowledge.ParseTenantID)
		case "note":
			b.Note, err = d.text(0, knowledge.MaxShareNote)
		case "expires_at":
			b.Expires, err = d.moment()
		default:
			err = unknown()
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case b.View == "":
		return missing("view")
	case b.Grantee == "":
		return missing("grantee")
	}
	return nil
}

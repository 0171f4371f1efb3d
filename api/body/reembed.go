package body

import "github.com/tars-project/tars/knowledge"

// ReembedRequest is the body of reembedCollection.
type ReembedRequest struct {
	Embedder string
	Into     knowledge.CollectionName // empty when left out
}

func (b *ReembedRequest) decode(d *decoder) error {
	err := d.object(func(name string) (err error) {
		switch name {
		case "embedder":
			b.Embedder, err = d.text(1, 63)
		case "into":
			b.Into, err = parsed(d, knowledge.ParseCollectionName)
		default:
			err = unknown()
		}
		return err
	})
	if err == nil && b.Embedder == "" {
		err = missing("embedder")
	}
	return err
}

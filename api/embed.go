package api

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/tars-project/tars/api/body"
	"github.com/tars-project/tars/api/oapi"
	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/embed"
)

// maxComponents bounds an answer of embedTexts: about 50 MB of JSON.
const maxComponents = 4 << 20

// EmbedTexts implements embedTexts.
func (s *Server) EmbedTexts(ctx context.Context, r oapi.EmbedTextsRequestObject) (oapi.EmbedTextsResponseObject, error) {
	id := r.Body.Embedder
	if id == "" {
		id = defaultEmbedder
	}
	embedder, err := s.embedder(ctx, id)
	if err != nil {
		return nil, err
	}
	info := embedder.Info()
	if most := maxComponents / info.Dimension; len(r.Body.Texts) > most {
		return nil, knowledge.Invalid("texts", "has %d entries; at most %d are allowed with vectors of %d components", len(r.Body.Texts), most, info.Dimension)
	}
	vectors, usage, err := embed.EmbedMeasured(ctx, embedder, r.Body.Kind, r.Body.Texts)
	if err != nil {
		return nil, err
	}
	return embedded{info, vectors, usage, r.Body.Packed}, nil
}

// embedded is an answer with vectors.
type embedded struct {
	info    knowledge.EmbedderInfo
	vectors [][]float32
	usage   embed.Usage
	packed  bool
}

type embeddedJSON struct {
	Embedder embeddedBy    `json:"embedder"`
	Vectors  any           `json:"vectors"` // [][]float32 or [][]byte, which JSON has in base64
	Usage    embeddedUsage `json:"usage"`
}

type embeddedBy struct {
	ID        string `json:"id"`
	Version   string `json:"version"`
	Dimension int    `json:"dimension"`
}

type embeddedUsage struct {
	Texts  int   `json:"texts"`
	Bytes  int64 `json:"bytes"`
	Tokens int64 `json:"tokens"`
}

// VisitEmbedTextsResponse implements [oapi.EmbedTextsResponseObject].
func (e embedded) VisitEmbedTextsResponse(w http.ResponseWriter) error {
	out := embeddedJSON{embeddedBy{e.info.ID, e.info.Version, e.info.Dimension}, e.vectors, embeddedUsage(e.usage)}
	if e.packed {
		out.Vectors = each(e.vectors, body.PackF32)
	}
	text, err := json.Marshal(out)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	_, err = w.Write(text)
	return err
}

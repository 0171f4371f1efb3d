package plugins

import (
	"context"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/document"
	"github.com/tars-project/tars/knowledge/query"
	"github.com/tars-project/tars/knowledge/tenancy"
	"github.com/tars-project/tars/vmhost"
)

// Use is use for the guest of a version under a tenant's policy.
func (l *Loader) Use(ctx context.Context, tenant knowledge.TenantID, p tenancy.Policy, m Manifest, digest Digest, module func(context.Context) ([]byte, error), do func(*vmhost.Guest) error) error {
	return l.use(ctx, wanted{key: key{tenant, digest, l.defaults.limits(m, p)}, manifest: m, module: module}, do)
}

// LoadTimeout is loadTimeout.
const LoadTimeout = loadTimeout

// Encode is encode.
func Encode(document any, most int64) ([]byte, error) { return encode(document, most) }

// Passages is passages.
func Passages(h *query.Handout) ([]byte, error) { return passages(h) }

// DecodeRank is decodeRank.
func DecodeRank(data []byte, n int) ([]query.Scored, error) { return decodeRank(data, n) }

// DecodePostGuard is decodePostGuard.
func DecodePostGuard(data []byte, candidates []query.Candidate) (query.Verdict, error) {
	return decodePostGuard(data, candidates)
}

// DecodeChunk is decodeChunk.
func DecodeChunk(data []byte, t document.Text) ([]document.Passage, error) {
	return decodeChunk(data, t)
}

// DecodeSynthesize is decodeSynthesize.
func DecodeSynthesize(data []byte, passages []query.Candidate) (query.Draft, error) {
	return decodeSynthesize(data, passages)
}

package api

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/query"
	"github.com/tars-project/tars/knowledge/tenancy"
	"github.com/tars-project/tars/plugins"
)

// operation is what the guard knows of one operation of openapi.yaml.
type operation struct {
	id         string
	scope      tenancy.Scope // that a key needs; empty when the operation is open to all
	parameters []*openapi3.Parameter
	queries    map[string]bool // names of its query parameters
	mediaTypes []string        // of the body, sorted; empty when it takes none
	audit      *audited        // nil when it is not noted in the audit log
	bounds
}

// bounds limit one request.
type bounds struct {
	body   int64         // most bytes
	read   time.Duration // for the body to arrive
	total  time.Duration // from the end of the header to the end of the handler
	stream bool          // body and answer may be of any size; read is for some more of it
	// charsets: a text may be in another encoding than UTF-8, which its type names.
	charsets bool
}

// multipartOverhead is allowed beyond the parts of an upload, for the lines
// between and above them.
const multipartOverhead = 16 << 10

// boundsOf returns the bounds of an operation. openapi.yaml names those of the
// body in each description.
func boundsOf(operationID string, maxModule int64) bounds {
	switch operationID {
	case "putRecords":
		return bounds{body: 64 << 20, read: time.Minute, total: 3 * time.Minute}
	case "putDocument": // embedding 10,000 passages takes minutes
		return bounds{body: knowledge.MaxSource, read: 2 * time.Minute, total: 15 * time.Minute, charsets: true}
	case "getDocumentSource", "getDocumentText":
		return bounds{total: 3 * time.Minute}
	case "deleteRecords":
		return bounds{body: 8 << 20, read: 15 * time.Second, total: 30 * time.Second}
	case "importRecords", "importTenant", "exportRecords", "exportTenant":
		return bounds{read: time.Minute, total: 24 * time.Hour, stream: true}
	case "uploadPluginVersion":
		return bounds{body: maxModule + plugins.MaxManifest + multipartOverhead, read: time.Minute, total: 3 * time.Minute}
	case "invokePlugin":
		return bounds{body: 8 << 20, read: 30 * time.Second, total: 2 * time.Minute}
	case "embedTexts":
		return bounds{body: 8 << 20, read: 30 * time.Second, total: 2 * time.Minute}
	case "putEmbedder": // a server may load its model before it answers
		return bounds{body: 1 << 20, read: 15 * time.Second, total: time.Minute}
	case "searchRecordsBatch":
		return bounds{body: 8 << 20, read: 15 * time.Second, total: query.MaxTimeout + 20*time.Second}
	case "mcp":
		return bounds{body: 1 << 20, read: 15 * time.Second, total: query.MaxTimeout + 20*time.Second}
	case "query": // the engine keeps the query's own deadline
		return bounds{body: 4 << 20, read: 15 * time.Second, total: query.MaxTimeout + 20*time.Second}
	case "watchJob": // then the client asks again
		return bounds{total: time.Hour}
	case "getAudit", "getTenantAudit", "getOperatorAudit": // a long chain as lines
		return bounds{total: time.Hour}
	case "getLivez", "getReadyz":
		return bounds{total: 5 * time.Second}
	}
	return bounds{body: 1 << 20, read: 15 * time.Second, total: 30 * time.Second}
}

// operationsOf reads the operations of an OpenAPI document.
func operationsOf(document []byte, maxModule int64) (map[string]*operation, error) {
	spec, err := loadSpec(document)
	if err != nil {
		return nil, err
	}
	operations := map[string]*operation{}
	for path, item := range spec.Paths.Map() {
		for method, o := range item.Operations() {
			op, err := newOperation(method, item, o, maxModule)
			if err != nil {
				return nil, fmt.Errorf("%s %s: %w", method, path, err)
			}
			operations[op.id] = op
		}
	}
	return operations, nil
}

// loadSpec reads an OpenAPI document. That ours is valid is proved by a test and
// not looked at again at each start.
func loadSpec(document []byte) (*openapi3.T, error) {
	return openapi3.NewLoader().LoadFromData(document)
}

func newOperation(method string, item *openapi3.PathItem, o *openapi3.Operation, maxModule int64) (*operation, error) {
	op := &operation{id: o.OperationID, queries: map[string]bool{}, bounds: boundsOf(o.OperationID, maxModule)}
	open := o.Security != nil && len(*o.Security) == 0
	scope, _ := o.Extensions["x-required-scope"].(string)
	if open != (scope == "") {
		return nil, errors.New("needs either a scope in x-required-scope or no security")
	}
	op.scope = tenancy.Scope(scope)
	var err error
	if op.audit, err = auditedOf(method, o); err != nil {
		return nil, err
	}
	for _, list := range []openapi3.Parameters{item.Parameters, o.Parameters} {
		for _, p := range list {
			op.parameters = append(op.parameters, p.Value)
			if p.Value.In == openapi3.ParameterInQuery {
				op.queries[p.Value.Name] = true
			}
		}
	}
	if o.RequestBody != nil {
		op.mediaTypes = slices.Sorted(maps.Keys(o.RequestBody.Value.Content))
	}
	return op, nil
}

// auditedOf reads x-audit: false, or an object with the kind of what is changed and
// whether the answer waits for the log. Nobody may forget it where something may change.
func auditedOf(method string, o *openapi3.Operation) (*audited, error) {
	switch given := o.Extensions["x-audit"].(type) {
	case nil:
		if method != http.MethodGet {
			return nil, errors.New("needs x-audit: an object, or false for what changes nothing")
		}
		return nil, nil
	case map[string]any:
		kind, named := given["object"].(string)
		wait, said := given["wait"].(bool)
		if named && said && len(given) == 2 {
			return &audited{kind, wait}, nil
		}
	case bool:
		if !given {
			return nil, nil
		}
	}
	return nil, errors.New("x-audit needs object and wait, or is false")
}

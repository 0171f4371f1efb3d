package api

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tars-project/tars/api/body"
	"github.com/tars-project/tars/api/oapi"
	"github.com/tars-project/tars/knowledge"
)

const (
	// How many exports this server gives at once, to all tenants and to each;
	// each holds a connection of the database, and a snapshot.
	maxExports     = 2
	maxExportsEach = 1
	// exportPatience is how long a client may take for some 64 KiB.
	exportPatience = time.Minute
)

// ExportRecords implements exportRecords.
func (s *Server) ExportRecords(ctx context.Context, r oapi.ExportRecordsRequestObject) (oapi.ExportRecordsResponseObject, error) {
	name, err := named("collection", r.Collection, knowledge.ParseCollectionName)
	if err != nil {
		return nil, err
	}
	return s.export(ctx, func(reader knowledge.Reader, to *exportWriter) error {
		c, err := reader.Collection(ctx, tenantOf(ctx), name)
		if err != nil {
			return err
		}
		return exportCollection(ctx, reader, c, to)
	}), nil
}

// ExportTenant implements exportTenant.
func (s *Server) ExportTenant(ctx context.Context, _ oapi.ExportTenantRequestObject) (oapi.ExportTenantResponseObject, error) {
	return s.export(ctx, func(reader knowledge.Reader, to *exportWriter) error {
		if err := to.line(struct {
			Format int `json:"tars_export"`
		}{1}); err != nil {
			return err
		}
		const page = 100
		for after := knowledge.CollectionName(""); ; {
			list, err := reader.ListCollections(ctx, tenantOf(ctx), after, page)
			if err != nil {
				return err
			}
			for _, c := range list {
				after = c.Name
				if err := to.line(struct {
					Collection exportedCollection `json:"collection"`
				}{exportedOf(c)}); err != nil {
					return err
				}
				if err := exportCollection(ctx, reader, c, to); err != nil {
					return err
				}
			}
			if len(list) < page {
				return s.exportNames(ctx, reader, to)
			}
		}
	}), nil
}

// exportNames writes the aliases and then the views, which may stand on them.
func (s *Server) exportNames(ctx context.Context, reader knowledge.Reader, to *exportWriter) error {
	aliases, err := reader.ListAliases(ctx, tenantOf(ctx), "", knowledge.MaxNames)
	if err != nil {
		return err
	}
	for _, a := range aliases {
		if err := to.line(struct {
			Alias exportedAlias `json:"alias"`
		}{exportedAlias{string(a.Name), string(a.Collection)}}); err != nil {
			return err
		}
	}
	views, err := reader.ListViews(ctx, tenantOf(ctx), "", knowledge.MaxNames)
	if err != nil {
		return err
	}
	for _, v := range views {
		if err := to.line(struct {
			View exportedView `json:"view"`
		}{exportedView{string(v.Name), string(v.Collection), filterOut(v.Filter), v.Hidden, defaultsOrNil(v.Defaults)}}); err != nil {
			return err
		}
	}
	return nil
}

// export returns the answer that write gives of a snapshot.
func (s *Server) export(ctx context.Context, write func(knowledge.Reader, *exportWriter) error) streamed {
	return func(w http.ResponseWriter) error {
		release, err := s.exports.take(tenantOf(ctx))
		if err != nil {
			return err
		}
		defer release()
		return s.services.Records.Snapshot(ctx, tenantOf(ctx), func(reader knowledge.Reader) error {
			to := newExportWriter(w, acceptsGzip(sentBy(ctx).header))
			if err := write(reader, to); err != nil {
				return err
			}
			return to.end()
		})
	}
}

// streamed is an answer that is written as it comes. After an error in its midst
// the connection is cut.
type streamed func(w http.ResponseWriter) error

// VisitExportRecordsResponse implements [oapi.ExportRecordsResponseObject].
func (write streamed) VisitExportRecordsResponse(w http.ResponseWriter) error { return write(w) }

// VisitExportTenantResponse implements [oapi.ExportTenantResponseObject].
func (write streamed) VisitExportTenantResponse(w http.ResponseWriter) error { return write(w) }

// exportCollection writes the records of a collection and then its documents.
func exportCollection(ctx context.Context, reader knowledge.Reader, c knowledge.Collection, to *exportWriter) error {
	scroll := knowledge.Scroll{Limit: knowledge.MaxScroll, Text: true, Vector: true, Metadata: true}
	for {
		page, err := reader.ScrollRecords(ctx, tenantOf(ctx), c.Name, scroll)
		if err != nil {
			return err
		}
		for _, r := range page.Records {
			if err := to.record(r, c.Precision); err != nil {
				return err
			}
		}
		if !page.More {
			return exportDocuments(ctx, reader, c.Name, to)
		}
		scroll.After = page.Records[len(page.Records)-1].ID
	}
}

// exportedRecord is a record as a line.
type exportedRecord struct {
	ID        string         `json:"id"`
	Text      string         `json:"text,omitempty"`
	Vector    []byte         `json:"vector,omitempty"`
	VectorF16 []byte         `json:"vector_f16,omitempty"`
	Metadata  map[string]any `json:"metadata,omitempty"`
	ExpiresAt *time.Time     `json:"expires_at,omitempty"`
	Version   int64          `json:"version"`
	CreatedAt time.Time      `json:"created_at"`
	UpdatedAt time.Time      `json:"updated_at"`
}

// exportedCollection is a definition, all of it; body.ImportLine reads it.
type exportedCollection struct {
	Name         string           `json:"name"`
	Embedder     exportedEmbedder `json:"embedder"`
	Dimension    int              `json:"dimension"`
	Metric       knowledge.Metric `json:"metric"`
	Precision    string           `json:"precision,omitempty"`
	Index        exportedIndex    `json:"index"`
	Fields       []exportedField  `json:"fields,omitempty"`
	Language     string           `json:"language,omitempty"`
	TTL          int64            `json:"ttl_seconds,omitempty"`
	RecallTarget float64          `json:"recall_target,omitempty"`
	Defaults     *oapi.Defaults   `json:"defaults,omitempty"`

	Cache *oapi.AnswerCache `json:"cache,omitempty"`
}

// exportedAlias and exportedView follow all collections.
type exportedAlias struct {
	Name       string `json:"name"`
	Collection string `json:"collection"`
}

type exportedView struct {
	Name       string         `json:"name"`
	Collection string         `json:"collection"`
	Filter     map[string]any `json:"filter"`
	Hidden     []string       `json:"hidden,omitempty"`
	Defaults   *oapi.Defaults `json:"defaults,omitempty"`
}

func defaultsOrNil(d knowledge.Defaults) *oapi.Defaults {
	if d.IsZero() {
		return nil
	}
	out := defaultsOut(d)
	return &out
}

type exportedEmbedder struct {
	ID      string `json:"id"`
	Version string `json:"version,omitempty"`
}

type exportedIndex struct {
	Kind           string `json:"kind"`
	M              int    `json:"m,omitempty"`
	EfConstruction int    `json:"ef_construction,omitempty"`
	Quantization   string `json:"quantization,omitempty"`
}

type exportedField struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

func exportedOf(c knowledge.Collection) exportedCollection {
	out := exportedCollection{
		Name: string(c.Name), Embedder: exportedEmbedder{c.Embedder.ID, c.Embedder.Version}, Dimension: c.Dimension(),
		Metric: c.Metric, Precision: string(c.Precision),
		Index:    exportedIndex{string(c.Index.Kind), c.Index.M, c.Index.EfConstruction, string(c.Index.Quantization)},
		Language: string(c.Language), TTL: int64(c.TTL / time.Second), RecallTarget: c.RecallTarget,
	}
	out.Defaults, out.Cache = defaultsOrNil(c.Defaults), cacheOut(c.Cache)
	for _, f := range c.Fields {
		out.Fields = append(out.Fields, exportedField{f.Name, string(f.Type)})
	}
	return out
}

// exportWriter writes lines. Until the first 64 KiB are full nothing has gone to
// the client, so that an error can still be answered as one.
type exportWriter struct {
	buffer *bufio.Writer
	gzip   *gzip.Writer // nil when not wanted
	into   io.Writer    // of lines
	count  int64        // of records
}

func newExportWriter(w http.ResponseWriter, packed bool) *exportWriter {
	client := &exportClient{w: w, control: http.NewResponseController(w), packed: packed}
	e := &exportWriter{buffer: bufio.NewWriterSize(client, 64<<10)}
	e.into = e.buffer
	if packed {
		e.gzip, _ = gzip.NewWriterLevel(e.buffer, gzip.BestSpeed) // the level is one that there is
		e.into = e.gzip
	}
	return e
}

func (e *exportWriter) line(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = e.into.Write(append(text, '\n'))
	return err
}

func (e *exportWriter) record(r knowledge.Record, p knowledge.Precision) error {
	out := exportedRecord{
		ID: string(r.ID), Text: r.Text, Metadata: r.Metadata, ExpiresAt: timeOut(r.Expires),
		Version: r.Version, CreatedAt: r.Created, UpdatedAt: r.Updated,
	}
	if p == knowledge.Float16 {
		out.VectorF16 = body.PackF16(r.Vector)
	} else {
		out.Vector = body.PackF32(r.Vector)
	}
	e.count++
	return e.line(out)
}

// end writes the last line and what is left.
func (e *exportWriter) end() error {
	err := e.line(struct {
		End   bool  `json:"end"`
		Count int64 `json:"count"`
	}{true, e.count})
	if err != nil {
		return err
	}
	return e.close()
}

// close writes what is left.
func (e *exportWriter) close() error {
	if e.gzip != nil {
		if err := e.gzip.Close(); err != nil {
			return err
		}
	}
	return e.buffer.Flush()
}

// exportClient is the client of an export. Each write has a time of its own.
type exportClient struct {
	w       http.ResponseWriter
	control *http.ResponseController
	packed  bool
	begun   bool
}

func (c *exportClient) Write(p []byte) (int, error) {
	if !c.begun {
		c.begun = true
		c.w.Header().Set("Content-Type", "application/x-ndjson")
		c.w.Header().Set("Vary", "Accept-Encoding")
		if c.packed {
			c.w.Header().Set("Content-Encoding", "gzip")
		}
		c.w.WriteHeader(http.StatusOK)
	}
	_ = c.control.SetWriteDeadline(time.Now().Add(exportPatience)) // a connection that cannot have deadlines is one of a test
	return c.w.Write(p)
}

// acceptsGzip reports that a client takes an answer in gzip.
func acceptsGzip(h http.Header) bool {
	for _, part := range strings.Split(strings.Join(h.Values("Accept-Encoding"), ","), ",") {
		name, parameters, _ := strings.Cut(part, ";")
		if !strings.EqualFold(strings.TrimSpace(name), "gzip") {
			continue
		}
		weight, given := strings.CutPrefix(strings.ReplaceAll(parameters, " ", ""), "q=")
		q, err := strconv.ParseFloat(weight, 64)
		return !given || err == nil && q > 0
	}
	return false
}

package api

import (
	"context"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/ingest"
)

// failingStore is a store that fails always with the error of failing.
type failingStore struct{ *failing }

var _ knowledge.Store = failingStore{}

func (f failingStore) PutRecords(context.Context, knowledge.TenantID, knowledge.CollectionName, knowledge.Write) ([]knowledge.WriteResult, error) {
	return nil, f.get()
}

func (f failingStore) PatchRecord(context.Context, knowledge.TenantID, knowledge.CollectionName, knowledge.Patch) (int64, error) {
	return 0, f.get()
}

func (f failingStore) DeleteRecords(context.Context, knowledge.TenantID, knowledge.CollectionName, knowledge.Selection, int64) (knowledge.Deleted, error) {
	return knowledge.Deleted{}, f.get()
}

func (f failingStore) CountRecords(context.Context, knowledge.TenantID, knowledge.CollectionName, knowledge.Filter, bool) (knowledge.Count, error) {
	return knowledge.Count{}, f.get()
}

func (f failingStore) ScrollRecords(context.Context, knowledge.TenantID, knowledge.CollectionName, knowledge.Scroll) (knowledge.Page, error) {
	return knowledge.Page{}, f.get()
}

func (f failingStore) Search(context.Context, knowledge.TenantID, knowledge.Search) (knowledge.Found, error) {
	return knowledge.Found{}, f.get()
}

func (f failingStore) WriteVersions(context.Context, knowledge.TenantID, []knowledge.CollectionName) ([]int64, error) {
	return nil, f.get()
}

func (f failingStore) EarliestExpiry(context.Context, knowledge.TenantID, knowledge.CollectionName, []knowledge.RecordID) (time.Time, error) {
	return time.Time{}, f.get()
}

func (f failingStore) SearchText(context.Context, knowledge.TenantID, knowledge.TextSearch) (knowledge.Found, error) {
	return knowledge.Found{}, f.get()
}

func (f failingStore) Facets(context.Context, knowledge.TenantID, knowledge.FacetSearch) ([]knowledge.FacetCounts, error) {
	return nil, f.get()
}

func (f failingStore) Atomically(context.Context, knowledge.TenantID, func(knowledge.Session) error) error {
	return f.get()
}

func (f failingStore) Exclusively(context.Context, knowledge.TenantID, knowledge.CollectionName, func(knowledge.Session) error) error {
	return f.get()
}

func (f failingStore) Once(context.Context, knowledge.TenantID, knowledge.Attempt, func(knowledge.Session) (knowledge.Reply, error)) (knowledge.Reply, bool, error) {
	return knowledge.Reply{}, false, f.get()
}

func (f failingStore) Replay(context.Context, knowledge.TenantID, knowledge.Attempt) (knowledge.Reply, bool, error) {
	return knowledge.Reply{}, false, f.get()
}

func (f failingStore) SweepReplies(context.Context, int) (int64, error) { return 0, f.get() }

func (f failingStore) Snapshot(context.Context, knowledge.TenantID, func(knowledge.Reader) error) error {
	return f.get()
}

func (f failingStore) StartImport(context.Context, knowledge.TenantID, knowledge.Import) (knowledge.Import, error) {
	return knowledge.Import{}, f.get()
}

func (f failingStore) ResumeImport(context.Context, knowledge.TenantID, knowledge.ImportID) (knowledge.Import, error) {
	return knowledge.Import{}, f.get()
}

func (f failingStore) PutImport(context.Context, knowledge.TenantID, knowledge.Import) error {
	return f.get()
}

func (f failingStore) Import(context.Context, knowledge.TenantID, knowledge.ImportID) (knowledge.Import, error) {
	return knowledge.Import{}, f.get()
}

func (f failingStore) PutDocument(context.Context, knowledge.TenantID, knowledge.CollectionName, knowledge.DocumentWrite) (stored, before knowledge.Document, err error) {
	return knowledge.Document{}, knowledge.Document{}, f.get()
}

func (f failingStore) Document(context.Context, knowledge.TenantID, knowledge.CollectionName, knowledge.DocumentID) (knowledge.Document, error) {
	return knowledge.Document{}, f.get()
}

func (f failingStore) DocumentContent(context.Context, knowledge.TenantID, knowledge.CollectionName, knowledge.DocumentID) (knowledge.Document, knowledge.DocumentContent, error) {
	return knowledge.Document{}, knowledge.DocumentContent{}, f.get()
}

func (f failingStore) ListDocuments(context.Context, knowledge.TenantID, knowledge.CollectionName, knowledge.DocumentList) ([]knowledge.Document, error) {
	return nil, f.get()
}

func (f failingStore) DeleteDocument(context.Context, knowledge.TenantID, knowledge.CollectionName, knowledge.DocumentID, int64) (knowledge.Document, error) {
	return knowledge.Document{}, f.get()
}

// failingDocuments fails likewise.
type failingDocuments struct{ *failing }

func (f failingDocuments) Prepare(context.Context, knowledge.TenantID, knowledge.CollectionName, ingest.NewDocument) (ingest.PreparedDocument, error) {
	return ingest.PreparedDocument{}, f.get()
}

// failingImporter fails likewise.
type failingImporter struct{ *failing }

func (f failingImporter) Import(_ context.Context, _ knowledge.TenantID, x knowledge.Import, _ ingest.Lines) (knowledge.Import, error) {
	return x, f.get()
}

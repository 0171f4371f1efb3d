package api

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"

	"github.com/labstack/echo/v4"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/tars-project/tars/api/oapi"
	"github.com/tars-project/tars/knowledge"
)

// routeMCP serves the Model Context Protocol. A request passes the same guard as
// every operation's; from there on the protocol is the SDK's.
func (s *Server) routeMCP(guards map[string][]echo.MiddlewareFunc) {
	handler := mcp.NewStreamableHTTPHandler(s.mcpServer, &mcp.StreamableHTTPOptions{
		Stateless:    true, // any node serves any request
		JSONResponse: true,
		Logger:       slog.New(slog.DiscardHandler), // it would log what clients send
		// A page that another name leads here has no key, which is all that counts.
		DisableLocalhostProtection:   true,
		MaxRequestBodyBytes:          -1, // the guard bounds it
		PropagateRequestCancellation: true,
	})
	s.echo.POST("/mcp", func(c echo.Context) error {
		w := &mcpWriter{ResponseWriter: c.Response()}
		handler.ServeHTTP(w, c.Request())
		return w.err()
	}, guards["mcp"]...)
}

// mcpWriter keeps back the plain text in which the SDK answers what is no message, so
// that it becomes a problem like any other.
type mcpWriter struct {
	http.ResponseWriter
	code int // of such an answer; else 0
	text []byte
}

// WriteHeader implements [http.ResponseWriter].
func (w *mcpWriter) WriteHeader(code int) {
	if code < http.StatusBadRequest {
		w.ResponseWriter.WriteHeader(code)
		return
	}
	w.code = code
}

func (w *mcpWriter) Write(p []byte) (int, error) {
	if w.code == 0 {
		return w.ResponseWriter.Write(p)
	}
	const most = 512
	w.text = append(w.text, p[:min(len(p), most-min(most, len(w.text)))]...)
	return len(p), nil
}

// Unwrap is for [http.ResponseController].
func (w *mcpWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// err is what an answer that was kept back says.
func (w *mcpWriter) err() error {
	switch w.code {
	case 0:
		return nil
	case http.StatusRequestEntityTooLarge:
		return errTooLarge
	case http.StatusUnsupportedMediaType:
		return errMediaType
	case http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotAcceptable:
		return knowledge.Invalid("", "%s", strings.TrimSpace(strings.ToValidUTF8(string(w.text), "")))
	default:
		return fmt.Errorf("MCP: %d %s", w.code, w.text)
	}
}

// mcpServer makes the server of one request: its tools know who asks, and end with
// it. The calls of a request run one after the other, however many a batch has.
func (s *Server) mcpServer(r *http.Request) *mcp.Server {
	server := mcp.NewServer(&mcp.Implementation{Name: "tars", Title: "TARS", Version: "1"}, &mcp.ServerOptions{
		Instructions: "Search and query the knowledge that is kept here. Start with list_collections. Quote what you use and name its id.",
		Capabilities: &mcp.ServerCapabilities{Tools: &mcp.ToolCapabilities{}},
	})
	var one sync.Mutex
	for _, t := range s.tools {
		server.AddTool(&t.Tool, func(ctx context.Context, call *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			one.Lock()
			defer one.Unlock()
			// The client's request carries who asks, and ends when the client goes.
			asked, cancel := context.WithCancel(r.Context())
			defer cancel()
			defer context.AfterFunc(ctx, cancel)()
			return s.callTool(asked, t, call.Params.Arguments), nil
		})
	}
	return server
}

// callTool runs a tool. What it fails with is its result: whoever asked can do
// better then.
func (s *Server) callTool(ctx context.Context, t tool, arguments json.RawMessage) *mcp.CallToolResult {
	answer, text, err := t.recovered(ctx, arguments)
	if err == nil {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: text}}, StructuredContent: answer}
	}
	problem := s.itemProblem(ctx, err)
	words := []string{problem.Title}
	if problem.Detail != nil {
		words = append(words, *problem.Detail)
	}
	return &mcp.CallToolResult{
		Content: []mcp.Content{&mcp.TextContent{Text: strings.Join(words, ": ")}}, StructuredContent: problem, IsError: true,
	}
}

// recovered runs a tool and returns its panic as an error: the SDK calls it in a
// goroutine, whose panic would end the process.
func (t tool) recovered(ctx context.Context, arguments json.RawMessage) (answer any, text string, err error) {
	defer func() {
		if value := recover(); value != nil {
			answer, text, err = nil, "", &panicError{value, debug.Stack()}
		}
	}()
	if len(arguments) == 0 || string(arguments) == "null" { // as clients say that there are none
		arguments = json.RawMessage("{}")
	}
	return t.run(ctx, arguments)
}

// rendered are matches as a model reads them best: numbered, each with what names
// it, and its text.
func rendered(matches []oapi.QueryMatch) string {
	var b strings.Builder
	if len(matches) == 0 {
		b.WriteString("Nothing was found.\n")
	}
	for i, m := range matches {
		of := ""
		if m.Owner != nil {
			of = fmt.Sprintf("of tenant %s, ", *m.Owner)
		}
		fmt.Fprintf(&b, "[%d] %s/%s (%sscore %.4g)\n%s\n\n", i+1, m.Collection, m.Id, of, m.Score, m.Text)
	}
	return b.String()
}

// renderedResults are what synthesizers wrote, with what they cite.
func renderedResults(results []oapi.Result) string {
	var b strings.Builder
	for _, r := range results {
		fmt.Fprintf(&b, "Answer of %s (grounded: %v):\n%s\n", r.Plugin, r.Grounded, r.Text)
		for i, c := range r.Citations {
			fmt.Fprintf(&b, "[%d] %s/%s, verified: %v: %q\n", i+1, c.Collection, c.Id, c.Verified, c.Quote)
		}
		b.WriteString("\n")
	}
	return b.String()
}

package api

import (
	"net/http"

	"github.com/labstack/echo/v4"
	"github.com/swaggest/swgui"
	"github.com/swaggest/swgui/v5emb"
)

// docsPolicy lets the page of /docs use what is served beside it and nothing
// else. The page has a script and styles of its own inside.
const docsPolicy = "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; " +
	"img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"

// routeDocs serves the contract, and a page to read it with whose scripts are
// embedded: nothing comes from the network.
func (s *Server) routeDocs(document []byte, guards map[string][]echo.MiddlewareFunc) {
	s.echo.GET("/openapi.yaml", func(c echo.Context) error {
		return c.Blob(http.StatusOK, "application/yaml", document)
	}, guards["getOpenAPI"]...)
	page := v5emb.NewHandlerWithConfig(swgui.Config{Title: "TARS", SwaggerJSON: "/openapi.yaml", BasePath: "/docs/"})
	serve := echo.WrapHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(echo.HeaderContentSecurityPolicy, docsPolicy)
		page.ServeHTTP(w, r)
	}))
	s.echo.GET("/docs", serve, guards["getDocs"]...)
	s.echo.GET("/docs/*", func(c echo.Context) error {
		switch c.Param("*") { // the file server answers for others in plain text
		case "", "favicon-16x16.png", "favicon-32x32.png", "swagger-ui.css", "swagger-ui-bundle.js", "swagger-ui-standalone-preset.js":
			return serve(c)
		}
		return errNoRoute
	})
}

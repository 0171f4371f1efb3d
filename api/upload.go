package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strconv"

	"github.com/tars-project/tars/api/oapi"
	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/tenancy"
	"github.com/tars-project/tars/plugins"
)

// registry takes uploads.
type registry interface {
	Upload(ctx context.Context, tenant knowledge.TenantID, policy tenancy.Policy, m plugins.Manifest, module []byte) (plugins.Version, bool, error)
}

// UploadPluginVersion implements uploadPluginVersion.
func (s *Server) UploadPluginVersion(ctx context.Context, r oapi.UploadPluginVersionRequestObject) (oapi.UploadPluginVersionResponseObject, error) {
	name, err := named("name", r.Name, plugins.ParseName)
	if err != nil {
		return nil, err
	}
	upload, err := s.readUpload(r.Body)
	if err != nil {
		return nil, err
	}
	manifest, err := plugins.ParseManifest(upload.manifest)
	if err != nil {
		return nil, err
	}
	if manifest.Name != name {
		return nil, knowledge.Invalid("manifest.name", "is not the name in the path")
	}
	version, created, err := s.services.Registry.Upload(ctx, tenantOf(ctx), principalOf(ctx).Policy, manifest, upload.module)
	if err == nil {
		madeNamed(ctx, strconv.Itoa(version.Number))
		detailed(ctx, "digest", version.Digest.String())
	}
	switch {
	case err != nil:
		return nil, err
	case created:
		return oapi.UploadPluginVersion201JSONResponse(versionOut(version)), nil
	default:
		return oapi.UploadPluginVersion200JSONResponse(versionOut(version)), nil
	}
}

// upload is the parts of an upload; nil when missing.
type upload struct{ manifest, module []byte }

// readUpload reads the two parts, in either order.
func (s *Server) readUpload(parts *multipart.Reader) (upload, error) {
	var u upload
	for {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return u, multipartError(err)
		}
		switch name := part.FormName(); name {
		case "manifest":
			err = readPart(part, name, &u.manifest, plugins.MaxManifest, "application/json")
		case "module":
			err = readPart(part, name, &u.module, s.maxModule, "application/wasm")
		default:
			err = knowledge.Invalid("", "has a part that is neither manifest nor module")
		}
		if err != nil {
			return u, err
		}
	}
	switch {
	case u.manifest == nil:
		return u, knowledge.Invalid("manifest", "is missing")
	case u.module == nil:
		return u, knowledge.Invalid("module", "is missing")
	}
	return u, nil
}

// readPart reads one part of at most so many bytes into an empty place. Its type
// is the given one, or what programs say that do not know it.
func readPart(part *multipart.Part, name string, into *[]byte, most int64, mediaType string) error {
	if *into != nil {
		return knowledge.Invalid(name, "comes twice")
	}
	if said := part.Header.Get("Content-Type"); said != "" {
		got, _, err := mime.ParseMediaType(said)
		if err != nil || got != mediaType && got != "application/octet-stream" {
			return knowledge.Invalid(name, "has the wrong type; need %s", mediaType)
		}
	}
	if part.Header.Get("Content-Transfer-Encoding") != "" || part.Header.Get("Content-Encoding") != "" {
		return knowledge.Invalid(name, "is encoded; need it as it is")
	}
	data, err := io.ReadAll(io.LimitReader(part, most+1))
	switch {
	case err != nil:
		return multipartError(err)
	case int64(len(data)) > most:
		return fmt.Errorf("part %s: %w", name, errTooLarge)
	}
	*into = data
	return nil
}

// multipartError returns the errors of the connection as they are, and those of
// the form as the client's.
func multipartError(err error) error {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) || errors.Is(err, errSlowBody) || errors.Is(err, knowledge.ErrInvalid) {
		return err
	}
	return knowledge.Invalid("", "is not multipart/form-data as its type says")
}

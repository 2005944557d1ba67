// Package apidoc serves the API document: as the file it is, as JSON, and as
// a page for people that is made of it on the server, without scripts.
package apidoc

import (
	"embed"
	"fmt"
	"io/fs"
	"net/http"
	"strings"
	"sync"

	"stillwatch/web/api"
	"stillwatch/web/asset"
)

// Paths that Handler serves.
const (
	// YAMLPath and JSONPath are the document itself.
	YAMLPath = "/api/v2/openapi.yaml"
	JSONPath = "/api/v2/openapi.json"
	// PagePath is the page; with "?open" every operation is unfolded.
	PagePath = "/docs/api"
	// Prefix is where the page's files lie.
	Prefix = "/assets/apidoc/"
)

//go:embed static
var static embed.FS

// Names under which the made files are served.
const (
	yamlName   = "openapi.yaml"
	jsonName   = "openapi.json"
	closedName = "closed.html"
	openName   = "open.html"
)

// made is everything, made once: the document does not change.
var made = sync.OnceValue(func() *asset.Set {
	tree, err := fs.Sub(static, "static")
	if err != nil {
		panic(err) // the folder is embedded
	}
	files, err := makeFiles()
	if err != nil {
		panic(err) // the document is ours and tested
	}
	set := asset.New(tree, asset.Policy{})
	for name, body := range files {
		set.Add(name, body)
	}
	return set
})

func makeFiles() (map[string][]byte, error) {
	doc, err := api.Load()
	if err != nil {
		return nil, err
	}
	asJSON, err := doc.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("write the API document as JSON: %w", err)
	}
	closed, err := render(doc, false)
	if err != nil {
		return nil, err
	}
	open, err := render(doc, true)
	return map[string][]byte{yamlName: api.Document, jsonName: asJSON, closedName: closed, openName: open}, err
}

// Handler serves the four paths. Nobody needs a token: what the API looks
// like is no secret.
func Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		files := made()
		switch r.URL.Path {
		case YAMLPath:
			files.Serve(w, r, yamlName)
		case JSONPath:
			files.Serve(w, r, jsonName)
		case PagePath:
			name := closedName
			if r.URL.Query().Has("open") {
				name = openName
			}
			files.Serve(w, r, name)
		default:
			files.Serve(w, r, strings.TrimPrefix(r.URL.Path, Prefix))
		}
	})
}

// Package callpage is the page by which people join a call from a browser.
package callpage

import (
	"embed"
	"io/fs"
	"net/http"
	"strings"

	"stillwatch/web/asset"
)

//go:embed static
var static embed.FS

// Prefix is where the page's files lie; the page itself is at
// /call/{type}/{id}.
const Prefix = "/assets/call/"

// New serves the page under /call/ and its files under Prefix. Pictures may
// come from imageOrigins besides our own.
func New(imageOrigins []string) http.Handler {
	tree, err := fs.Sub(static, "static")
	if err != nil {
		panic(err) // the folder is embedded
	}
	files := asset.New(tree, asset.Policy{ImageOrigins: imageOrigins, Capture: true})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if name, ok := strings.CutPrefix(r.URL.Path, Prefix); ok {
			files.Serve(w, r, name)
			return
		}
		files.Serve(w, r, "call.html")
	})
}

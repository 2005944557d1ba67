// Package asset serves the files of a page that is built into the program.
package asset

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
	"time"
)

// Set is the files of one page. It does not change once it serves.
type Set struct {
	files   map[string]file
	headers map[string]string
}

type file struct {
	body        []byte
	contentType string
	etag        string
}

// Policy is what a page may do besides loading its own files.
type Policy struct {
	// ImageOrigins may be loaded pictures from, besides our own.
	ImageOrigins []string
	// Capture allows camera, microphone and screen.
	Capture bool
}

// New reads every file of the tree. It panics if one cannot be read, which
// cannot happen with an embedded tree.
func New(tree fs.FS, p Policy) *Set {
	s := &Set{files: map[string]file{}, headers: p.headers()}
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		s.Add(name, body)
		return nil
	})
	if err != nil {
		panic(fmt.Sprintf("asset: read embedded files: %v", err))
	}
	return s
}

// Add puts a file that is made when the program runs to those of the tree.
func (s *Set) Add(name string, body []byte) {
	sum := sha256.Sum256(body)
	s.files[name] = file{body, contentType(name), `"` + hex.EncodeToString(sum[:12]) + `"`}
}

func contentType(name string) string {
	if path.Ext(name) == ".yaml" {
		return "application/yaml" // RFC 9512; not every machine knows it
	}
	return mime.TypeByExtension(path.Ext(name))
}

// headers are those that every file of the page is sent with. Scripts and
// styles come from files alone: none may stand in the page.
func (p Policy) headers() map[string]string {
	csp := []string{
		"default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'",
		strings.Join(append([]string{"img-src 'self'"}, p.ImageOrigins...), " "),
		"frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'", "require-trusted-types-for 'script'",
	}
	capture := "()"
	if p.Capture {
		capture = "(self)"
	}
	return map[string]string{
		"Content-Security-Policy": strings.Join(csp, "; "),
		"Permissions-Policy":      fmt.Sprintf("camera=%s, microphone=%s, display-capture=%s, geolocation=()", capture, capture, capture),
		"Cache-Control":           "no-cache", // ask each time; the ETag makes that cheap
	}
}

// Serve sends the file of that name, or 404.
func (s *Set) Serve(w http.ResponseWriter, r *http.Request, name string) {
	f, ok := s.files[name]
	if !ok {
		http.NotFound(w, r)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	h := w.Header()
	for name, value := range s.headers {
		h.Set(name, value)
	}
	h.Set("Content-Type", f.contentType)
	h.Set("ETag", f.etag)
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(f.body))
}

package blob

import (
	"log/slog"
	"net/http"

	"gocloud.dev/gcerrors"
)

// Handler serves signed URLs: GET and HEAD on "/s/...", with ranges. It
// answers 403 to whatever was not signed by this store or has expired, and
// 404 for a signed object that is gone.
func (s *Store) Handler() http.Handler { return http.HandlerFunc(s.serve) }

func (s *Store) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "private, no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	key, ok := s.signer.verify(r.URL.EscapedPath(), r.URL.RawQuery, s.now())
	if !ok {
		http.Error(w, "this address is not signed, was changed, or has expired", http.StatusForbidden)
		return
	}
	obj, err := s.bucket.NewReader(r.Context(), key, nil)
	if gcerrors.Code(err) == gcerrors.NotFound {
		http.Error(w, "this object is gone", http.StatusNotFound)
		return
	}
	if err != nil {
		slog.Error("cannot read object", "component", "blob", "key", key, "err", err)
		http.Error(w, "the object store does not answer", http.StatusBadGateway)
		return
	}
	defer obj.Close()
	h.Set("Content-Type", contentTypeOf(key))
	http.ServeContent(w, r, "", obj.ModTime(), obj)
}

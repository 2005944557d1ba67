package blob

import (
	"context"
	"log/slog"
	"net/http"

	"gocloud.dev/gcerrors"
)

// Handler serves signed URLs: GET and HEAD on "/s/...", with ranges. It
// answers 403 to whatever was not signed by this store or has expired, and
// 404 for a signed object that is gone.
func (s *Store) Handler() http.Handler { return http.HandlerFunc(s.serve) }

// Elsewhere finds the store that holds an object of another store than the
// one that was asked, and the object's key there; nil is the one asked.
type Elsewhere func(ctx context.Context, key string) (from *Store, at string, err error)

// SetElsewhere lets the handler serve objects of other stores. Call it before
// Handler.
func (s *Store) SetElsewhere(f Elsewhere) { s.elsewhere = f }

func (s *Store) locate(ctx context.Context, key string) (*Store, string, error) {
	if s.elsewhere != nil {
		if from, at, err := s.elsewhere(ctx, key); from != nil || err != nil {
			return from, at, err
		}
	}
	return s, key, nil
}

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
	from, at, err := s.locate(r.Context(), key)
	if err != nil {
		slog.Warn("cannot reach the storage of an object", "component", "blob", "key", key, "err", err)
		http.Error(w, "the object store does not answer", http.StatusBadGateway)
		return
	}
	obj, err := from.bucket.NewReader(r.Context(), at, nil)
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

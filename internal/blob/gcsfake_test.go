package blob

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeGCS answers the requests of Google Cloud Storage's JSON API that this
// package makes, and no others: there is no such server to run offline.
type fakeGCS struct {
	*httptest.Server
	t       *testing.T
	bucket  string
	mu      sync.Mutex
	objects map[string]gcsObject
	tokens  int
}

type gcsObject struct {
	body []byte
	typ  string
	at   time.Time
}

func newFakeGCS(t *testing.T) *fakeGCS {
	t.Helper()
	f := &fakeGCS{t: t, bucket: "stillwatch-test", objects: map[string]gcsObject{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", f.token)
	mux.HandleFunc("POST /upload/storage/v1/b/{bucket}/o", f.upload)
	mux.HandleFunc("GET /storage/v1/b/{bucket}/o", f.list)
	mux.HandleFunc("GET /storage/v1/b/{bucket}/o/{key}", f.stat)
	mux.HandleFunc("DELETE /storage/v1/b/{bucket}/o/{key}", f.delete)
	mux.HandleFunc("GET /{bucket}/{key...}", f.read)
	f.Server = httptest.NewServer(f.guarded(mux))
	t.Cleanup(f.Close)
	return f
}

// external is the fake as a storage, with a service account of its own.
func (f *fakeGCS) external() (context.Context, External) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	noErr(f.t, err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	noErr(f.t, err)
	creds, err := json.Marshal(map[string]string{
		"type": "service_account", "client_email": "frames@project.iam.gserviceaccount.com", "private_key_id": "1",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), "token_uri": f.URL + "/token",
	})
	noErr(f.t, err)
	ctx := context.WithValue(f.t.Context(), gcsEndpointKey{}, f.URL+"/storage/v1/")
	return ctx, External{Kind: KindGCS, Bucket: f.bucket, GoogleCredentials: string(creds)}
}

// guarded refuses what has no token, and has the mux see keys whole.
func (f *fakeGCS) guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/token" && r.Header.Get("Authorization") != "Bearer let-me-in" {
			http.Error(w, `{"error":{"code":401,"message":"no"}}`, http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (f *fakeGCS) token(w http.ResponseWriter, _ *http.Request) {
	f.mu.Lock()
	f.tokens++
	f.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"access_token":"let-me-in","token_type":"Bearer","expires_in":3600}`)
}

func (f *fakeGCS) upload(w http.ResponseWriter, r *http.Request) {
	_, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || r.URL.Query().Get("uploadType") != "multipart" || r.PathValue("bucket") != f.bucket {
		http.Error(w, `{"error":{"code":404}}`, http.StatusNotFound)
		return
	}
	parts := multipart.NewReader(r.Body, params["boundary"])
	var meta struct{ Name, ContentType string }
	head, err := parts.NextPart()
	if err == nil {
		err = json.NewDecoder(head).Decode(&meta)
	}
	var body []byte
	if media, e := parts.NextPart(); err == nil && e == nil {
		body, err = io.ReadAll(media)
	}
	if _, e := parts.NextPart(); err != nil || e != io.EOF { //nolint:errorlint // the reader's own
		http.Error(w, `{"error":{"code":400}}`, http.StatusBadRequest)
		return
	}
	f.mu.Lock()
	f.objects[meta.Name] = gcsObject{body, meta.ContentType, time.Now()}
	f.mu.Unlock()
	f.describe(w, meta.Name)
}

func (f *fakeGCS) object(bucket, key string) (gcsObject, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	o, ok := f.objects[key]
	return o, ok && bucket == f.bucket
}

func (f *fakeGCS) resource(key string, o gcsObject) map[string]any {
	return map[string]any{
		"kind": "storage#object", "bucket": f.bucket, "name": key, "contentType": o.typ, "size": fmt.Sprint(len(o.body)),
		"updated": o.at.Format(time.RFC3339Nano), "generation": "1", "metageneration": "1",
	}
}

func (f *fakeGCS) describe(w http.ResponseWriter, key string) {
	o, ok := f.object(f.bucket, key)
	if !ok {
		http.Error(w, `{"error":{"code":404,"message":"no such object"}}`, http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(f.resource(key, o))
}

func (f *fakeGCS) stat(w http.ResponseWriter, r *http.Request) { f.describe(w, r.PathValue("key")) }

func (f *fakeGCS) delete(w http.ResponseWriter, r *http.Request) {
	key := r.PathValue("key")
	if _, ok := f.object(f.bucket, key); !ok {
		f.describe(w, key)
		return
	}
	f.mu.Lock()
	delete(f.objects, key)
	f.mu.Unlock()
	w.WriteHeader(http.StatusNoContent)
}

func (f *fakeGCS) read(w http.ResponseWriter, r *http.Request) {
	key, err := url.PathUnescape(strings.TrimPrefix(r.URL.EscapedPath(), "/"+f.bucket+"/"))
	o, ok := f.object(r.PathValue("bucket"), key)
	if err != nil || !ok {
		http.Error(w, "no such object", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", o.typ)
	w.Header().Set("X-Goog-Generation", "1")
	w.Header().Set("X-Goog-Stored-Content-Length", fmt.Sprint(len(o.body)))
	http.ServeContent(w, r, "", o.at, strings.NewReader(string(o.body)))
}

func (f *fakeGCS) list(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	prefix, delimiter := q.Get("prefix"), q.Get("delimiter")
	items, folders := []map[string]any{}, []string{}
	f.mu.Lock()
	for key, o := range f.objects {
		rest, ok := strings.CutPrefix(key, prefix)
		if !ok {
			continue
		}
		if dir, _, nested := strings.Cut(rest, delimiter); delimiter != "" && nested {
			folders = append(folders, prefix+dir+delimiter)
			continue
		}
		items = append(items, f.resource(key, o))
	}
	f.mu.Unlock()
	slices.Sort(folders)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"kind": "storage#objects", "items": items, "prefixes": slices.Compact(folders)})
}

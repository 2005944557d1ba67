package archive

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"

	"stillwatch/internal/netguard"
	"stillwatch/internal/signature"
)

// pushed is what a receiver got.
type pushed struct {
	conference map[string]any
	files      []*pushedFile
}

type pushedFile struct {
	meta struct {
		Name        string         `json:"name"`
		ContentType string         `json:"content_type"`
		Size        int64          `json:"size"`
		Meta        map[string]any `json:"meta"`
	}
	body  bytes.Buffer
	whole bool
}

// receive is the reference receiver: all that the format's text says.
func receive(r io.Reader) (*pushed, error) {
	in := bufio.NewReader(r)
	magic := make([]byte, 8)
	if _, err := io.ReadFull(in, magic); err != nil || string(magic) != "SWREC\x00\x00\x01" {
		return nil, fmt.Errorf("not a recording: %q, %w", magic, err)
	}
	got := &pushed{}
	for {
		var head struct {
			Kind   byte
			File   uint16
			Length uint32
		}
		if err := binary.Read(in, binary.BigEndian, &head); err != nil {
			return nil, fmt.Errorf("cut off: %w", err)
		}
		if head.Length > 1<<20 {
			return nil, fmt.Errorf("a record of %d bytes", head.Length)
		}
		payload := make([]byte, head.Length)
		if _, err := io.ReadFull(in, payload); err != nil {
			return nil, fmt.Errorf("cut off: %w", err)
		}
		done, err := got.take(head.Kind, int(head.File), payload)
		if done || err != nil {
			return got, err
		}
	}
}

func (p *pushed) take(kind byte, n int, payload []byte) (done bool, err error) {
	if n > len(p.files)+1 || n > 0 && n <= len(p.files) && kind != 'M' && p.files[n-1].whole {
		return false, fmt.Errorf("file %d is out of order", n)
	}
	switch {
	case kind == 'M' && n == 0:
		return false, json.Unmarshal(payload, &p.conference)
	case kind == 'E' && n == 0:
		return true, nil
	case kind == 'M' && n == len(p.files)+1:
		f := &pushedFile{}
		p.files = append(p.files, f)
		return false, json.Unmarshal(payload, &f.meta)
	case kind == 'D' && n == len(p.files):
		p.files[n-1].body.Write(payload)
	case kind == 'E' && n == len(p.files):
		f, end := p.files[n-1], pushFileEnd{}
		if err := json.Unmarshal(payload, &end); err != nil {
			return false, err
		}
		sums := newSums()
		_, _ = sums.Write(f.body.Bytes())
		if f.whole = end.Size == sums.size && end.SHA256 == sums.sha() && f.meta.Size == end.Size; !f.whole {
			return false, fmt.Errorf("file %d is damaged", n)
		}
	}
	return false, nil
}

func guard(t *testing.T, allow ...netip.Prefix) *http.Client {
	t.Helper()
	c := netguard.New(netguard.Config{Allow: allow})
	t.Cleanup(func() { _ = c.Close() })
	return c.HTTPClient()
}

var signer = signature.Signer{Key: "key", Secret: "secret"}

var here = netip.MustParsePrefix("127.0.0.0/8")

func TestPush(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	files := []PushFile{
		{Path: file(t, dir, "movie", 1_000_003), Name: "movie.mp4", ContentType: "video/mp4", Meta: map[string]string{"layout": "speaker"}},
		{Path: file(t, dir, "empty", 0), Name: "empty"},
		{Path: file(t, dir, "sound", 5), Name: "mix.wav", ContentType: "audio/wav"},
	}
	var got *pushed
	var failed error
	var header http.Header
	var body bytes.Buffer
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header = r.Header
		if got, failed = receive(io.TeeReader(r.Body, &body)); failed != nil || r.ContentLength != -1 {
			w.WriteHeader(http.StatusBadRequest)
		}
	}))
	defer srv.Close()
	err := Push(t.Context(), guard(t, here), signer, srv.URL, "rec-1", map[string]any{"cid": "default:a", "participants": []string{"alice"}}, files)
	if err != nil || failed != nil {
		t.Fatal(err, failed)
	}
	if got.conference["cid"] != "default:a" || len(got.files) != 3 || header.Get("Idempotency-Key") != "rec-1" || header.Get("Content-Type") != pushContentType {
		t.Errorf("%+v, %v", got, header)
	}
	if sig := header.Get("X-SIGNATURE"); header.Get("X-API-KEY") != "key" || !signature.Verify("secret", body.Bytes(), sig) {
		t.Errorf("signature %q of %d bytes", sig, body.Len())
	}
	for i, f := range files {
		want, _ := os.ReadFile(f.Path)
		if g := got.files[i]; !g.whole || !bytes.Equal(g.body.Bytes(), want) || g.meta.Name != f.Name {
			t.Errorf("%s: %d bytes, %+v", f.Name, g.body.Len(), g.meta)
		}
	}
	if got.files[0].meta.Meta["layout"] != "speaker" {
		t.Errorf("%+v", got.files[0].meta)
	}
}

func TestPushFailures(t *testing.T) {
	t.Parallel()
	movie := []PushFile{{Path: file(t, t.TempDir(), "movie", 3<<20), Name: "movie.mp4"}}
	for status, down := range map[int]bool{503: true, 429: true, 500: true, 401: false, 404: false, 302: false, 413: false} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { // before it has all
			w.Header().Set("Location", "http://127.0.0.1:1/")
			w.WriteHeader(status)
		}))
		err := Push(t.Context(), guard(t, here), signer, srv.URL, "x", nil, movie)
		var e *Error
		if down != errors.Is(err, ErrStoreDown) || !down && (!errors.As(err, &e) || e.Class != Destinations) {
			// A server that closes at once may cut the answer off.
			if !errors.Is(err, ErrStoreDown) {
				t.Errorf("%d: %v", status, err)
			}
		}
		srv.Close()
	}
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	defer srv.Close()
	var e *Error
	if err := Push(t.Context(), guard(t), signer, srv.URL, "x", nil, movie); !errors.As(err, &e) || e.Class != Destinations {
		t.Errorf("an address that is not allowed: %v", err)
	}
	if err := Push(t.Context(), guard(t, here), signer, srv.URL, "x", nil, []PushFile{{Path: "/no/such/file"}}); !errors.As(err, &e) || e.Class != Ours {
		t.Errorf("a file that is gone: %v", err)
	}
	if err := Push(t.Context(), guard(t, here), signer, "http://%zz/secret", "x", nil, movie); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("no URL: %v", err)
	}
	if err := Push(t.Context(), guard(t, here), signer, "http://127.0.0.1:1/?token=secret", "x", nil, movie); !errors.Is(err, ErrStoreDown) || strings.Contains(err.Error(), "secret") {
		t.Errorf("nobody listens: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Push(ctx, guard(t, here), signer, srv.URL, "x", nil, movie); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestAPushThatIsCutOffIsSeen(t *testing.T) {
	t.Parallel()
	var whole bytes.Buffer
	noErr(t, writePush(t.Context(), &whole, map[string]int{"n": 1}, []PushFile{{Path: file(t, t.TempDir(), "a", 3000), Name: "a"}}))
	if _, err := receive(bytes.NewReader(whole.Bytes())); err != nil {
		t.Fatal(err)
	}
	for n := range whole.Len() {
		if _, err := receive(bytes.NewReader(whole.Bytes()[:n])); err == nil {
			t.Fatalf("%d of %d bytes are a whole stream", n, whole.Len())
		}
	}
}

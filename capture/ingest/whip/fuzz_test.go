package whip_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"stillwatch/capture/ingest/ingesttest"
	"stillwatch/capture/ingest/whip"
)

// FuzzOffer sends offers through the whole of the handler: whatever they are,
// there is an answer within seconds, and nothing is left behind.
func FuzzOffer(f *testing.F) {
	s := ingesttest.NewServer(f)
	h := whip.New(whip.Config{Transport: s.Transport, Registry: s.Registry, Auth: s, Gatekeeper: s})
	s.Handle(f, "/whip", h)
	good := offer(f)
	f.Add(good)
	f.Add(strings.ReplaceAll(good, "a=sendrecv", "a=sendonly\r\na=rid:q send\r\na=rid:h send\r\na=simulcast:send q;h"))
	f.Add(strings.ReplaceAll(good, "a=setup:actpass", "a=setup:passive"))
	f.Add("v=0\r\n")
	f.Fuzz(func(t *testing.T, body string) {
		start := time.Now()
		do := func(method, path string) *httptest.ResponseRecorder {
			r := httptest.NewRequest(method, path, strings.NewReader(body))
			r.Header.Set("Authorization", "Bearer user:ann")
			r.Header.Set("Content-Type", "application/sdp")
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			return w
		}
		w := do(http.MethodPost, "/whip/default/abc")
		switch {
		case w.Code == http.StatusCreated:
			if d := do(http.MethodDelete, w.Header().Get("Location")); d.Code != http.StatusOK {
				t.Errorf("DELETE: %d %s", d.Code, d.Body)
			}
		case w.Code < 400 || w.Code >= 500:
			t.Errorf("%d %s", w.Code, w.Body)
		}
		if n := s.Registry.Seats(); n != 0 {
			t.Errorf("%d seats are left", n)
		}
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("took %s", d)
		}
	})
}

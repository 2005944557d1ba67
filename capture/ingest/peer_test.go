package ingest

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"stillwatch/capture/call"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestParseFragment(t *testing.T) {
	t.Parallel()
	f, err := parseFragment("a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\n" +
		"a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0\r\na=end-of-candidates\r\n" +
		"a=mid:1\na=candidate:1 1 udp 1 192.0.2.1 5 typ host\n")
	if err != nil {
		t.Fatal(err)
	}
	if f.ufrag != "EsAw" || f.pwd != "P2uYro0UCOQ4zxjKXaWCBui1" || len(f.candidates) != 2 ||
		*f.candidates[0].SDPMid != "0" || *f.candidates[1].SDPMid != "1" {
		t.Errorf("%+v", f)
	}
}

func FuzzParseFragment(f *testing.F) {
	f.Add("a=ice-ufrag:EsAw\r\na=ice-pwd:x\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\na=candidate:1 1 udp 1 192.0.2.1 5 typ host\r\n")
	f.Fuzz(func(t *testing.T, s string) {
		frag, err := parseFragment(s)
		if err == nil && (len(frag.candidates) > maxCandidates || strings.ContainsAny(frag.ufrag, " \r\n")) {
			t.Errorf("%+v", frag)
		}
	})
}

func TestErrorsAreProblems(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err    error
		status int
		header string
		say    string
	}{
		{Refuse(401, "no token"), 401, "WWW-Authenticate", "no token"},
		{&Refusal{Status: 503, Reason: "full", RetryAfter: 1500 * time.Millisecond}, 503, "Retry-After", "full"},
		{errors.New("secret detail"), 500, "", "failed to handle"},
		{SeatRefusal(call.ErrRemoved), 403, "", "disconnected"},
		{SeatRefusal(call.ErrClosed), 503, "Retry-After", "no more"},
	} {
		w := httptest.NewRecorder()
		WriteError(w, discard(), c.err)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.say) || strings.Contains(w.Body.String(), "secret") ||
			c.header != "" && w.Header().Get(c.header) == "" || w.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%v: %d %v %s", c.err, w.Code, w.Header(), w.Body)
		}
	}
}

func TestIdentityMay(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		id   Identity
		want bool
	}{
		{Identity{UserID: "a"}, true},
		{Identity{UserID: "a", CallCIDs: []string{"x:1"}}, true},
		{Identity{UserID: "a", CallCIDs: []string{"x:2"}}, false},
		{Identity{Server: true, CallCIDs: []string{"x:2"}}, true},
	} {
		if c.id.May("x:1") != c.want {
			t.Errorf("%+v", c.id)
		}
	}
}

func TestBearer(t *testing.T) {
	t.Parallel()
	auth := AuthenticatorFunc(func(token string) (Identity, error) {
		switch token {
		case "good":
			return Identity{UserID: "ann"}, nil
		case "nobody":
			return Identity{}, nil
		}
		return Identity{}, errors.New("expired")
	})
	for header, want := range map[string]string{
		"Bearer good": "", "bearer good": "", "Bearer  good": "",
		"": "no token", "Basic good": "no token", "Bearer": "no token", "Bearer x": "expired", "Bearer nobody": "user_id",
	} {
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.Header.Set("Authorization", header)
		_, err := Bearer(r, auth)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", header, err, want)
		}
	}
}

package webhook

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"stillwatch/actions/delivery"
	"stillwatch/internal/netguard"
	"stillwatch/internal/signature"
	"stillwatch/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

const (
	oldSecret   = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="
	newSecret   = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	otherSecret = "whsec_/////////////////////////////////////////w8="
)

// sent is a request as a receiver got it.
type sent struct {
	Header http.Header
	Body   []byte
}

// deliver sends one event to a receiver of its own and returns what came.
func deliver(t *testing.T, h delivery.Hook, body string) sent {
	t.Helper()
	var got sent
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got = sent{r.Header.Clone(), b}
	}))
	defer srv.Close()
	client := netguard.New(netguard.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	defer client.Close()
	h.URL = srv.URL
	res := New(Config{Client: client, Plain: client, APIKey: "key", APISecret: "secret"}).
		Send(t.Context(), h, delivery.Message{EventID: "evt-1", Type: "user.banned", Attempt: 2, Body: []byte(body)})
	if !res.OK() {
		t.Fatalf("%+v", res)
	}
	return got
}

// verify asks both reference libraries.
func verify(t *testing.T, secret string, got sent) (goSays, nodeSays bool) {
	t.Helper()
	wh, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	goSays = wh.Verify(got.Body, got.Header) == nil
	headers := map[string]string{}
	for _, name := range []string{"webhook-id", "webhook-timestamp", "webhook-signature"} {
		headers[name] = got.Header.Get(name)
	}
	in, err := json.Marshal(map[string]any{"secret": secret, "headers": headers, "body": string(got.Body)})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("node", "-e", `
const { Webhook } = require("standardwebhooks");
const m = JSON.parse(require("fs").readFileSync(0, "utf8"));
try { new Webhook(m.secret).verify(m.body, m.headers); console.log("genuine") } catch (e) { console.log("refused: " + e.message) }`)
	cmd.Dir = filepath.Join(testkit.ModuleRoot(t), "internal/testkit/npm")
	cmd.Stdin = bytes.NewReader(in)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("run the npm library: %v: %s", err, out)
	}
	return goSays, strings.HasPrefix(string(out), "genuine")
}

func TestReferenceLibrariesVerify(t *testing.T) {
	t.Parallel()
	const body = `{"type":"user.banned","n":"ü"}`
	rotating := deliver(t, delivery.Hook{Secrets: []string{newSecret, oldSecret}}, body)
	if n := len(strings.Fields(rotating.Header.Get(headerStandardSignature))); n != 2 {
		t.Errorf("%d signatures while a secret is rotated", n)
	}
	single := deliver(t, delivery.Hook{Secrets: []string{newSecret}}, body)
	tampered := func(change func(*sent)) sent {
		c := sent{single.Header.Clone(), bytes.Clone(single.Body)}
		change(&c)
		return c
	}
	for name, tc := range map[string]struct {
		secret string
		got    sent
		want   bool
	}{
		"the secret":            {newSecret, single, true},
		"new while rotating":    {newSecret, rotating, true},
		"old while rotating":    {oldSecret, rotating, true},
		"old after rotating":    {oldSecret, single, false},
		"another's secret":      {otherSecret, single, false},
		"body changed":          {newSecret, tampered(func(s *sent) { s.Body[10] ^= 1 }), false},
		"id changed":            {newSecret, tampered(func(s *sent) { s.Header.Set("webhook-id", "evt-2") }), false},
		"an hour old":           {newSecret, tampered(func(s *sent) { s.Header.Set("webhook-timestamp", "1700000000") }), false},
		"signature taken out":   {newSecret, tampered(func(s *sent) { s.Header.Del("webhook-signature") }), false},
		"signature cut short":   {newSecret, tampered(func(s *sent) { s.Header.Set("webhook-signature", s.Header.Get("webhook-signature")[:20]) }), false},
		"of another version v9": {newSecret, tampered(func(s *sent) { s.Header.Set("webhook-signature", "v9"+s.Header.Get("webhook-signature")[2:]) }), false},
	} {
		goSays, nodeSays := verify(t, tc.secret, tc.got)
		if goSays != tc.want || nodeSays != tc.want {
			t.Errorf("%s: Go says %v, npm says %v, want %v", name, goSays, nodeSays, tc.want)
		}
	}
}

func TestHeadersOfBothStyles(t *testing.T) {
	t.Parallel()
	const body = `{"type":"user.banned"}`
	got := deliver(t, delivery.Hook{Secrets: []string{newSecret}}, body)
	for name, want := range map[string]string{
		"X-WEBHOOK-ID": "evt-1", "X-WEBHOOK-ATTEMPT": "2", "X-API-KEY": "key", "X-SIGNATURE": signature.Sign("secret", []byte(body)),
		"webhook-id": "evt-1", "Content-Type": "application/json", "Content-Encoding": "",
	} {
		if have := got.Header.Get(name); have != want {
			t.Errorf("%s is %q, want %q", name, have, want)
		}
	}
	bare := deliver(t, delivery.Hook{}, body)
	if bare.Header.Get("webhook-signature") != "" || bare.Header.Get("webhook-id") != "" {
		t.Error("a hook without a secret was signed in the second style")
	}
}

func TestCompressionComesAfterSigning(t *testing.T) {
	t.Parallel()
	body := `{"type":"user.banned","reason":"` + strings.Repeat("again ", 200) + `"}`
	got := deliver(t, delivery.Hook{Compress: true, Secrets: []string{newSecret}}, body)
	if got.Header.Get("Content-Encoding") != "gzip" || !bytes.HasPrefix(got.Body, []byte{0x1f, 0x8b}) || len(got.Body) >= len(body) {
		t.Fatalf("%d bytes as %q", len(got.Body), got.Header.Get("Content-Encoding"))
	}
	z, err := gzip.NewReader(bytes.NewReader(got.Body))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(z)
	if err != nil || string(plain) != body || !Verify("secret", plain, got.Header.Get("X-SIGNATURE")) {
		t.Error("the signature is not that of the uncompressed body", err)
	}
	got.Body = plain
	if goSays, nodeSays := verify(t, newSecret, got); !goSays || !nodeSays {
		t.Error("the second signature is not that of the uncompressed body")
	}
}

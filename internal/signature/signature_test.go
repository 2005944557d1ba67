package signature

import (
	"net/http"
	"testing"

	"pgregory.net/rapid"
)

func TestSignVectors(t *testing.T) {
	t.Parallel()
	// RFC 4231, test case 2, and the empty body.
	for _, c := range []struct{ secret, body, want string }{
		{"Jefe", "what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
		{"", "", "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad"},
	} {
		if got := Sign(c.secret, []byte(c.body)); got != c.want {
			t.Errorf("Sign(%q, %q) = %s", c.secret, c.body, got)
		}
	}
}

func TestVerify(t *testing.T) {
	t.Parallel()
	body := []byte(`{"type":"user.banned"}`)
	sig := Sign("secret", body)
	if !Verify("secret", body, sig) {
		t.Error("refused its own signature")
	}
	if Verify("Secret", body, sig) || Verify("secret", append(body, ' '), sig) || Verify("secret", body, "") || Verify("secret", body, sig[:63]) {
		t.Error("took a wrong one")
	}
}

func TestPiecesHaveTheSignatureOfTheWhole(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		pieces := rapid.SliceOf(rapid.SliceOf(rapid.Byte())).Draw(t, "pieces")
		mac := New("secret")
		var whole []byte
		for _, p := range pieces {
			mac.Write(p)
			whole = append(whole, p...)
		}
		if Text(mac) != Sign("secret", whole) {
			t.Fatal("the pieces have another signature")
		}
	})
}

func TestHeader(t *testing.T) {
	t.Parallel()
	h := http.Header{}
	Signer{}.Header(h, "abc")
	if len(h) > 0 {
		t.Errorf("nobody signed %v", h)
	}
	Signer{Key: "k", Secret: "s"}.Header(h, "abc")
	if h.Get("X-API-KEY") != "k" || h.Get("X-SIGNATURE") != "abc" || len(h) != 2 {
		t.Errorf("headers %v", h)
	}
}

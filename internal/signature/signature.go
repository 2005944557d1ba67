// Package signature signs what is sent to others over HTTP, so that they can
// tell that it comes from here and is whole.
package signature

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"net/http"
)

// Headers of a signed request.
const (
	HeaderKey       = "X-API-KEY"
	HeaderSignature = "X-SIGNATURE"
)

// New takes a body in pieces. Text of it is the body's signature.
func New(secret string) hash.Hash { return hmac.New(sha256.New, []byte(secret)) }

// Text is the signature of what a hash of New has taken, in lower-case hex.
func Text(body hash.Hash) string { return hex.EncodeToString(body.Sum(nil)) }

// Sign returns the lower-case hex HMAC-SHA256 of the body under the secret.
func Sign(secret string, body []byte) string {
	mac := New(secret)
	mac.Write(body)
	return Text(mac)
}

// Verify tells whether the signature is that of the body, in constant time.
func Verify(secret string, body []byte, signature string) bool {
	return hmac.Equal([]byte(Sign(secret, body)), []byte(signature))
}

// Signer signs for an API key. The zero Signer signs nothing.
type Signer struct{ Key, Secret string }

// Header signs a request whose body has the signature.
func (s Signer) Header(h http.Header, signature string) {
	if s.Key == "" {
		return
	}
	h.Set(HeaderKey, s.Key)
	h.Set(HeaderSignature, signature)
}

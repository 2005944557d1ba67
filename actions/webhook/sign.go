package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
)

// Headers of a delivery. HeaderID is the event's and the same on every
// attempt; HeaderSignature is Sign of the exact body.
const (
	HeaderID        = "X-WEBHOOK-ID"
	HeaderAttempt   = "X-WEBHOOK-ATTEMPT"
	HeaderKey       = "X-API-KEY"
	HeaderSignature = "X-SIGNATURE"
)

// Sign returns the lower-case hex HMAC-SHA256 of the body under the secret.
func Sign(secret string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}

// Verify tells whether the signature is that of the body, in constant time.
func Verify(secret string, body []byte, signature string) bool {
	return hmac.Equal([]byte(Sign(secret, body)), []byte(signature))
}

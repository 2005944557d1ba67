package webhook

import "stillwatch/internal/signature"

// Headers of a delivery. HeaderID is the event's and the same on every
// attempt; HeaderSignature is Sign of the exact body.
const (
	HeaderID        = "X-WEBHOOK-ID"
	HeaderAttempt   = "X-WEBHOOK-ATTEMPT"
	HeaderKey       = signature.HeaderKey
	HeaderSignature = signature.HeaderSignature
)

// Verify tells whether the signature is that of the body, in constant time.
func Verify(secret string, body []byte, sig string) bool {
	return signature.Verify(secret, body, sig)
}

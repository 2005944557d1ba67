package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"stillwatch/actions/delivery"
)

// Headers of Standard Webhooks 1.0.0, "Webhook Headers".
const (
	headerStandardID        = "Webhook-Id"
	headerStandardTimestamp = "Webhook-Timestamp"
	headerStandardSignature = "Webhook-Signature"
)

// signStandard signs with each live secret of the hook: HMAC-SHA256 over
// id.timestamp.body (Standard Webhooks 1.0.0, "Signature scheme").
func (t *Transport) signStandard(header http.Header, secrets []string, m delivery.Message) error {
	if len(secrets) == 0 {
		return nil
	}
	stamp := strconv.FormatInt(t.cfg.Now().Unix(), 10)
	var signatures []string
	for _, secret := range secrets {
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, delivery.SecretPrefix))
		if err != nil {
			return errors.New("a signing secret cannot be read; rotate it") // err would quote it
		}
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(m.EventID + "." + stamp + "."))
		mac.Write(m.Body)
		signatures = append(signatures, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	header.Set(headerStandardID, m.EventID)
	header.Set(headerStandardTimestamp, stamp)
	header.Set(headerStandardSignature, strings.Join(signatures, " "))
	return nil
}

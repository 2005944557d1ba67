// Package awstest reads the messages of SQS and SNS as a receiver does. Only
// tests import it.
package awstest

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"io"
	"testing"

	"stillwatch/actions/awsqueue"
	"stillwatch/actions/peer/peertest"
	"stillwatch/internal/testkit"
)

// Received returns what lies in a queue.
func Received(t *testing.T, s *testkit.Fauxqs, queue string) (all []peertest.Got) {
	t.Helper()
	for _, m := range s.Messages(queue) {
		body, packed := Decode(t, m.Body)
		all = append(all, peertest.Got{
			ID: m.Attributes[awsqueue.AttributeID].StringValue, Type: m.Attributes[awsqueue.AttributeType].StringValue, Body: body, Packed: packed,
		})
	}
	return all
}

// Decode reads a text as receivers' libraries do: strictly base64, or else as
// it is; and then decompressed if it begins as gzip does.
func Decode(t *testing.T, text string) (body []byte, packed bool) {
	t.Helper()
	raw, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		raw = []byte(text)
	}
	if !bytes.HasPrefix(raw, []byte{0x1f, 0x8b}) {
		return raw, false
	}
	zip, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	if body, err = io.ReadAll(zip); err != nil {
		t.Fatal(err)
	}
	return body, true
}

package evidence

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// ErrTimestamp is a reply of a time-stamping authority that stamps nothing, or
// something else than was asked for.
var ErrTimestamp = errors.New("bad time stamp")

var (
	oidSHA256     = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
	oidSignedData = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	oidTSTInfo    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 1, 4}
)

type messageImprint struct {
	Algorithm pkix.AlgorithmIdentifier
	Digest    []byte
}

type contentInfo struct {
	Type    asn1.ObjectIdentifier
	Content asn1.RawValue `asn1:"explicit,optional,tag:0"`
}

// TimestampRequest asks for a time stamp of a text, with the authority's
// certificate in the reply (TimeStampReq of RFC 3161, section 2.4.1, in DER).
func TimestampRequest(text []byte, nonce *big.Int) ([]byte, error) {
	sum := sha256.Sum256(text)
	req, err := asn1.Marshal(struct {
		Version  int
		Imprint  messageImprint
		Nonce    *big.Int
		WithCert bool
	}{1, messageImprint{pkix.AlgorithmIdentifier{Algorithm: oidSHA256, Parameters: asn1.NullRawValue}, sum[:]}, nonce, true})
	if err != nil {
		return nil, fmt.Errorf("ask for time stamp: %w", err)
	}
	return req, nil
}

// CheckTimestamp reads a reply (TimeStampResp of RFC 3161, section 2.4.2) and
// returns the time that it states of the text. It returns ErrTimestamp unless
// the reply is of that text, and, with a nonce, to that request. Who signed it
// is not looked at: whoever relies on it verifies it by the authority's
// certificate, as with openssl ts -verify.
func CheckTimestamp(reply, text []byte, nonce *big.Int) (time.Time, error) {
	fail := func(why string) (time.Time, error) { return time.Time{}, fmt.Errorf("%w: %s", ErrTimestamp, why) }
	var resp struct {
		Status struct{ Status int }
		Token  contentInfo `asn1:"optional"`
	}
	if rest, err := asn1.Unmarshal(reply, &resp); err != nil || len(rest) > 0 {
		return fail("it is no reply")
	}
	if resp.Status.Status != 0 && resp.Status.Status != 1 { // granted, with or without changes
		return fail(fmt.Sprintf("the authority refuses, with status %d", resp.Status.Status))
	}
	var signed struct {
		Version int
		Digests asn1.RawValue
		Content contentInfo
	}
	if !resp.Token.Type.Equal(oidSignedData) {
		return fail("it holds no token")
	}
	if _, err := asn1.Unmarshal(resp.Token.Content.Bytes, &signed); err != nil || !signed.Content.Type.Equal(oidTSTInfo) {
		return fail("its token states no time")
	}
	var info []byte
	if _, err := asn1.Unmarshal(signed.Content.Content.Bytes, &info); err != nil {
		return fail("its token states no time")
	}
	return statedTime(info, text, nonce)
}

// statedTime reads what a token states (TSTInfo of RFC 3161, section 2.4.2):
// version, policy, imprint, serial number, time, and then what is optional, of
// which the nonce alone is an integer.
func statedTime(info, text []byte, nonce *big.Int) (at time.Time, err error) {
	fail := func(why string) (time.Time, error) { return time.Time{}, fmt.Errorf("%w: %s", ErrTimestamp, why) }
	var all asn1.RawValue
	if _, err := asn1.Unmarshal(info, &all); err != nil || all.Tag != asn1.TagSequence {
		return fail("its token cannot be read")
	}
	var fields []asn1.RawValue
	for rest := all.Bytes; len(rest) > 0; {
		var f asn1.RawValue
		if rest, err = asn1.Unmarshal(rest, &f); err != nil {
			return fail("its token cannot be read")
		}
		fields = append(fields, f)
	}
	if len(fields) < 5 {
		return fail("its token cannot be read")
	}
	var imprint messageImprint
	sum := sha256.Sum256(text)
	if _, err := asn1.Unmarshal(fields[2].FullBytes, &imprint); err != nil || !imprint.Algorithm.Algorithm.Equal(oidSHA256) || !bytes.Equal(imprint.Digest, sum[:]) {
		return fail("it is of another text")
	}
	if _, err := asn1.Unmarshal(fields[4].FullBytes, &at); err != nil {
		return fail("its time cannot be read")
	}
	if nonce == nil {
		return at.UTC(), nil
	}
	for _, f := range fields[5:] {
		var n *big.Int
		if f.Class == asn1.ClassUniversal && f.Tag == asn1.TagInteger {
			if _, err := asn1.Unmarshal(f.FullBytes, &n); err == nil && n.Cmp(nonce) == 0 {
				return at.UTC(), nil
			}
		}
	}
	return fail("it is the reply to another request")
}

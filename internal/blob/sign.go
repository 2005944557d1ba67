package blob

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// pathPrefix starts the path of every signed URL.
const pathPrefix = "/s/"

// signer makes and checks signed URLs. The signature is
// base64url(HMAC-SHA256(key, "GET\n" object "\n" expiry "\n" key id)).
type signer struct {
	keys      []signingKey // the first one signs
	publicURL string
}

type signingKey struct {
	id     string
	secret []byte
}

func newSigner(cfg Config) (signer, error) {
	s := signer{publicURL: strings.TrimSuffix(cfg.PublicURL, "/")}
	for i, secret := range [][]byte{cfg.Key, cfg.PreviousKey} {
		if i > 0 && len(secret) == 0 {
			continue
		}
		if len(secret) < MinKeyBytes {
			return signer{}, fmt.Errorf("signing key has %d bytes; want %d or more", len(secret), MinKeyBytes)
		}
		s.keys = append(s.keys, signingKey{id: keyID(secret), secret: secret})
	}
	return s, nil
}

// keyID names a key without telling it.
func keyID(secret []byte) string {
	sum := hmac.New(sha256.New, secret)
	sum.Write([]byte("stillwatch key id"))
	return hex.EncodeToString(sum.Sum(nil)[:4])
}

func (k signingKey) sign(object string, exp int64) string {
	mac := hmac.New(sha256.New, k.secret)
	fmt.Fprintf(mac, "GET\n%s\n%d\n%s", object, exp, k.id)
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// target is the one and only spelling of a signed URL's path and query.
func (k signingKey) target(object string, exp int64) string {
	return fmt.Sprintf("%s%s?exp=%d&kid=%s&sig=%s", pathPrefix, escapeKey(object), exp, k.id, k.sign(object, exp))
}

func escapeKey(key string) string {
	parts := strings.Split(key, "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return strings.Join(parts, "/")
}

// SignGet returns a URL that gives the object to whoever holds it until
// expires (in whole seconds), by GET or HEAD. The object need not exist yet.
func (s *Store) SignGet(key string, expires time.Time) string {
	return s.signer.publicURL + s.signer.keys[0].target(key, expires.Unix())
}

// verify returns the object that a request's path and query open. Both are
// compared whole, as they came, with the one spelling that SignGet makes:
// another encoding of the same path does not pass.
func (s signer) verify(escapedPath, rawQuery string, now time.Time) (object string, ok bool) {
	rest, found := strings.CutPrefix(escapedPath, pathPrefix)
	if !found || len(escapedPath)+len(rawQuery) > 4*maxKey {
		return "", false
	}
	object, err := url.PathUnescape(rest)
	if err != nil || CheckKey(object) != nil {
		return "", false
	}
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return "", false
	}
	exp, err := strconv.ParseInt(query.Get("exp"), 10, 64)
	if err != nil {
		return "", false
	}
	got := []byte(escapedPath + "?" + rawQuery)
	match := 0
	for _, k := range s.keys {
		match |= subtle.ConstantTimeCompare(got, []byte(k.target(object, exp)))
	}
	return object, match == 1 && now.Unix() < exp
}

// Package blob stores objects (stills, evidence, recordings) in a folder or
// in an S3 bucket, and serves them only to whom a signed URL was given.
package blob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"strings"
	"time"
	"unicode/utf8"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
)

// Config says where objects are and how their URLs are signed.
type Config struct {
	// URL is file:///dir, mem:// (tests), or
	// s3://bucket?region=...&endpoint=http://host:port&path_style=true.
	// S3 credentials come from AccessKey and SecretKey, else from where
	// AWS's own tools look for them.
	URL       string
	AccessKey string
	SecretKey string
	// Key signs URLs; at least 16 bytes.
	Key []byte
	// PreviousKey, if set, still verifies: a rotation keeps the URLs that
	// are out alive.
	PreviousKey []byte
	// PublicURL is put before "/s/" in signed URLs, without a slash behind.
	PublicURL string
	// Now is the clock for expiry; nil means time.Now.
	Now func() time.Time
}

// MinKeyBytes is the least length of a signing key.
const MinKeyBytes = 16

// ErrNotFound is returned for an object that is not there.
var ErrNotFound = errors.New("no such object")

// ErrBadKey is returned for an object key that no store should see.
var ErrBadKey = errors.New("bad object key")

// Store holds objects. It is safe for concurrent use.
type Store struct {
	bucket *blob.Bucket
	dir    string // of a store in a folder
	kind   string // of an external storage
	s3     *s3Bucket
	http   *http.Client // of a store that has a client of its own
	signer signer
	now    func() time.Time
	// elsewhere finds the store of objects that are not in this one.
	elsewhere Elsewhere
}

// Open opens the store that cfg names; a folder is made if it is missing.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	signer, err := newSigner(cfg)
	if err != nil {
		return nil, fmt.Errorf("open object store: %w", err)
	}
	s := &Store{signer: signer, now: cfg.Now}
	if err := s.open(ctx, cfg); err != nil {
		return nil, fmt.Errorf("open object store: %w", err)
	}
	s.s3 = s3Of(s.bucket, cfg.URL)
	if s.now == nil {
		s.now = time.Now
	}
	return s, nil
}

// Close releases the store, and the connections that nothing uses any more.
func (s *Store) Close() error {
	err := s.bucket.Close()
	if s.http != nil {
		s.http.CloseIdleConnections()
	}
	return err
}

// Put stores body under key at once: a reader sees the old object or the new
// one, never a part. An empty contentType is made from the key's extension.
func (s *Store) Put(ctx context.Context, key string, body []byte, contentType string) error {
	if err := CheckKey(key); err != nil {
		return err
	}
	if contentType == "" {
		contentType = contentTypeOf(key)
	}
	if s.dir != "" && plain(key) {
		if err := s.putFile(ctx, key, bytes.NewReader(body), false); !errors.Is(err, errNoUnnamed) {
			return err
		}
	}
	opts := &blob.WriterOptions{ContentType: contentType, MaxConcurrency: 1}
	if s.kind == KindAzure {
		return s.upload(ctx, key, bytes.NewReader(body), opts)
	}
	if err := s.bucket.WriteAll(ctx, key, body, opts); err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	return nil
}

// PutFrom stores what r yields under key, in parts of bounded memory: for
// objects too large to hold whole. When it fails, no object appears.
func (s *Store) PutFrom(ctx context.Context, key string, r io.Reader, contentType string) error {
	if err := CheckKey(key); err != nil {
		return err
	}
	if contentType == "" {
		contentType = contentTypeOf(key)
	}
	if s.kind == KindAzure {
		return s.upload(ctx, key, r, &blob.WriterOptions{ContentType: contentType})
	}
	if s.dir != "" && plain(key) {
		if err := s.putFile(ctx, key, r, true); !errors.Is(err, errNoUnnamed) {
			return err
		}
	}
	// Ending the context before Close is how a write is given up; the
	// library's own Upload keeps what came before a read error.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w, err := s.bucket.NewWriter(ctx, key, &blob.WriterOptions{ContentType: contentType})
	if err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	if _, err := io.Copy(w, r); err != nil {
		cancel()
		_ = w.Close()
		return fmt.Errorf("put %s: %w", key, err)
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	return nil
}

// upload is the other way to write, for Azure: what the library does when
// Write fails there dereferences nil in a goroutine's race (gocloud.dev
// v0.47.0, azureblob.go, writer.open and Close) and would end the program. A
// reader's error leaves no object there: blocks are not committed.
func (s *Store) upload(ctx context.Context, key string, r io.Reader, opts *blob.WriterOptions) error {
	if err := s.bucket.Upload(ctx, key, r, opts); err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	return nil
}

// Get returns the object's bytes, or ErrNotFound.
func (s *Store) Get(ctx context.Context, key string) ([]byte, error) {
	if err := CheckKey(key); err != nil {
		return nil, err
	}
	body, err := s.bucket.ReadAll(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", key, notFound(err))
	}
	return body, nil
}

// Exists tells whether the object is there.
func (s *Store) Exists(ctx context.Context, key string) (bool, error) {
	if err := CheckKey(key); err != nil {
		return false, err
	}
	ok, err := s.bucket.Exists(ctx, key)
	if err != nil {
		return false, fmt.Errorf("look for %s: %w", key, err)
	}
	return ok, nil
}

// Delete removes the object. That it is gone already is no error.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := CheckKey(key); err != nil {
		return err
	}
	if err := s.bucket.Delete(ctx, key); err != nil && gcerrors.Code(err) != gcerrors.NotFound {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	return nil
}

// Ready tells whether the store can be reached.
func (s *Store) Ready(ctx context.Context) error {
	ok, err := s.bucket.IsAccessible(ctx)
	if err != nil {
		return fmt.Errorf("reach object store: %w", err)
	}
	if !ok {
		return errors.New("reach object store: no such bucket or folder")
	}
	return nil
}

func notFound(err error) error {
	if gcerrors.Code(err) == gcerrors.NotFound {
		return ErrNotFound
	}
	return err
}

// maxKey is the longest key, in bytes; S3's own limit is 1024.
const maxKey = 512

// CheckKey returns ErrBadKey unless key is a clean relative path: parts
// joined by "/", none empty, "." or "..", valid UTF-8 without control
// characters or backslashes, at most 512 bytes.
func CheckKey(key string) error {
	bad := func(r rune) bool { return r < 0x20 || r == 0x7f || r == '\\' }
	if key == "" || len(key) > maxKey || key[0] == '/' || key == "." || key == ".." ||
		path.Clean(key) != key || strings.HasPrefix(key, "../") ||
		!utf8.ValidString(key) || strings.ContainsFunc(key, bad) {
		return fmt.Errorf("%w: %.80q", ErrBadKey, key)
	}
	return nil
}

// Key joins parts to a key. Whatever stands in a part from outside (a user
// id, say) stays in that part: bytes other than letters, digits and "-_.:@"
// are written as "=" and two hex digits, and so is a leading dot.
func Key(parts ...string) string {
	var b strings.Builder
	for i, part := range parts {
		if i > 0 {
			b.WriteByte('/')
		}
		for j := range len(part) {
			c := part[j]
			switch {
			case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9',
				strings.IndexByte("-_:@", c) >= 0, c == '.' && j > 0:
				b.WriteByte(c)
			default:
				fmt.Fprintf(&b, "=%02X", c)
			}
		}
		if part == "" {
			b.WriteString("=")
		}
	}
	return b.String()
}

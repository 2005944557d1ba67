package blob

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"gocloud.dev/blob"
)

// Kinds of external storage.
const (
	KindS3    = "s3"
	KindGCS   = "gcs"
	KindAzure = "abs"
)

// MaxPresign is the longest life of a link that a storage signs: the limit of
// S3's and of Google's signatures (version 4 of both), seven days.
const MaxPresign = 7 * 24 * time.Hour

// External is a bucket of somebody else's.
type External struct {
	// Kind is KindS3, KindGCS or KindAzure.
	Kind string
	// Bucket is the container of KindAzure.
	Bucket string
	// Path goes before every key; "" for none.
	Path string

	// Region, and AccessKey with SecretKey, are for S3. Without a key the
	// machine's own role is used. Endpoint is "" for Amazon's own; an S3
	// server elsewhere is addressed by path and needs a key.
	Region, AccessKey, SecretKey, Endpoint string

	// GoogleCredentials is a service account's key as JSON.
	GoogleCredentials string

	// AzureAccount is needed, and AzureKey or the other three.
	// AzureEndpoint is "" for https://<account>.blob.core.windows.net.
	AzureAccount, AzureKey                  string
	AzureTenant, AzureClientID, AzureSecret string
	AzureEndpoint                           string

	// HTTP sends every request to the storage: netguard's client.
	HTTP *http.Client
}

// FieldError says which field of an External cannot be used, by its name in
// the API, and what it should be.
type FieldError struct{ Field, Want string }

// Error implements error.
func (e *FieldError) Error() string { return e.Field + " " + e.Want }

var (
	s3BucketRE    = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	gcsBucketRE   = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$`)
	azureBucketRE = regexp.MustCompile(`^(\$root|[a-z0-9][a-z0-9-]{1,61}[a-z0-9])$`)
	accountRE     = regexp.MustCompile(`^[a-z0-9]{3,24}$`)
	regionRE      = regexp.MustCompile(`^[a-z0-9-]{1,64}$`)
	tenantRE      = regexp.MustCompile(`^[A-Za-z0-9.-]{1,100}$`)
)

// Check returns a *FieldError for the first field that cannot be used. It
// asks nobody.
func (e External) Check() error {
	if p := strings.TrimSuffix(e.Path, "/"); p != "" && (CheckKey(p) != nil || len(p) > maxKey-256) {
		return &FieldError{"path", "must be a relative path such as frames/"}
	}
	switch e.Kind {
	case KindS3:
		return e.checkS3()
	case KindGCS:
		return e.checkGCS()
	case KindAzure:
		return e.checkAzure()
	default:
		return &FieldError{"storage_type", "must be s3, gcs or abs"}
	}
}

// OpenExternal opens a bucket of somebody else's. Nothing is asked of it yet.
// The store signs links by Presign, not by SignGet.
func OpenExternal(ctx context.Context, e External) (*Store, error) {
	if err := e.Check(); err != nil {
		return nil, fmt.Errorf("open external storage: %w", err)
	}
	if e.HTTP == nil {
		return nil, errors.New("open external storage: no client")
	}
	open := map[string]func(context.Context) (*blob.Bucket, error){
		KindS3: e.openS3, KindGCS: e.openGCS, KindAzure: e.openAzure,
	}[e.Kind]
	bucket, err := open(ctx)
	if err != nil {
		return nil, fmt.Errorf("open external storage: %w", err)
	}
	if p := strings.TrimSuffix(e.Path, "/"); p != "" {
		bucket = blob.PrefixedBucket(bucket, p+"/")
	}
	s := &Store{bucket: bucket, now: time.Now, kind: e.Kind}
	var client *s3.Client
	if e.Kind == KindS3 && bucket.As(&client) {
		prefix := strings.TrimSuffix(e.Path, "/")
		if prefix != "" {
			prefix += "/"
		}
		s.s3 = &s3Bucket{client, e.Bucket, prefix}
	}
	return s, nil
}

// ErrNoPresign is returned by Presign where the storage or its credentials
// cannot sign links.
var ErrNoPresign = errors.New("this storage signs no links")

// Presign returns a link of the storage itself that gives the object to
// whoever holds it until expires, or for seven days if that is sooner.
func (s *Store) Presign(ctx context.Context, key string, expires time.Time) (string, error) {
	if err := CheckKey(key); err != nil {
		return "", err
	}
	life := min(expires.Sub(s.now()), MaxPresign)
	if s.kind == "" || life < time.Second {
		return "", fmt.Errorf("sign link for %s: %w", key, ErrNoPresign)
	}
	opts := &blob.SignedURLOptions{Method: http.MethodGet, Expiry: life}
	if s.kind == KindGCS {
		opts.BeforeSign = newestGCSSignature
	}
	link, err := s.bucket.SignedURL(ctx, key, opts)
	if err != nil {
		return "", fmt.Errorf("sign link for %s: %w", key, err)
	}
	return link, nil
}

package blob

import (
	"context"
	"encoding/json"
	"fmt"

	"cloud.google.com/go/storage"
	"gocloud.dev/blob"
	"gocloud.dev/blob/gcsblob"
	"gocloud.dev/gcp"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
	"google.golang.org/api/option"
)

// gcsEndpoint is where the JSON API is; "" is Google's own. Tests set it.
type gcsEndpointKey struct{}

func (e External) checkGCS() error {
	if !gcsBucketRE.MatchString(e.Bucket) {
		return &FieldError{"bucket", "must be a bucket's name: 3 to 222 of a-z 0-9 . _ -"}
	}
	_, err := e.serviceAccount()
	return err
}

// serviceAccount reads the credentials. Other kinds than a service account's
// key name files, commands and addresses to take a token from, which is not
// for a request from outside to say.
func (e External) serviceAccount() (key struct {
	Type        string `json:"type"`
	ClientEmail string `json:"client_email"`
	PrivateKey  string `json:"private_key"`
}, err error,
) {
	bad := &FieldError{"gcs_credentials", "must be a service account's key as JSON text"}
	if json.Unmarshal([]byte(e.GoogleCredentials), &key) != nil || key.Type != "service_account" || key.ClientEmail == "" || key.PrivateKey == "" {
		return key, bad
	}
	if _, err := google.JWTConfigFromJSON([]byte(e.GoogleCredentials)); err != nil {
		return key, bad
	}
	return key, nil
}

func (e External) openGCS(ctx context.Context) (*blob.Bucket, error) {
	account, err := e.serviceAccount()
	if err != nil {
		return nil, err
	}
	jwt, err := google.JWTConfigFromJSON([]byte(e.GoogleCredentials), storage.ScopeReadWrite)
	if err != nil {
		return nil, &FieldError{"gcs_credentials", "must be a service account's key as JSON text"}
	}
	// The address that gives tokens stands in the credentials as well.
	tokens := jwt.TokenSource(context.WithValue(context.WithoutCancel(ctx), oauth2.HTTPClient, e.HTTP))
	authorized, err := gcp.NewHTTPClient(e.HTTP.Transport, tokens)
	if err != nil {
		return nil, fmt.Errorf("read credentials: %w", err)
	}
	authorized.CheckRedirect = e.HTTP.CheckRedirect
	// The client brings its tokens itself. Unless it is told that there is
	// nothing to look for, the library looks for the machine's own credentials:
	// in files, and by asking the cloud's metadata service past netguard.
	opts := []option.ClientOption{
		option.WithHTTPClient(&authorized.Client), option.WithoutAuthentication(),
		option.WithEndpoint("https://storage.googleapis.com/storage/v1/"),
	}
	if at, ok := ctx.Value(gcsEndpointKey{}).(string); ok {
		opts = append(opts, option.WithEndpoint(at))
	}
	client, err := storage.NewClient(ctx, opts...)
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	client.SetRetry(storage.WithPolicy(storage.RetryNever)) // who puts tries again
	bucket, err := gcsblob.OpenBucket(ctx, nil, e.Bucket, &gcsblob.Options{
		Client: client, GoogleAccessID: account.ClientEmail, PrivateKey: []byte(account.PrivateKey),
	})
	return bucket, err
}

// newestGCSSignature makes the link's signature version 4: version 2 has no
// limit of its life.
func newestGCSSignature(as func(any) bool) error {
	var opts *storage.SignedURLOptions
	if as(&opts) {
		opts.Scheme = storage.SigningSchemeV4
	}
	return nil
}

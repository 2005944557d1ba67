package blob

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"path"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"
	"gocloud.dev/blob/memblob"
	"gocloud.dev/blob/s3blob"
)

// open opens what cfg.URL names.
func (s *Store) open(ctx context.Context, cfg Config) error {
	u, err := url.Parse(cfg.URL)
	if err != nil {
		return fmt.Errorf("read address: %w", err)
	}
	switch u.Scheme {
	case "file":
		s.bucket, s.dir, err = openFolder(u)
	case "mem":
		s.bucket = memblob.OpenBucket(nil)
	case "s3":
		err = s.openS3(ctx, u, cfg)
	default:
		return fmt.Errorf("unknown scheme %q; want file or s3", u.Scheme)
	}
	return err
}

// openFolder writes a temporary file beside the object and renames it, which
// is atomic, and keeps no metadata file beside each object.
func openFolder(u *url.URL) (bucket *blob.Bucket, dir string, err error) {
	dir = u.Path
	if u.Host != "" {
		dir = path.Join(u.Host, u.Path) // file://relative/dir
	}
	if dir == "" || dir == "/" {
		return nil, "", errors.New("file:// names no folder")
	}
	bucket, err = fileblob.OpenBucket(dir, &fileblob.Options{
		CreateDir: true, NoTempDir: true, Metadata: fileblob.MetadataDontWrite,
		DirFileMode: 0o700,
	})
	return bucket, dir, err
}

func (s *Store) openS3(ctx context.Context, u *url.URL, cfg Config) error {
	if u.Host == "" {
		return errors.New("s3:// names no bucket")
	}
	q := u.Query()
	var opts []func(*awsconfig.LoadOptions) error
	if region := q.Get("region"); region != "" {
		opts = append(opts, awsconfig.WithRegion(region))
	}
	if cfg.AccessKey != "" {
		opts = append(opts, awsconfig.WithCredentialsProvider(
			credentials.NewStaticCredentialsProvider(cfg.AccessKey, cfg.SecretKey, "")))
	}
	awsCfg, err := awsconfig.LoadDefaultConfig(ctx, opts...)
	if err != nil {
		return fmt.Errorf("load S3 configuration: %w", err)
	}
	// The library's own client keeps its connections to itself; this one has
	// its transport, and can be told to hang up.
	s.http = &http.Client{Transport: awshttp.NewBuildableClient().GetTransport(), CheckRedirect: sameMethod}
	client := s3.NewFromConfig(awsCfg, func(o *s3.Options) {
		o.HTTPClient = s.http
		if endpoint := q.Get("endpoint"); endpoint != "" {
			o.BaseEndpoint = aws.String(endpoint)
		}
		o.UsePathStyle = q.Get("path_style") == "true"
		// S3-compatible servers do not all know the newer checksums.
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
	})
	if s.bucket, err = s3blob.OpenBucket(ctx, client, u.Host, nil); err != nil {
		return err
	}
	if prefix := u.Path; len(prefix) > 1 {
		s.bucket = blob.PrefixedBucket(s.bucket, prefix[1:]+"/")
	}
	return nil
}

// sameMethod follows the redirects that keep the method, as the library's own
// client does: S3 sends 307 while a new bucket's name is not known everywhere.
// The others are answers: they name no place where the same can be asked.
func sameMethod(r *http.Request, via []*http.Request) error {
	kept := r.Response.StatusCode == http.StatusTemporaryRedirect || r.Response.StatusCode == http.StatusPermanentRedirect
	if !kept || len(via) >= maxRedirects {
		return http.ErrUseLastResponse
	}
	if r.URL.Host != via[len(via)-1].URL.Host {
		r.Header.Del("X-Amz-Security-Token") // net/http does so with Authorization
	}
	return nil
}

// maxRedirects is net/http's own bound.
const maxRedirects = 10

// contentTypes are those of the objects we write; the system's own table
// differs from machine to machine.
var contentTypes = map[string]string{
	".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".webp": "image/webp",
	".json": "application/json", ".mp4": "video/mp4", ".webm": "video/webm", ".mkv": "video/x-matroska",
	".mp3": "audio/mpeg", ".txt": "text/plain; charset=utf-8", ".md": "text/plain; charset=utf-8",
	".zip": "application/zip", ".bin": "application/octet-stream",
}

// contentTypeOf goes by the extension: what a folder holds has no other
// mark, and sniffing lets an uploader choose.
func contentTypeOf(key string) string {
	ext := path.Ext(key)
	if t, ok := contentTypes[ext]; ok {
		return t
	}
	if t := mime.TypeByExtension(ext); t != "" && !activeType(t) {
		return t
	}
	return "application/octet-stream"
}

// activeType tells whether a browser would run what it gets.
func activeType(t string) bool {
	base, _, _ := mime.ParseMediaType(t)
	switch base {
	case "text/html", "application/xhtml+xml", "image/svg+xml", "text/xml", "application/xml",
		"text/javascript", "application/javascript", "application/pdf", "text/css":
		return true
	}
	return false
}

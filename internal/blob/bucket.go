package blob

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/url"
	"path"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"
	"gocloud.dev/blob/memblob"
	"gocloud.dev/blob/s3blob"
)

// openBucket opens what cfg.URL names; dir is set for a folder.
func openBucket(ctx context.Context, cfg Config) (bucket *blob.Bucket, dir string, err error) {
	u, err := url.Parse(cfg.URL)
	if err != nil {
		return nil, "", fmt.Errorf("read address: %w", err)
	}
	switch u.Scheme {
	case "file":
		return openFolder(u)
	case "mem":
		return memblob.OpenBucket(nil), "", nil
	case "s3":
		bucket, err = openS3(ctx, u, cfg)
		return bucket, "", err
	default:
		return nil, "", fmt.Errorf("unknown scheme %q; want file or s3", u.Scheme)
	}
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

func openS3(ctx context.Context, u *url.URL, cfg Config) (*blob.Bucket, error) {
	if u.Host == "" {
		return nil, errors.New("s3:// names no bucket")
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
		return nil, fmt.Errorf("load S3 configuration: %w", err)
	}
	client := s3.NewFromConfig(awsCfg, func(o *s3.Options) {
		if endpoint := q.Get("endpoint"); endpoint != "" {
			o.BaseEndpoint = aws.String(endpoint)
		}
		o.UsePathStyle = q.Get("path_style") == "true"
		// S3-compatible servers do not all know the newer checksums.
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
	})
	bucket, err := s3blob.OpenBucket(ctx, client, u.Host, nil)
	if err != nil {
		return nil, err
	}
	if prefix := u.Path; len(prefix) > 1 {
		bucket = blob.PrefixedBucket(bucket, prefix[1:]+"/")
	}
	return bucket, nil
}

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

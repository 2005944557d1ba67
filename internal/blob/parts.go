package blob

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"gocloud.dev/blob"
)

// Limits of an upload in parts (S3's own).
const (
	MinPart  = 5 << 20 // bytes, all but the last
	MaxParts = 10_000
)

// ErrNoUpload is returned for an upload in parts that the store does not know:
// it was finished, given up, or tidied away.
var ErrNoUpload = errors.New("no such upload in parts")

// s3Bucket is the bucket beneath a store.
type s3Bucket struct {
	client *s3.Client
	name   string
	prefix string
}

func s3Of(b *blob.Bucket, address string) *s3Bucket {
	var client *s3.Client
	u, err := url.Parse(address)
	if err != nil || !b.As(&client) {
		return nil
	}
	prefix := strings.TrimPrefix(u.Path, "/")
	if prefix != "" {
		prefix += "/"
	}
	return &s3Bucket{client, u.Host, prefix}
}

// Part is one part of an upload.
type Part struct {
	N    int // from 1
	Size int64
	// MD5 is what the store says its content's is, in hexadecimal digits.
	MD5 string
}

// Parts uploads one object in parts, over several lives of this program: what
// is there of it stays until it is finished or abandoned.
type Parts struct {
	s3  *s3Bucket
	key string
}

// Parts returns how to upload an object in parts; nil where the store cannot.
func (s *Store) Parts(key string) (*Parts, error) {
	if err := CheckKey(key); err != nil {
		return nil, err
	}
	if s.s3 == nil {
		return nil, nil
	}
	return &Parts{s.s3, s.s3.prefix + key}, nil
}

// Begin begins an upload and returns its id.
func (p *Parts) Begin(ctx context.Context, contentType string) (id string, err error) {
	if contentType == "" {
		contentType = contentTypeOf(p.key)
	}
	out, err := p.s3.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{
		Bucket: &p.s3.name, Key: &p.key, ContentType: &contentType,
	})
	if err != nil {
		return "", fmt.Errorf("begin parts of %s: %w", p.key, err)
	}
	return aws.ToString(out.UploadId), nil
}

// List returns the parts that are there, or ErrNoUpload.
func (p *Parts) List(ctx context.Context, id string) (parts []Part, err error) {
	pages := s3.NewListPartsPaginator(p.s3.client, &s3.ListPartsInput{Bucket: &p.s3.name, Key: &p.key, UploadId: &id})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list parts of %s: %w", p.key, noUpload(err))
		}
		for _, part := range page.Parts {
			parts = append(parts, Part{int(aws.ToInt32(part.PartNumber)), aws.ToInt64(part.Size), unquote(part.ETag)})
		}
	}
	return parts, nil
}

// Put uploads one part.
func (p *Parts) Put(ctx context.Context, id string, n int, body []byte) (Part, error) {
	out, err := p.s3.client.UploadPart(ctx, &s3.UploadPartInput{
		Bucket: &p.s3.name, Key: &p.key, UploadId: &id, PartNumber: aws.Int32(int32(n)), Body: bytes.NewReader(body), ContentLength: aws.Int64(int64(len(body))),
	})
	if err != nil {
		return Part{}, fmt.Errorf("put part %d of %s: %w", n, p.key, noUpload(err))
	}
	return Part{n, int64(len(body)), unquote(out.ETag)}, nil
}

// Finish makes the object of its parts, which have to be all, in order.
func (p *Parts) Finish(ctx context.Context, id string, parts []Part) error {
	done := make([]types.CompletedPart, 0, len(parts))
	for _, part := range parts {
		done = append(done, types.CompletedPart{PartNumber: aws.Int32(int32(part.N)), ETag: aws.String(`"` + part.MD5 + `"`)})
	}
	_, err := p.s3.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: &p.s3.name, Key: &p.key, UploadId: &id, MultipartUpload: &types.CompletedMultipartUpload{Parts: done},
	})
	if err != nil {
		return fmt.Errorf("finish parts of %s: %w", p.key, noUpload(err))
	}
	return nil
}

// Abandon removes what is there of an upload. That there is none is no error.
func (p *Parts) Abandon(ctx context.Context, id string) error {
	_, err := p.s3.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &p.s3.name, Key: &p.key, UploadId: &id})
	if err = noUpload(err); err != nil && !errors.Is(err, ErrNoUpload) {
		return fmt.Errorf("abandon parts of %s: %w", p.key, err)
	}
	return nil
}

func noUpload(err error) error {
	var api interface{ ErrorCode() string }
	if errors.As(err, &api) && api.ErrorCode() == "NoSuchUpload" {
		return ErrNoUpload
	}
	return err
}

// unquote takes an entity tag for an MD5, which it is of a part without
// encryption by a key of the customer's. Of others, "" is no MD5 of anything.
func unquote(tag *string) string {
	md5 := strings.Trim(aws.ToString(tag), `"`)
	if _, err := hex.DecodeString(md5); err != nil {
		return aws.ToString(tag)
	}
	return md5
}

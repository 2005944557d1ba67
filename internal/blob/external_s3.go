package blob

import (
	"context"
	"fmt"
	"net/url"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"gocloud.dev/blob"
	"gocloud.dev/blob/s3blob"
)

func (e External) checkS3() error {
	switch {
	case !s3BucketRE.MatchString(e.Bucket):
		return &FieldError{"bucket", "must be a bucket's name: 3 to 63 of a-z 0-9 . -"}
	case e.Endpoint == "" && !regionRE.MatchString(e.Region), e.Region != "" && !regionRE.MatchString(e.Region):
		return &FieldError{"aws_s3.s3_region", "must be a region such as eu-central-1"}
	case e.AccessKey == "" && e.SecretKey != "":
		return &FieldError{"aws_s3.s3_api_key", "is required with a secret"}
	case e.AccessKey != "" && e.SecretKey == "":
		return &FieldError{"aws_s3.s3_secret", "is required with this key"}
	case e.Endpoint != "" && !isHTTP(e.Endpoint):
		return &FieldError{"aws_s3.s3_custom_endpoint_url", "must be an https URL"}
	case e.Endpoint != "" && e.AccessKey == "":
		// The machine's role is not shown to whoever an address belongs to.
		return &FieldError{"aws_s3.s3_api_key", "is required with an own endpoint"}
	}
	return nil
}

func isHTTP(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Hostname() != "" && u.User == nil &&
		u.RawQuery == "" && u.Fragment == ""
}

func (e External) openS3(ctx context.Context) (*blob.Bucket, error) {
	cfg := aws.Config{Region: e.Region}
	if e.AccessKey != "" {
		cfg.Credentials = credentials.NewStaticCredentialsProvider(e.AccessKey, e.SecretKey, "")
	} else {
		var err error
		if cfg, err = awsconfig.LoadDefaultConfig(ctx, awsconfig.WithRegion(e.Region)); err != nil {
			return nil, fmt.Errorf("load the machine's role: %w", err)
		}
	}
	client := s3.NewFromConfig(cfg, func(o *s3.Options) {
		o.HTTPClient = e.HTTP
		o.RetryMaxAttempts = 1 // who puts tries again, and knows how long it may take
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		if e.Endpoint != "" {
			o.BaseEndpoint = aws.String(e.Endpoint)
			o.UsePathStyle = true
			if o.Region == "" {
				o.Region = "us-east-1" // what servers without regions go by
			}
		}
	})
	return s3blob.OpenBucket(ctx, client, e.Bucket, nil)
}

// Package awsqueue holds what SQS and SNS have in common: who signs, how a
// body becomes text, and what their errors mean.
package awsqueue

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// Ways to sign.
const (
	// AuthKeys signs with the hook's key and secret.
	AuthKeys = "keys"
	// AuthResource signs as the machine: environment, profile, instance role.
	AuthResource = "resource"
	// AuthRole assumes a role, with the hook's key if it has one, else as the
	// machine.
	AuthRole = "role"
)

// sessionName is what an assumed role's sessions are called in the account's
// logs.
const sessionName = "stillwatch"

// Auth is who signs. An empty Type means AuthKeys where there is a key, else
// AuthResource. It is comparable.
type Auth struct{ Type, Key, Secret, RoleARN string }

// kind is the way to sign.
func (a Auth) kind() string {
	switch {
	case a.Type != "":
		return a.Type
	case a.Key != "":
		return AuthKeys
	}
	return AuthResource
}

// Client makes signing clients.
type Client struct {
	// HTTP sends every request to the services; a peer.Out is the one to
	// use.
	HTTP aws.HTTPClient
	// STSEndpoint is where roles are assumed; "" is the region's own.
	STSEndpoint string
}

// Config returns the settings of a service's client. One request is one
// attempt: the caller has a schedule of its own. Nothing is asked before the
// first request.
func (c Client) Config(ctx context.Context, auth Auth, region string) (aws.Config, error) {
	cfg := aws.Config{
		Region: region, HTTPClient: c.HTTP, AppID: "stillwatch",
		Retryer: func() aws.Retryer { return aws.NopRetryer{} },
	}
	switch auth.kind() {
	case AuthKeys:
		cfg.Credentials = credentials.NewStaticCredentialsProvider(auth.Key, auth.Secret, "")
	case AuthResource:
		own, err := machine(ctx, region)
		if err != nil {
			return cfg, err
		}
		cfg.Credentials = own
	case AuthRole:
		if err := c.assume(ctx, auth, &cfg); err != nil {
			return cfg, err
		}
	default:
		return cfg, fmt.Errorf("way to sign %q is not known", auth.Type)
	}
	return cfg, nil
}

// machine is the default chain. It asks addresses that no user chooses, such
// as the instance's metadata service, which the guarded client would refuse.
func machine(ctx context.Context, region string) (aws.CredentialsProvider, error) {
	own, err := config.LoadDefaultConfig(ctx, config.WithRegion(region))
	if err != nil {
		return nil, fmt.Errorf("read the machine's own credentials: %w", err)
	}
	return own.Credentials, nil
}

func (c Client) assume(ctx context.Context, auth Auth, cfg *aws.Config) error {
	base := cfg.Copy()
	if auth.Key != "" {
		base.Credentials = credentials.NewStaticCredentialsProvider(auth.Key, auth.Secret, "")
	} else {
		own, err := machine(ctx, cfg.Region)
		if err != nil {
			return err
		}
		base.Credentials = own
	}
	tokens := sts.NewFromConfig(base, func(o *sts.Options) {
		if c.STSEndpoint != "" {
			o.BaseEndpoint = aws.String(c.STSEndpoint)
		}
	})
	role := stscreds.NewAssumeRoleProvider(tokens, auth.RoleARN, func(o *stscreds.AssumeRoleOptions) { o.RoleSessionName = sessionName })
	cfg.Credentials = aws.NewCredentialsCache(role)
	return nil
}

// Text is a body as a message holds it: JSON as it is, or base64 of its gzip
// (RFC 1952) where that is asked for or where the service does not take a
// character of it. A reader tells the two apart by the first byte: base64 has
// no "{".
func Text(body []byte, compress bool) (string, error) {
	if !compress && plain(body) {
		return string(body), nil
	}
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	if _, err := zip.Write(body); err != nil {
		return "", fmt.Errorf("compress body: %w", err)
	}
	if err := zip.Close(); err != nil {
		return "", fmt.Errorf("compress body: %w", err)
	}
	return base64.StdEncoding.EncodeToString(out.Bytes()), nil
}

// plain tells whether SQS takes the text: #x9, #xA, #xD, #x20 to #xD7FF,
// #xE000 to #xFFFD and #x10000 to #x10FFFF (API reference, SendMessage).
func plain(body []byte) bool {
	return utf8.Valid(body) && !bytes.ContainsFunc(body, func(r rune) bool {
		return (r < 0x20 && r != '\t' && r != '\n' && r != '\r') || r == 0xFFFE || r == 0xFFFF
	})
}

// maxGroup is the longest message group id.
const maxGroup = 128

// Group is the group of a FIFO queue or topic that the events of a key belong
// to: one for each call. Characters that a group may not have become "_";
// what is too long is cut, which puts two calls in one group at worst.
func Group(key string) string {
	cid, _, _ := strings.Cut(key, "/")
	if cid == "" {
		return "-"
	}
	g := strings.Map(func(r rune) rune {
		if r > ' ' && r < 0x7F {
			return r
		}
		return '_'
	}, cid)
	return g[:min(len(g), maxGroup)]
}

// FIFO tells whether the queue or topic of that URL, name or ARN keeps order.
func FIFO(name string) bool { return strings.HasSuffix(name, ".fifo") }

// Names of the message attributes that stand beside a body.
const (
	AttributeID      = "event_id"
	AttributeType    = "event_type"
	AttributeAttempt = "attempt"
)

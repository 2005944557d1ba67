package blob

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"stillwatch/internal/netguard"
	"stillwatch/internal/testkit"
)

// guarded is the client by which the program reaches storages, with this
// machine allowed.
func guarded(t *testing.T) *http.Client {
	t.Helper()
	c := netguard.New(netguard.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	t.Cleanup(func() { _ = c.Close() })
	return c.HTTPClient()
}

func openExternal(t *testing.T, ctx context.Context, e External) *Store {
	t.Helper()
	if e.HTTP == nil {
		e.HTTP = guarded(t)
	}
	s, err := OpenExternal(ctx, e)
	noErr(t, err)
	// Serving is the default store's; with a key, the suite can try it here.
	s.signer, err = newSigner(Config{Key: testKey})
	noErr(t, err)
	t.Cleanup(func() { noErr(t, s.Close()) })
	return s
}

func externalS3(t *testing.T) External {
	s := testkit.MinIO(t)
	return External{Kind: KindS3, Bucket: s.Bucket, AccessKey: s.AccessKey, SecretKey: s.SecretKey, Endpoint: s.Endpoint}
}

func externalAzure(t *testing.T) External {
	a := testkit.Azurite(t, func(a testkit.AzureBlobs) error {
		e := External{AzureAccount: a.Account, AzureKey: a.Key}
		c, err := e.azureClient(a.Endpoint+"/"+a.Container, azcore.ClientOptions{Transport: guarded(t), Retry: policy.RetryOptions{MaxRetries: -1}})
		if err == nil {
			_, err = c.Create(t.Context(), nil)
		}
		return err
	})
	return External{Kind: KindAzure, Bucket: a.Container, AzureAccount: a.Account, AzureKey: a.Key, AzureEndpoint: a.Endpoint}
}

func TestExternalStoragesConform(t *testing.T) {
	t.Parallel()
	kinds := map[string]func(t *testing.T) (context.Context, External){
		"s3":    func(t *testing.T) (context.Context, External) { return t.Context(), externalS3(t) },
		"azure": func(t *testing.T) (context.Context, External) { return t.Context(), externalAzure(t) },
		"gcs":   func(t *testing.T) (context.Context, External) { return newFakeGCS(t).external() },
	}
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, e := kind(t)
			for name, test := range suite {
				t.Run(name, func(t *testing.T) { test(t, openExternal(t, ctx, e)) })
			}
			e.Path = "some/path/"
			t.Run("path", func(t *testing.T) { testExternalPath(t, ctx, e) })
			t.Run("links", func(t *testing.T) { testPresign(t, openExternal(t, ctx, e), e.Kind) })
		})
	}
}

func testExternalPath(t *testing.T, ctx context.Context, e External) {
	noErr(t, openExternal(t, ctx, e).Put(t.Context(), "a.jpg", []byte("x"), ""))
	e.Path = ""
	if ok, err := openExternal(t, ctx, e).Exists(t.Context(), "some/path/a.jpg"); !ok || err != nil {
		t.Errorf("the object is not under its path: %t, %v", ok, err)
	}
}

// fetch gets a link as a browser would, without the program's client.
func fetch(t *testing.T, link string) (int, string) {
	t.Helper()
	res, err := http.Get(link)
	noErr(t, err)
	defer res.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	body, err := io.ReadAll(res.Body)
	noErr(t, err)
	return res.StatusCode, string(body)
}

func testPresign(t *testing.T, s *Store, kind string) {
	noErr(t, s.Put(t.Context(), "frames/a b.jpg", []byte("picture"), "image/jpeg"))
	noErr(t, s.Put(t.Context(), "frames/other.jpg", []byte("other"), "image/jpeg"))
	link, err := s.Presign(t.Context(), "frames/a b.jpg", time.Now().Add(time.Hour))
	noErr(t, err)
	if kind != KindGCS { // the fake checks no signatures
		if status, body := fetch(t, link); status != http.StatusOK || body != "picture" {
			t.Errorf("%d %s", status, body)
		}
		for name, bad := range map[string]string{
			"another object": strings.Replace(link, "a%20b.jpg", "other.jpg", 1), "no signature": link[:strings.Index(link, "?")],
		} {
			if bad == link {
				t.Fatalf("%s is the same as %s", name, link)
			}
			if status, _ := fetch(t, bad); status != http.StatusForbidden && status != http.StatusUnauthorized && status != http.StatusNotFound {
				t.Errorf("%s: %d", name, status)
			}
		}
	}
	long, err := s.Presign(t.Context(), "frames/a b.jpg", time.Now().Add(30*24*time.Hour))
	noErr(t, err)
	u, err := url.Parse(long)
	noErr(t, err)
	q := u.Query()
	switch kind {
	case KindAzure:
		end, err := time.Parse(time.RFC3339, q.Get("se"))
		if err != nil || time.Until(end) > MaxPresign || time.Until(end) < MaxPresign-time.Minute {
			t.Errorf("ends %s, %v", end, err)
		}
	case KindS3:
		if q.Get("X-Amz-Expires") != "604800" && q.Get("X-Amz-Expires") != "604799" {
			t.Errorf("lives %s s", q.Get("X-Amz-Expires"))
		}
	case KindGCS:
		if q.Get("X-Goog-Algorithm") != "GOOG4-RSA-SHA256" || q.Get("X-Goog-Expires") > "604800" {
			t.Errorf("%v", q)
		}
	}
	if _, err := s.Presign(t.Context(), "frames/a b.jpg", time.Now()); !errors.Is(err, ErrNoPresign) {
		t.Errorf("a link that is over: %v", err)
	}
	if _, err := s.Presign(t.Context(), "../a", time.Now().Add(time.Hour)); !errors.Is(err, ErrBadKey) {
		t.Errorf("a bad key: %v", err)
	}
}

func TestOwnStoresSignNoLinksOfOthers(t *testing.T) {
	t.Parallel()
	if _, err := openStore(t, Config{URL: "mem://"}).Presign(t.Context(), "a", time.Now().Add(time.Hour)); !errors.Is(err, ErrNoPresign) {
		t.Error(err)
	}
}

// account is credentials that are well formed.
func account(t *testing.T) string {
	_, e := newFakeGCS(t).external()
	return e.GoogleCredentials
}

func TestExternalChecksItsFields(t *testing.T) {
	t.Parallel()
	s3 := External{Kind: KindS3, Bucket: "frames", Region: "eu-central-1"}
	gcs := External{Kind: KindGCS, Bucket: "frames", GoogleCredentials: account(t)}
	abs := External{Kind: KindAzure, Bucket: "frames", AzureAccount: "account", AzureKey: base64.StdEncoding.EncodeToString(make([]byte, 64))}
	for _, e := range []External{s3, gcs, abs} {
		noErr(t, e.Check())
		e.Path = "a/b/"
		noErr(t, e.Check())
	}
	client := abs
	client.AzureKey, client.AzureTenant, client.AzureClientID, client.AzureSecret = "", "t", "c", "s"
	noErr(t, client.Check())
	for _, bad := range []struct {
		field  string
		of     External
		change func(e *External)
	}{
		{"storage_type", s3, func(e *External) { e.Kind = "ftp" }},
		{"path", s3, func(e *External) { e.Path = "../x" }},
		{"path", s3, func(e *External) { e.Path = "/x" }},
		{"path", s3, func(e *External) { e.Path = strings.Repeat("x", 400) }},
		{"bucket", s3, func(e *External) { e.Bucket = "a/b" }},
		{"bucket", s3, func(e *External) { e.Bucket = "Frames" }},
		{"bucket", gcs, func(e *External) { e.Bucket = "x?y" }},
		{"bucket", abs, func(e *External) { e.Bucket = "a/../b" }},
		{"aws_s3.s3_region", s3, func(e *External) { e.Region = "" }},
		{"aws_s3.s3_region", s3, func(e *External) { e.Region = "a.evil.example/" }},
		{"aws_s3.s3_secret", s3, func(e *External) { e.AccessKey = "k" }},
		{"aws_s3.s3_api_key", s3, func(e *External) { e.SecretKey = "s" }},
		{"aws_s3.s3_api_key", s3, func(e *External) { e.Endpoint = "https://s3.example" }},
		{"aws_s3.s3_custom_endpoint_url", s3, func(e *External) { e.Endpoint, e.AccessKey, e.SecretKey = "ftp://x", "k", "s" }},
		{"aws_s3.s3_custom_endpoint_url", s3, func(e *External) { e.Endpoint, e.AccessKey, e.SecretKey = "https://u:p@x", "k", "s" }},
		{"gcs_credentials", gcs, func(e *External) { e.GoogleCredentials = "" }},
		{"gcs_credentials", gcs, func(e *External) {
			e.GoogleCredentials = `{"type":"external_account","credential_source":{"file":"/etc/passwd"}}`
		}},
		{"gcs_credentials", gcs, func(e *External) { e.GoogleCredentials = `{"type":"authorized_user"}` }},
		{"azure_blob.abs_account_name", abs, func(e *External) { e.AzureAccount = "a.evil.example/" }},
		{"azure_blob.abs_account_key", abs, func(e *External) { e.AzureKey = "" }},
		{"azure_blob.abs_account_key", abs, func(e *External) { e.AzureKey = "not base64!" }},
		{"azure_blob.abs_account_key", abs, func(e *External) { e.AzureTenant = "t" }},
		{"azure_blob.abs_endpoint_url", abs, func(e *External) { e.AzureEndpoint = "file:///x" }},
		{"azure_blob.abs_tenant_id", client, func(e *External) { e.AzureTenant = "" }},
		{"azure_blob.abs_tenant_id", client, func(e *External) { e.AzureTenant = "../x" }},
		{"azure_blob.abs_client_secret", client, func(e *External) { e.AzureSecret = "" }},
	} {
		e := bad.of
		bad.change(&e)
		var field *FieldError
		if err := e.Check(); !errors.As(err, &field) || field.Field != bad.field {
			t.Errorf("%s: %v", bad.field, err)
		}
		e.HTTP = http.DefaultClient
		if s, err := OpenExternal(t.Context(), e); err == nil {
			_ = s.Close()
			t.Errorf("%s: opened", bad.field)
		}
	}
}

func TestExternalStoragesAreReachedThroughTheGuardAlone(t *testing.T) {
	t.Parallel()
	strict := netguard.New(netguard.Config{})
	t.Cleanup(func() { _ = strict.Close() })
	fake := newFakeGCS(t)
	gcsCtx, gcs := fake.external()
	key := base64.StdEncoding.EncodeToString(make([]byte, 64))
	for name, c := range map[string]struct {
		ctx context.Context
		e   External
	}{
		"s3":  {t.Context(), External{Kind: KindS3, Bucket: "frames", AccessKey: "k", SecretKey: "s", Endpoint: fake.URL}},
		"gcs": {gcsCtx, gcs},
		"abs": {t.Context(), External{Kind: KindAzure, Bucket: "frames", AzureAccount: "account", AzureKey: key, AzureEndpoint: fake.URL}},
	} {
		c.e.HTTP = strict.HTTPClient()
		before := strict.Stats().Refused
		err := openExternal(t, c.ctx, c.e).Put(t.Context(), "a.jpg", []byte("x"), "")
		if refused := (*netguard.RefusedError)(nil); !errors.As(err, &refused) && strict.Stats().Refused == before {
			t.Errorf("%s: %v", name, err)
		}
	}
	if fake.tokens != 0 || len(fake.objects) != 0 {
		t.Error("the server was reached")
	}
}

func TestReasonTellsNoSecrets(t *testing.T) {
	t.Parallel()
	e := externalS3(t)
	wrongKey, noBucket := e, e
	wrongKey.SecretKey, noBucket.Bucket = "hunter2-hunter2", "no-such-bucket"
	azure := externalAzure(t)
	azure.AzureKey = base64.StdEncoding.EncodeToString([]byte("hunter2 hunter2 hunter2"))
	for want, e := range map[string]External{"SignatureDoesNotMatch": wrongKey, "NoSuchBucket": noBucket, "AuthorizationFailure": azure} {
		err := openExternal(t, t.Context(), e).Put(t.Context(), "a.jpg", []byte("x"), "")
		if !Permanent(err) {
			t.Errorf("%s: not for ever", want)
		}
		if got := Reason(err); !strings.Contains(got, want) || strings.Contains(got, "hunter2") || strings.Contains(got, "127.0.0.1") {
			t.Errorf("%s: %q of %v", want, got, err)
		}
	}
	ctx, gcs := newFakeGCS(t).external()
	gcs.Bucket = "no-such-bucket"
	if got := Reason(openExternal(t, ctx, gcs).Put(t.Context(), "a.jpg", []byte("x"), "")); got != "it answered 404" {
		t.Errorf("gcs: %q", got)
	}
}

func TestPermanent(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]bool{0: false, 200: false, 301: true, 400: true, 403: true, 404: true, 408: false, 429: false, 500: false, 503: false} {
		if PermanentStatus(status) != want {
			t.Errorf("%d", status)
		}
	}
	e := External{Kind: KindS3, Bucket: "frames", AccessKey: "k", SecretKey: "s", Endpoint: "http://127.0.0.1:1"}
	if err := openExternal(t, t.Context(), e).Put(t.Context(), "a.jpg", []byte("x"), ""); err == nil || Permanent(err) {
		t.Errorf("an address without a server: %v", err)
	}
	if !Permanent(fmt.Errorf("wrapped: %w", ErrBadKey)) || Permanent(io.ErrUnexpectedEOF) || Permanent(nil) {
		t.Error("other errors")
	}
}

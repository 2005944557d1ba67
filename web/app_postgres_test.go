package web

import (
	"net/http"
	"testing"

	"stillwatch/internal/db"
	"stillwatch/internal/storage"
	"stillwatch/internal/testkit"
)

// TestAppAndStoragesOnPostgres goes once through every statement of the
// settings and of external storages on the other database.
func TestAppAndStoragesOnPostgres(t *testing.T) {
	t.Parallel()
	b := newBenchOn(t, testkit.Postgres(t), func(c *Config) { c.Storages = fakeStorages{} })
	b.server(http.StatusOK, "PATCH", appURL, everyHook)
	golden(t, "app_every_hook", b.server(http.StatusOK, "GET", appURL, nil))
	b.server(http.StatusOK, "PATCH", appURL, map[string]any{"event_hooks": b.hooks(), "webhook_url": "https://example.com/old"})
	if len(b.hooks()) != 8 {
		t.Errorf("%d hooks", len(b.hooks()))
	}
	_, d := b.hookRow("sqs")
	if got, err := d.Secret(b.cfg.Seal, "sqs", db.SecretSQS); err != nil || got != "hunter2-sqs" {
		t.Errorf("secret %q, %v", got, err)
	}
	b.server(http.StatusCreated, "POST", storagesURL, s3Body)
	b.server(http.StatusConflict, "POST", storagesURL, s3Body)
	b.server(http.StatusOK, "PUT", storagesURL+"/my-s3", `{"storage_type":"s3","bucket":"others","aws_s3":{"s3_region":"eu-west-1","s3_api_key":"AKIA1"}}`)
	if got := b.storageSecret("my-s3", storage.SecretS3); got != "hunter2-s3" {
		t.Errorf("secret %q", got)
	}
	b.server(http.StatusOK, "GET", storagesURL+"/my-s3/check", nil)
	b.server(http.StatusOK, "PUT", "/api/v2/video/calltypes/default", `{"external_storage":"my-s3"}`)
	b.server(http.StatusConflict, "DELETE", storagesURL+"/my-s3", nil)
	b.server(http.StatusOK, "PUT", "/api/v2/video/calltypes/default", `{"external_storage":""}`)
	b.server(http.StatusOK, "DELETE", storagesURL+"/my-s3", nil)
}

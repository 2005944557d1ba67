package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "stillwatch.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestABadValueIsNamedOnOneLine(t *testing.T) {
	t.Parallel()
	_, err := Load("", []string{"STILLWATCH_CAPTURE_WORKERS=many"})
	if err == nil || !strings.Contains(err.Error(), "capture.workers") || strings.Contains(err.Error(), "\n") {
		t.Errorf("error is %q", err)
	}
}

func TestDefaultsPass(t *testing.T) {
	t.Parallel()
	if _, err := Load("", nil); err != nil {
		t.Fatal(err)
	}
}

func TestEnvironmentWinsOverFile(t *testing.T) {
	t.Parallel()
	path := write(t, "http:\n  listen: 127.0.0.1:1\nlog:\n  level: debug\ncapture:\n  retention: 2h\n")
	c, err := Load(path, []string{"STILLWATCH_HTTP_LISTEN=127.0.0.1:2", "STILLWATCH_NETGUARD_ALLOW=10.0.0.0/8, 127.0.0.0/8", "PATH=/bin"})
	if err != nil {
		t.Fatal(err)
	}
	if c.HTTP.Listen != "127.0.0.1:2" || c.Log.Level != "debug" || c.Capture.Retention != 2*time.Hour {
		t.Errorf("listen %q level %q retention %v", c.HTTP.Listen, c.Log.Level, c.Capture.Retention)
	}
	if len(c.Netguard.Allow) != 2 || c.Netguard.Allow[1] != "127.0.0.0/8" {
		t.Errorf("allow = %q", c.Netguard.Allow)
	}
}

func TestUnknownKeysAreErrors(t *testing.T) {
	t.Parallel()
	if _, err := Load(write(t, "http:\n  lissten: x\n"), nil); err == nil || !strings.Contains(err.Error(), "http.lissten") {
		t.Errorf("file: %v", err)
	}
	if _, err := Load("", []string{"STILLWATCH_HTTP_LISSTEN=x"}); err == nil || !strings.Contains(err.Error(), "STILLWATCH_HTTP_LISSTEN") {
		t.Errorf("environment: %v", err)
	}
}

func TestCheckNamesTheSetting(t *testing.T) {
	t.Parallel()
	for env, key := range map[string]string{
		"STILLWATCH_HTTP_LISTEN=8080":              "http.listen",
		"STILLWATCH_HTTP_PUBLIC_URL=ftp://x":       "http.public_url",
		"STILLWATCH_HTTP_RATE_LIMIT=-1":            "http.rate_limit",
		"STILLWATCH_RECORDING_RECORD=both":         "recording.record",
		"STILLWATCH_RECORDING_HANDOVER=true":       "recording.handover",
		"STILLWATCH_MEDIA_PUBLIC_IPS=host":         "media.public_ips",
		"STILLWATCH_MEDIA_MAX_PEERS=0":             "media.max_peers",
		"STILLWATCH_REDIS_URL=http://x":            "redis.url",
		"STILLWATCH_DATABASE_URL=mysql://x":        "database.url",
		"STILLWATCH_BLOB_URL=ftp://x":              "blob.url",
		"STILLWATCH_WEBHOOK_URL=gopher://x":        "webhook.url",
		"STILLWATCH_NETGUARD_ALLOW=10.0.0.0":       "netguard.allow",
		"STILLWATCH_AUTH_API_KEY=k":                "auth.api_key",
		"STILLWATCH_CAPTURE_DEFAULT_MODE=on":       "capture.default_mode",
		"STILLWATCH_CAPTURE_RETENTION=1s":          "capture.retention",
		"STILLWATCH_CAPTURE_WORKERS=-1":            "capture.workers",
		"STILLWATCH_MODELS_WORKERS=1000":           "models.workers",
		"STILLWATCH_MODELS_REUSE=0":                "models.reuse",
		"STILLWATCH_LOG_LEVEL=loud":                "log.level",
		"STILLWATCH_LOG_FORMAT=xml":                "log.format",
		"STILLWATCH_AUTH_API_SECRET=short-secret1": "auth.api_secret",
		"STILLWATCH_AUTH_MASTER_KEY=short":         "auth.master_key",
	} {
		_, err := Load("", []string{env})
		var bad *Error
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), key) {
			t.Errorf("%s: got %v, want an error about %s", env, err, key)
		}
	}
}

func TestSecretsAreRedacted(t *testing.T) {
	t.Parallel()
	c := Default()
	c.Auth.APISecret = "do-not-show-this-to-anyone-at-all"
	c.Redis.URL = "redis://user:pass@host"
	all := strings.Join(c.Redacted(), "\n")
	if strings.Contains(all, "do-not-show") || strings.Contains(all, "pass") {
		t.Errorf("secrets are shown:\n%s", all)
	}
	if !strings.Contains(all, "auth.api_secret=(set)") {
		t.Errorf("a set secret is not marked:\n%s", all)
	}
}

func TestReferenceFileIsCurrentAndLoads(t *testing.T) {
	t.Parallel()
	path := filepath.Join("..", "..", "docs", "stillwatch.yaml")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, []byte(Reference()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != Reference() {
		t.Error("docs/stillwatch.yaml is not config.Reference(): run UPDATE_GOLDEN=1 go test ./internal/config")
	}
	if _, err := Load(path, nil); err != nil {
		t.Errorf("the reference file does not load: %v", err)
	}
	for _, f := range Fields() {
		if len(f.Doc) < 10 || !strings.HasSuffix(f.Doc, ".") {
			t.Errorf("setting %s has no sentence of documentation", f.Key)
		}
	}
}

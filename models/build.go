package models

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"

	"stillwatch/models/convert"
	"stillwatch/models/keras"
)

// catalog holds the manifests of the built-in models: with the hash that the
// conversion must give.
//
//go:embed catalog/*/manifest.yaml
var catalog embed.FS

// cards holds the built-in models' cards.
//
//go:embed cards/*.md
var cards embed.FS

// CardFile is the model card's name in a model's folder.
const CardFile = "MODEL_CARD.md"

// RuntimeFile is the inference library's name in BuildConfig.Lib.
const RuntimeFile = "libonnxruntime.so.1"

// runtimeHash is the SHA-256 of ONNX Runtime 1.24.3's library, per
// architecture, as the npm package onnxruntime-node carries it.
var runtimeHash = map[string]string{
	"amd64": "92ba8e44d31b80a34f5e805076a044122c3be1fffe0d88ed790de7267b0b2682",
	"arm64": "33032cb5b91c12edbf028d7c69fa40a31848d66c0095448758af237d5e0b07db",
}

// producer is written into the ONNX files. It changes with the converter:
// then the hashes in the catalog do too.
var producer = convert.Options{Producer: "stillwatch", Version: "1"}

// BuildConfig says where Build puts things.
type BuildConfig struct {
	// Out is the models folder: one folder per model. Default build/models.
	Out string
	// Lib is where the inference library goes. Default build/lib.
	Lib string
	// Packages is where npm works. Default build/npm. It is removed at the
	// end unless KeepPackages is set.
	Packages     string
	KeepPackages bool
}

func (c BuildConfig) withDefaults() BuildConfig {
	for _, d := range []struct {
		field *string
		value string
	}{{&c.Out, "build/models"}, {&c.Lib, "build/lib"}, {&c.Packages, "build/npm"}} {
		if *d.field == "" {
			*d.field = filepath.FromSlash(d.value)
		}
	}
	return c
}

// Build makes the built-in models and the inference library ready: fetches
// what is pinned, converts the weights to ONNX, and checks every result
// against its known hash. What is already right stays, so that it may run at
// every start.
func Build(ctx context.Context, cfg BuildConfig, progress Progress) error {
	cfg = cfg.withDefaults()
	if progress == nil {
		progress = func(string) {}
	}
	want, err := Catalog()
	if err != nil {
		return err
	}
	var stale []Manifest
	for _, m := range want {
		m.Dir = filepath.Join(cfg.Out, m.Name)
		if m.Verify() != nil {
			stale = append(stale, m)
		}
	}
	if len(stale) > 0 || !runtimeReady(cfg.Lib) {
		if err := fetchAndInstall(ctx, cfg, stale, progress); err != nil {
			return err
		}
	}
	for _, m := range want {
		if err := describe(m, filepath.Join(cfg.Out, m.Name)); err != nil {
			return err
		}
	}
	progress("models are ready in " + cfg.Out)
	return nil
}

// fetchAndInstall makes the models that are missing or wrong, and the
// runtime.
func fetchAndInstall(ctx context.Context, cfg BuildConfig, stale []Manifest, progress Progress) error {
	if err := Fetch(ctx, cfg.Packages, progress); err != nil {
		return err
	}
	modules := filepath.Join(cfg.Packages, "node_modules")
	progress("inference runtime to " + cfg.Lib)
	if err := installRuntime(modules, cfg.Lib); err != nil {
		return err
	}
	for _, m := range stale {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("build models: %w", err)
		}
		progress("convert " + m.Name)
		if err := install(m, filepath.Join(modules, "nsfwjs", "dist", "models", m.Name)); err != nil {
			return err
		}
	}
	if cfg.KeepPackages {
		return nil
	}
	if err := os.RemoveAll(cfg.Packages); err != nil {
		return fmt.Errorf("remove fetched packages: %w", err)
	}
	return nil
}

// Catalog gives the manifests of the built-in models.
func Catalog() ([]Manifest, error) {
	paths, err := fs.Glob(catalog, "catalog/*/"+ManifestFile)
	if err != nil {
		return nil, fmt.Errorf("list catalog: %w", err)
	}
	var out []Manifest
	for _, p := range paths {
		body, err := catalog.ReadFile(p)
		if err != nil {
			return nil, fmt.Errorf("read catalog: %w", err)
		}
		m, err := ParseManifest(body)
		if err != nil {
			return nil, fmt.Errorf("read catalog %s: %w", p, err)
		}
		out = append(out, m)
	}
	return out, nil
}

// runtimeReady tells whether the right inference library is in place.
func runtimeReady(lib string) bool {
	sum, err := hashFile(filepath.Join(lib, RuntimeFile))
	return err == nil && sum == runtimeHash[runtime.GOARCH]
}

func installRuntime(modules, lib string) error {
	arch := map[string]string{"amd64": "x64", "arm64": "arm64"}[runtime.GOARCH]
	src := filepath.Join(modules, "onnxruntime-node", "bin", "napi-v6", "linux", arch, RuntimeFile)
	body, err := os.ReadFile(src)
	if err != nil {
		return fmt.Errorf("read inference runtime for %s: %w", runtime.GOARCH, err)
	}
	if sum := digest(body); sum != runtimeHash[runtime.GOARCH] {
		return fmt.Errorf("inference runtime: %w: %s", ErrWrongHash, sum)
	}
	return replaceFile(filepath.Join(lib, RuntimeFile), body)
}

// install converts one model's weights from the folder src.
func install(m Manifest, src string) error {
	body, err := convertFile(src)
	if err != nil {
		return fmt.Errorf("convert %s: %w", m.Name, err)
	}
	if sum := digest(body); sum != m.SHA256 {
		return fmt.Errorf("convert %s: %w: %s, want %s", m.Name, ErrWrongHash, sum, m.SHA256)
	}
	return replaceFile(m.Path(), body)
}

// describe writes a model's card and, last, its manifest, which makes the
// folder a model.
func describe(m Manifest, dir string) error {
	manifest, err := catalog.ReadFile(path.Join("catalog", m.Name, ManifestFile))
	if err != nil {
		return fmt.Errorf("read catalog: %w", err)
	}
	card, err := cards.ReadFile(path.Join("cards", m.Name+".md"))
	if err != nil {
		return fmt.Errorf("read model card: %w", err)
	}
	if err := replaceFile(filepath.Join(dir, CardFile), card); err != nil {
		return err
	}
	return replaceFile(filepath.Join(dir, ManifestFile), manifest)
}

// convertFile reads a layers model's folder and gives an ONNX file's bytes,
// always the same ones.
func convertFile(src string) ([]byte, error) {
	net, err := keras.Open(src)
	if err != nil {
		return nil, err
	}
	graph, err := convert.ONNX(net, producer)
	if err != nil {
		return nil, err
	}
	return graph.Marshal(), nil
}

// replaceFile writes a file so that others see the old one or the new one,
// never a part. A file that holds the same bytes is left alone.
func replaceFile(name string, body []byte) error {
	if old, err := os.ReadFile(name); err == nil && bytes.Equal(old, body) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(name), ".new-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	defer os.Remove(tmp.Name()) // gone already once renamed
	_, err = tmp.Write(body)
	if err == nil {
		err = tmp.Chmod(0o644)
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp.Name(), name)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

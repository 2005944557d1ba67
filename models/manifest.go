// Package models keeps the image classifiers: what each one is (a manifest
// in its folder), whether its file is the right one, how a picture becomes
// its input, and how two of them look in turn (the cascade). It runs none
// itself; models/onnx does.
package models

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"

	"gopkg.in/yaml.v3"
)

// ManifestFile is the manifest's name in a model's folder.
const ManifestFile = "manifest.yaml"

// Bounds of a manifest.
const (
	maxManifest = 64 << 10
	maxLabels   = 10_000
	minSize     = 8
	maxSize     = 2048
)

// ErrManifest says that a manifest is not valid.
var ErrManifest = errors.New("bad model manifest")

// Manifest says what a model is and how to ask it.
type Manifest struct {
	// Name is the model's, and its folder's: lower-case letters, digits and
	// underscores.
	Name string `yaml:"name"`
	// Version tells two conversions or trainings of one name apart.
	Version string `yaml:"version"`
	// File is the ONNX file, in the manifest's folder.
	File string `yaml:"file"`
	// SHA256 is the hex digest of the file.
	SHA256 string `yaml:"sha256"`
	// Labels name the outputs, in order.
	Labels []string `yaml:"labels"`
	Input  Input    `yaml:"input"`
	// Scaling turns bytes into the tensor's numbers.
	Scaling Scaling `yaml:"preprocess"`
	Output  Output  `yaml:"output"`
	// Licence is the weights' SPDX name, Source where they come from.
	Licence string `yaml:"licence"`
	Source  string `yaml:"source"`

	// Dir is the folder the manifest was loaded from.
	Dir string `yaml:"-"`
}

// Layout is the order of a tensor's dimensions.
type Layout string

// The layouts: planes of colours, or pixels of colours.
const (
	NCHW Layout = "NCHW"
	NHWC Layout = "NHWC"
)

// Input describes the tensor: one picture, squeezed whole into a square
// (bilinear, corners aligned), three colours.
type Input struct {
	// Name is the graph input's; empty means the only one.
	Name string `yaml:"name"`
	// Size is the square's side in pixels, 8 to 2048.
	Size   int    `yaml:"size"`
	Layout Layout `yaml:"layout"`
	// Colour is RGB or BGR.
	Colour string `yaml:"colour"`
	// DType is float32 or uint8; uint8 takes the bytes as they are.
	DType string `yaml:"dtype"`
}

// Scaling makes each byte v of colour c the number
// (v*Scale - Mean[c]) / Std[c]. Mean and Std stand in the order R, G, B.
type Scaling struct {
	Scale float64    `yaml:"scale"`
	Mean  [3]float64 `yaml:"mean,flow"`
	Std   [3]float64 `yaml:"std,flow"`
}

// OutputKind says what the model's numbers are.
type OutputKind string

// The kinds of output.
const (
	// Softmax: probabilities that sum to 1.
	Softmax OutputKind = "softmax"
	// Logits: numbers that a softmax makes into probabilities.
	Logits OutputKind = "logits"
	// Sigmoid: a probability for each label by itself.
	Sigmoid OutputKind = "sigmoid"
)

// Output describes the model's answer: one row of a number per label.
type Output struct {
	// Name is the graph output's; empty means the only one.
	Name string     `yaml:"name"`
	Kind OutputKind `yaml:"kind"`
}

// Load reads and checks the manifest in a model's folder. A key it does not
// know is an error. It does not read the model file: Verify does.
func Load(dir string) (Manifest, error) {
	path := filepath.Join(dir, ManifestFile)
	f, err := os.Open(path)
	if err != nil {
		return Manifest{}, fmt.Errorf("open model manifest: %w", err)
	}
	defer f.Close()
	body, err := io.ReadAll(io.LimitReader(f, maxManifest+1))
	if err != nil {
		return Manifest{}, fmt.Errorf("read model manifest %s: %w", path, err)
	}
	m, err := ParseManifest(body)
	if err != nil {
		return Manifest{}, fmt.Errorf("load %s: %w", path, err)
	}
	if base := filepath.Base(dir); base != m.Name {
		return Manifest{}, fmt.Errorf("load %s: %w: name %q in a folder named %q", path, ErrManifest, m.Name, base)
	}
	m.Dir = dir
	return m, nil
}

// ParseManifest reads and checks a manifest's YAML.
func ParseManifest(body []byte) (Manifest, error) {
	m := Manifest{
		File:    "model.onnx",
		Input:   Input{Layout: NCHW, Colour: "RGB", DType: "float32"},
		Scaling: Scaling{Scale: 1, Std: [3]float64{1, 1, 1}},
	}
	if len(body) > maxManifest {
		return Manifest{}, fmt.Errorf("%w: over %d bytes", ErrManifest, maxManifest)
	}
	dec := yaml.NewDecoder(bytes.NewReader(body))
	dec.KnownFields(true)
	if err := dec.Decode(&m); err != nil {
		return Manifest{}, fmt.Errorf("%w: %w", ErrManifest, err)
	}
	if err := m.check(); err != nil {
		return Manifest{}, fmt.Errorf("%w: %w", ErrManifest, err)
	}
	return m, nil
}

var (
	nameForm   = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)
	fileForm   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$`)
	digestForm = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

func (m Manifest) check() error {
	switch {
	case !nameForm.MatchString(m.Name):
		return fmt.Errorf("name %q: want lower-case letters, digits, underscores", m.Name)
	case m.Version == "":
		return errors.New("version is missing")
	case !fileForm.MatchString(m.File):
		return fmt.Errorf("file %q: want a plain file name", m.File)
	case !digestForm.MatchString(m.SHA256):
		return fmt.Errorf("sha256 %q: want 64 lower-case hex digits", m.SHA256)
	case m.Licence == "" || m.Source == "":
		return errors.New("licence or source is missing")
	}
	if err := m.checkLabels(); err != nil {
		return err
	}
	return m.checkTensors()
}

func (m Manifest) checkLabels() error {
	if len(m.Labels) == 0 || len(m.Labels) > maxLabels {
		return fmt.Errorf("%d labels: want 1 to %d", len(m.Labels), maxLabels)
	}
	seen := map[string]bool{}
	for _, l := range m.Labels {
		if l == "" || seen[l] {
			return fmt.Errorf("label %q is empty or there twice", l)
		}
		seen[l] = true
	}
	return nil
}

func (m Manifest) checkTensors() error {
	in, p := m.Input, m.Scaling
	switch {
	case in.Size < minSize || in.Size > maxSize:
		return fmt.Errorf("input.size %d: want %d to %d", in.Size, minSize, maxSize)
	case in.Layout != NCHW && in.Layout != NHWC:
		return fmt.Errorf("input.layout %q: want NCHW or NHWC", in.Layout)
	case in.Colour != "RGB" && in.Colour != "BGR":
		return fmt.Errorf("input.colour %q: want RGB or BGR", in.Colour)
	case in.DType != "float32" && in.DType != "uint8":
		return fmt.Errorf("input.dtype %q: want float32 or uint8", in.DType)
	case m.Output.Kind != Softmax && m.Output.Kind != Logits && m.Output.Kind != Sigmoid:
		return fmt.Errorf("output.kind %q: want softmax, logits or sigmoid", m.Output.Kind)
	case !(p.Scale > 0 && p.Scale <= 255):
		return fmt.Errorf("preprocess.scale %v: want more than 0, at most 255", p.Scale)
	}
	for c := range 3 {
		if !(p.Std[c] > 0) || p.Std[c] > 1e6 || !(p.Mean[c] > -1e6 && p.Mean[c] < 1e6) {
			return fmt.Errorf("preprocess mean %v, std %v: want numbers, std above 0", p.Mean, p.Std)
		}
	}
	if in.DType == "uint8" && (p != Scaling{Scale: 1, Std: [3]float64{1, 1, 1}}) {
		return errors.New("preprocess: a uint8 input takes bytes as they are")
	}
	return nil
}

// Path is the model file's.
func (m Manifest) Path() string { return filepath.Join(m.Dir, m.File) }

// Errors of Verify.
var (
	// ErrMissing says that the model's file is not there.
	ErrMissing = errors.New("model file is missing")
	// ErrWrongHash says that the model's file is not the one meant.
	ErrWrongHash = errors.New("model file has the wrong hash")
)

// Verify hashes the model's file and compares: nil, ErrMissing, ErrWrongHash
// or a reading error.
func (m Manifest) Verify() error {
	got, err := hashFile(m.Path())
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("verify model %s: %w: %s", m.Name, ErrMissing, m.Path())
	case err != nil:
		return fmt.Errorf("verify model %s: %w", m.Name, err)
	case got != m.SHA256:
		return fmt.Errorf("verify model %s: %w: %s, want %s", m.Name, ErrWrongHash, got, m.SHA256)
	}
	return nil
}

// Read gives the model file's bytes if they have the right hash: nil or the
// errors of Verify. What is run is what was checked.
func (m Manifest) Read() ([]byte, error) {
	body, err := os.ReadFile(m.Path())
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("read model %s: %w: %s", m.Name, ErrMissing, m.Path())
	case err != nil:
		return nil, fmt.Errorf("read model %s: %w", m.Name, err)
	case digest(body) != m.SHA256:
		return nil, fmt.Errorf("read model %s: %w: %s, want %s", m.Name, ErrWrongHash, digest(body), m.SHA256)
	}
	return body, nil
}

// hashFile gives a file's SHA-256 in hex.
func hashFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

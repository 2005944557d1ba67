package keras

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestOpenReadsLayersAndWeights(t *testing.T) {
	t.Parallel()
	m, err := Open("testdata/tiny")
	if err != nil {
		t.Fatal(err)
	}
	if m.Name != "tiny" || m.Output != "out" || len(m.Layers) != 3 {
		t.Fatalf("model %q of %d layers with output %q", m.Name, len(m.Layers), m.Output)
	}
	out := m.Layers[2]
	if out.Class != "Dense" || out.Config.Units != 2 || out.Config.Activation != "softmax" || !reflect.DeepEqual(out.Inputs, []string{"flat"}) {
		t.Errorf("output layer %+v", out)
	}
	want := map[string]Weight{
		"out/kernel": {Shape: []int{3, 2}, Data: []float32{-0.5, 63.25, 31.5, -0.25, 0, 0.25}},
		"out/bias":   {Shape: []int{2}, Data: []float32{65.435, -0.099}},
	}
	if !reflect.DeepEqual(m.Weights, want) {
		t.Errorf("weights %v, want %v", m.Weights, want)
	}
}

// tiny gives the fixture's topology as JSON, with replacements made.
func tiny(t testing.TB, replace ...string) []byte {
	t.Helper()
	body, err := os.ReadFile("testdata/tiny/model.min.js")
	if err != nil {
		t.Fatal(err)
	}
	text, err := Literal(body)
	if err != nil {
		t.Fatal(err)
	}
	out := strings.NewReplacer(replace...).Replace(string(text))
	if len(replace) > 0 && out == string(text) {
		t.Fatalf("nothing to replace: %q", replace)
	}
	return []byte(out)
}

func TestParseRefusesWhatDoesNotAddUp(t *testing.T) {
	t.Parallel()
	five := func(string) ([]byte, error) { return make([]byte, 5), nil }
	for _, test := range []struct {
		name    string
		replace []string
	}{
		{"class", []string{`"class_name":"Model"`, `"class_name":"Sequential"`}},
		{"outputs", []string{`"output_layers":[["out",0,0]]`, `"output_layers":[]`}},
		{"output reference", []string{`"output_layers":[["out",0,0]]`, `"output_layers":[7]`}},
		{"input reference", []string{`[[["in",0,0,{}]]]`, `[[[7]]]`}},
		{"layer used twice", []string{`[[["in",0,0,{}]]]`, `[[["in",0,0,{}]],[["in",0,0,{}]]]`}},
		{"padding", []string{`"trainable":true`, `"padding":3`}},
		{"negative shape", []string{`"shape":[3,2]`, `"shape":[-3,-2]`}},
		{"huge shape", []string{`"shape":[3,2]`, `"shape":[4294967296,4294967296]`}},
		{"shape larger than the data", []string{`"shape":[3,2]`, `"shape":[3,200]`}},
		{"shape smaller than the data", []string{`"shape":[3,2]`, `"shape":[3,1]`}},
		{"dtype", []string{`"dtype":"uint8"`, `"dtype":"int4"`}},
		{"stored dtype", []string{`"dtype":"float32","quantization"`, `"dtype":"int32","quantization"`}},
		{"weight twice", []string{`"name":"out/bias","shape":[2]`, `"name":"out/kernel","shape":[2]`}},
		{"no layers", []string{`"layers":[`, `"layers":[],"other":[`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if _, err := Parse(tiny(t, test.replace...), five); !errors.Is(err, ErrBundle) {
				t.Errorf("error %v, want %v", err, ErrBundle)
			}
		})
	}
	if _, err := Parse(tiny(t), five); err != nil {
		t.Errorf("unchanged: %v", err)
	}
	gone := errors.New("gone")
	if _, err := Parse(tiny(t), func(string) ([]byte, error) { return nil, gone }); !errors.Is(err, gone) {
		t.Errorf("a shard that cannot be read: %v, want %v", err, gone)
	}
}

func TestOpenStaysInItsFolder(t *testing.T) {
	t.Parallel()
	body, err := os.ReadFile("testdata/tiny/model.min.js")
	if err != nil {
		t.Fatal(err)
	}
	for _, shard := range []string{"../tiny/group1-shard1of2", "..", "a/b"} {
		dir := t.TempDir()
		text := strings.Replace(string(body), "group1-shard1of2", shard, 1)
		if err := os.WriteFile(filepath.Join(dir, "model.min.js"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir); !errors.Is(err, ErrBundle) {
			t.Errorf("shard %q: %v, want %v", shard, err, ErrBundle)
		}
	}
}

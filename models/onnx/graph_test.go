//go:build cgo

package onnx_test

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stillwatch/models"
	"stillwatch/models/onnx"
	"stillwatch/models/onnxfile"
)

// means is a model that gives the mean of each colour, times a factor: any
// image classifier, told by its manifest alone.
func means(size int64, layout models.Layout, bytes bool, factor float32) []byte {
	free := onnxfile.Dim{Param: "n"}
	m := onnxfile.Model{
		Producer: "test", Opset: 13, Name: "means",
		Inputs: []onnxfile.Value{{
			Name: "picture", Uint8: bytes,
			Dims: []onnxfile.Dim{free, {Size: 3}, {Size: size}, {Size: size}},
		}},
		Outputs: []onnxfile.Value{{Name: "means", Dims: []onnxfile.Dim{free, {Size: 3}}}},
		Tensors: []onnxfile.Tensor{{Name: "factor", Floats: []float32{factor}}},
	}
	at := "picture"
	then := func(op string, inputs []string, attrs ...onnxfile.Attr) {
		m.Nodes = append(m.Nodes, onnxfile.Node{Op: op, Name: op, Inputs: append([]string{at}, inputs...), Outputs: []string{op}, Attrs: attrs})
		at = op
	}
	if bytes {
		then("Cast", nil, onnxfile.Int("to", 1))
	}
	if layout == models.NHWC {
		m.Inputs[0].Dims = []onnxfile.Dim{free, {Size: size}, {Size: size}, {Size: 3}}
		then("Transpose", nil, onnxfile.Ints("perm", 0, 3, 1, 2))
	}
	then("GlobalAveragePool", nil)
	then("Flatten", nil, onnxfile.Int("axis", 1))
	then("Mul", []string{"factor"})
	m.Nodes[len(m.Nodes)-1].Outputs[0] = "means"
	return m.Marshal()
}

// openMeans opens a means model after changing its manifest.
func openMeans(t *testing.T, body []byte, replace ...string) (models.Classifier, error) {
	t.Helper()
	dir := writeModel(t, body, "means", "picture", "means", 8, "[r, g, b]")
	path := filepath.Join(dir, models.ManifestFile)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.NewReplacer(append(replace, "softmax", "sigmoid")...).Replace(string(text))
	if err := os.WriteFile(path, []byte(changed), 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := load(t).Open(dir, onnx.Options{})
	if err == nil {
		t.Cleanup(func() { c.Close() })
	}
	return c, err
}

// colours is an 8×8 picture whose channels are 51, 102 and 204 throughout.
func colours() []byte {
	rgb := make([]byte, 8*8*3)
	for i := range rgb {
		rgb[i] = []byte{51, 102, 204}[i%3]
	}
	return rgb
}

func TestAnyClassifierByItsManifest(t *testing.T) {
	t.Parallel()
	size, scale := "size: 8", "preprocess: {scale: 0.00392156862745098}\n"
	for _, test := range []struct {
		name    string
		body    []byte
		replace []string
		want    []float64
	}{
		{"planes", means(8, models.NCHW, false, 1), nil, []float64{0.2, 0.4, 0.8}},
		{"pixels", means(8, models.NHWC, false, 1), []string{size, size + ", layout: NHWC"}, []float64{0.2, 0.4, 0.8}},
		{"blue first", means(8, models.NCHW, false, 1), []string{size, size + ", colour: BGR"}, []float64{0.8, 0.4, 0.2}},
		{"bytes", means(8, models.NHWC, true, 1.0/255), []string{size, size + ", layout: NHWC, dtype: uint8", scale, ""}, []float64{0.2, 0.4, 0.8}},
		{"logits", means(8, models.NCHW, false, 0), []string{"softmax", "logits"}, []float64{1. / 3, 1. / 3, 1. / 3}},
		{"mean and deviation", means(8, models.NCHW, false, 1), []string{
			scale, "preprocess: {scale: 0.00392156862745098, mean: [0.1, 0.2, 0.3], std: [0.5, 0.5, 1]}\n",
		}, []float64{0.2, 0.4, 0.5}},
		{"names left out", means(8, models.NCHW, false, 1), []string{"name: picture, ", "", "name: means,", ""}, []float64{0.2, 0.4, 0.8}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c, err := openMeans(t, test.body, test.replace...)
			if err != nil {
				t.Fatal(err)
			}
			got, err := c.Classify(context.Background(), colours())
			if err != nil {
				t.Fatal(err)
			}
			for i, want := range test.want {
				if math.Abs(got[i].Score-want) > 1e-5 {
					t.Errorf("%s scores %v, want %v", got[i].Label, got[i].Score, want)
				}
			}
		})
	}
}

func TestAModelThatDoesNotFitItsManifestDoesNotOpen(t *testing.T) {
	t.Parallel()
	good := means(8, models.NCHW, false, 1)
	for _, test := range []struct {
		name    string
		body    []byte
		replace []string
		says    string
	}{
		{"labels", good, []string{"[r, g, b]", "[r, g]"}, "does not fit"},
		{"size", good, []string{"size: 8", "size: 9"}, "does not fit"},
		{"layout", good, []string{"size: 8", "size: 8, layout: NHWC"}, "does not fit"},
		{"bytes", means(8, models.NCHW, true, 1), nil, "does not fit"},
		{"input name", good, []string{"name: picture", "name: image"}, "does not fit"},
		{"output name", good, []string{"name: means,", "name: scores,"}, "does not fit"},
		{"no graph", []byte("not a model"), nil, "read graph"},
		{"cut short", good[:len(good)/2], nil, "read graph"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if _, err := openMeans(t, test.body, test.replace...); err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("error %v, want one that says %q", err, test.says)
			}
		})
	}
}

func TestNaNIsNoAnswer(t *testing.T) {
	t.Parallel()
	for name, factor := range map[string]float32{
		"NaN": float32(math.NaN()), "infinite": float32(math.Inf(1)), "above 1": 3,
	} {
		c, err := openMeans(t, means(8, models.NCHW, false, factor))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := c.Classify(context.Background(), colours()); !errors.Is(err, models.ErrOutput) {
			t.Errorf("%s: scores %v, error %v, want %v", name, got, err, models.ErrOutput)
		}
	}
}

// TestCUDAIsRefusedWithoutIt: the pinned runtime is for CPUs. Asking it for
// CUDA is an error, not a silent fall to the CPU.
func TestCUDAIsRefusedWithoutIt(t *testing.T) {
	t.Parallel()
	dir := writeModel(t, means(8, models.NCHW, false, 1), "means", "picture", "means", 8, "[r, g, b]")
	c, err := load(t).Open(dir, onnx.Options{CUDA: true})
	if err == nil {
		c.Close()
		t.Fatal("opened with CUDA by a runtime that has none")
	}
	t.Log(err)
}

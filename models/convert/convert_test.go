package convert

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"stillwatch/models/keras"
)

// network is one of the random networks of the golden files.
type network struct {
	File  json.RawMessage
	Shard []byte
}

func networks(t testing.TB) map[string]network {
	t.Helper()
	body, err := os.ReadFile("../testdata/golden/layers.json")
	if err != nil {
		t.Fatal(err)
	}
	var nets map[string]network
	if err := json.Unmarshal(body, &nets); err != nil {
		t.Fatal(err)
	}
	return nets
}

func convertJSON(file, shard []byte) ([]byte, error) {
	m, err := keras.Parse(file, func(string) ([]byte, error) { return shard, nil })
	if err != nil {
		return nil, err
	}
	graph, err := ONNX(m, Options{Producer: "test", Version: "1"})
	if err != nil {
		return nil, err
	}
	return graph.Marshal(), nil
}

func TestConversionGivesTheSameBytesEachTime(t *testing.T) {
	t.Parallel()
	nets := networks(t)
	nets["smallest"] = network{File: []byte(smallest), Shard: make([]byte, 8)}
	for name, n := range nets {
		first, err := convertJSON(n.File, n.Shard)
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			if again, err := convertJSON(n.File, n.Shard); err != nil || !bytes.Equal(first, again) {
				t.Fatalf("%s: other bytes, %v", name, err)
			}
		}
	}
}

func TestNormalisationIsFoldedOnlyWhereNobodyElseReads(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]int{
		"wide": 1, // behind an activation; the one behind a convolution is folded
		"tall": 1, // of the joined averages; two are folded
	} {
		net := networks(t)[name]
		m, err := keras.Parse(net.File, func(string) ([]byte, error) { return net.Shard, nil })
		if err != nil {
			t.Fatal(err)
		}
		graph, err := ONNX(m, Options{})
		if err != nil {
			t.Fatal(err)
		}
		got := 0
		for _, n := range graph.Nodes {
			if n.Op == "BatchNormalization" {
				got++
			}
		}
		if got != want {
			t.Errorf("%s: %d normalisation nodes, want %d", name, got, want)
		}
	}
}

func TestWhatCannotBeConvertedSaysWhy(t *testing.T) {
	t.Parallel()
	net := networks(t)["wide"]
	for _, test := range []struct{ name, old, new, says string }{
		{"unknown layer", `"class_name":"Dropout"`, `"class_name":"LSTM"`, "is not supported"},
		{"channels first", `"data_format":"channels_last"`, `"data_format":"channels_first"`, "data format"},
		{"missing weight", `/kernel"`, `/colonel"`, `has no weight "kernel"`},
		{"stride of nothing", `"strides":[2,2]`, `"strides":[0,2]`, "strides of [0 2]"},
		{"one stride", `"strides":[2,2]`, `"strides":[2]`, "strides of [2]"},
		{"huge kernel", `"kernel_size":[3,3]`, `"kernel_size":[4000,3]`, "want [4000 3]"},
		{"activation", `"activation":"softmax"`, `"activation":"swish"`, `activation "swish"`},
		{"endless input", `[null,17,17,3]`, `[null,null,17,3]`, "fixed height"},
		{"large input", `[null,17,17,3]`, `[null,1000000,17,3]`, "input of"},
		{"other input", `[null,17,17,3]`, `[null,17,17,4]`, "want [-1 -1 4 -1]"},
		{"axis", `"axis":3`, `"axis":2`, "axis 2"},
		{"padding", `"padding":"same"`, `"padding":"causal"`, `padding "causal"`},
		{"many channels", `"inbound_nodes":[]`, `"inbound_nodes":[]}` + doubling, "gives 1572864 channels"},
		{"output", `"output_layers":[["dense_Dense2"`, `"output_layers":[["nobody"`, "no layer"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var compact bytes.Buffer
			if err := json.Compact(&compact, net.File); err != nil {
				t.Fatal(err)
			}
			text := strings.ReplaceAll(compact.String(), test.old, test.new)
			if text == compact.String() {
				t.Fatalf("nothing to replace: %s", test.old)
			}
			_, err := convertJSON([]byte(text), net.Shard)
			if !errors.Is(err, ErrModel) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("error %v, want one that says %q", err, test.says)
			}
		})
	}
}

// training names the settings of a layer that matter to its training only.
var training = []string{"initializer", "regularizer", "constraint"}

// lean leaves out of a topology what says how it was trained, so that the
// fuzzer spends its time on the rest.
func lean(t testing.TB, file []byte) []byte {
	t.Helper()
	var tree any
	if err := json.Unmarshal(file, &tree); err != nil {
		t.Fatal(err)
	}
	var prune func(any)
	prune = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, child := range v {
				if _, kind, ok := strings.Cut(k, "_"); ok && slices.Contains(training, kind) || child == nil {
					delete(v, k)
				}
				prune(child)
			}
		case []any:
			for _, child := range v {
				prune(child)
			}
		}
	}
	prune(tree)
	out, err := json.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// smallest is one convolution and its average.
const smallest = `{"modelTopology":{"model_config":{"class_name":"Model","config":{"layers":[
{"name":"i","class_name":"InputLayer","config":{"batch_input_shape":[null,4,4,1]}},
{"name":"c","class_name":"Conv2D","config":{"kernel_size":[2,2],"padding":"same","use_bias":false},"inbound_nodes":[[["i",0,0]]]},
{"name":"g","class_name":"GlobalAveragePooling2D","inbound_nodes":[[["c",0,0]]]}],"output_layers":[["g",0,0]]}}},
"weightsManifest":[{"paths":["s"],"weights":[{"name":"c/kernel","shape":[2,2,1,2],"dtype":"float32","quantization":{"scale":1,"dtype":"uint8"}}]}]}`

// weightBytes is how long the shard of a topology must be.
func weightBytes(file []byte) int {
	var f struct {
		WeightsManifest []struct {
			Weights []struct {
				Shape        []int
				Quantization *struct{ DType string }
			}
		}
	}
	if json.Unmarshal(file, &f) != nil {
		return 0
	}
	total := 0
	for _, g := range f.WeightsManifest {
		for _, w := range g.Weights {
			n := 4
			if w.Quantization != nil {
				n = map[string]int{"uint8": 1, "uint16": 2}[w.Quantization.DType]
			}
			for _, d := range w.Shape {
				n = min(n*max(0, min(d, 1<<21)), 1<<21)
			}
			total = min(total+n, 1<<21)
		}
	}
	return total
}

// doubling is the rest of the input layer's list entry: layers that double
// the channels until there are too many.
var doubling = func() string {
	var b strings.Builder
	last := "input1"
	for i := range 20 {
		name := fmt.Sprint("d", i)
		fmt.Fprintf(&b, `,{"name":%q,"class_name":"Concatenate","config":{"axis":-1},"inbound_nodes":[[[%q,0,0],[%q,0,0]]]}`, name, last, last)
		last = name
	}
	return strings.TrimSuffix(b.String(), "}")
}()

// FuzzONNX feeds topologies that nobody meant: an error or a graph, never a
// crash, and no graph without bounds.
func FuzzONNX(f *testing.F) {
	for _, n := range networks(f) {
		f.Add(lean(f, n.File), n.Shard[:64])
	}
	f.Add([]byte(smallest), []byte{1})
	f.Fuzz(func(t *testing.T, file, seed []byte) {
		need := weightBytes(file)
		if len(file) > 1<<16 || need > 1<<20 || len(seed) == 0 {
			return
		}
		shard := bytes.Repeat(seed, 1+need/len(seed))[:need]
		if body, err := convertJSON(file, shard); err == nil && len(body) > 64<<20 {
			t.Errorf("%d bytes from %d", len(body), len(file))
		}
	})
}

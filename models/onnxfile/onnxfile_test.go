package onnxfile

import (
	"encoding/hex"
	"testing"
)

// TestMarshalWritesTheFieldsOfTheFormat holds a small model against bytes
// worked out by hand from onnx.proto3.
func TestMarshalWritesTheFieldsOfTheFormat(t *testing.T) {
	t.Parallel()
	m := Model{
		Producer: "p", Version: "v", Opset: 13, Name: "g",
		Inputs:  []Value{{Name: "x", Dims: []Dim{{Param: "n"}, {Size: 3}}}},
		Outputs: []Value{{Name: "y", Dims: []Dim{{Size: 1}}}},
		Nodes: []Node{{
			Op: "Op", Name: "o", Inputs: []string{"x", "w"}, Outputs: []string{"y"},
			Attrs: []Attr{Int("i", 2), Float("f", 1), Ints("l", 1, -1)},
		}},
		Tensors: []Tensor{
			{Name: "w", Dims: []int64{1}, Floats: []float32{1}},
			{Name: "k", Dims: []int64{1}, Ints: []int64{5}},
		},
	}
	const want = "0808" + // ir_version = 8
		"120170" + "1a0176" + // producer_name, producer_version
		"3a8a01" + // graph of 138 bytes
		"0a3c" + // node of 60 bytes
		"0a0178" + "0a0177" + "120179" + "1a016f" + "22024f70" + // x, w, y, o, Op
		"2a08" + "0a0169" + "1802" + "a00102" + // i = 2, INT
		"2a0b" + "0a0166" + "150000803f" + "a00101" + // f = 1.0, FLOAT
		"2a13" + "0a016c" + "4001" + "40ffffffffffffffffff01" + "a00107" + // l = [1, -1], INTS
		"120167" + // name
		"2a0d" + "0801" + "1001" + "420177" + "4a040000803f" + // w: FLOAT, raw_data
		"2a11" + "0801" + "1007" + "42016b" + "4a080500000000000000" + // k: INT64
		"5a14" + "0a0178" + "120f" + "0a0d" + "0801" + "1209" + "0a0312016e" + "0a020803" + // x: FLOAT [n, 3]
		"620f" + "0a0179" + "120a" + "0a08" + "0801" + "1204" + "0a020801" + // y: FLOAT [1]
		"4204" + "0a00" + "100d" // opset 13 of the default domain
	if got := hex.EncodeToString(m.Marshal()); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

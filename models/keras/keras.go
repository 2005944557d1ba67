// Package keras reads layers models as TensorFlow.js keeps them: the layers
// in order, how they are joined, and their weights, dequantised to float32.
package keras

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Bounds on what is read. The largest known model (Inception V3) has a
// topology of 0.2 MB, 313 layers and 6 shards of 5.6 MB.
const (
	maxFile   = 64 << 20
	maxShards = 64
	maxLayers = 4096
)

// Model is a network of layers with one input and one output.
type Model struct {
	Name string
	// Layers stand in the file's order: each after those it reads from.
	Layers []Layer
	// Output names the layer whose value is the model's.
	Output string
	// Weights are by name, such as "conv2d_1/kernel".
	Weights map[string]Weight
}

// Layer is one layer and the names of the layers that feed it.
type Layer struct {
	Name, Class string
	Config      Config
	Inputs      []string
}

// Config holds those settings of a layer that change what it computes.
type Config struct {
	BatchInputShape []*int   `json:"batch_input_shape"`
	Activation      string   `json:"activation"`
	UseBias         *bool    `json:"use_bias"`
	Filters         int      `json:"filters"`
	Units           int      `json:"units"`
	DepthMultiplier int      `json:"depth_multiplier"`
	KernelSize      []int    `json:"kernel_size"`
	PoolSize        []int    `json:"pool_size"`
	Strides         []int    `json:"strides"`
	DilationRate    []int    `json:"dilation_rate"`
	Padding         Padding  `json:"padding"`
	DataFormat      string   `json:"data_format"`
	Axis            int      `json:"axis"`
	Epsilon         float64  `json:"epsilon"`
	Center          *bool    `json:"center"`
	Scale           *bool    `json:"scale"`
	MaxValue        *float64 `json:"max_value"`
	NegativeSlope   float64  `json:"negative_slope"`
	Threshold       float64  `json:"threshold"`
}

// Padding is "same" or "valid", or explicit rows and columns.
type Padding struct {
	Mode string
	// Rows and Cols are added before and after, for ZeroPadding2D.
	Rows, Cols [2]int
}

// UnmarshalJSON reads either form.
func (p *Padding) UnmarshalJSON(b []byte) error {
	if err := json.Unmarshal(b, &p.Mode); err == nil {
		return nil
	}
	var sides [2][2]int
	if err := json.Unmarshal(b, &sides); err != nil {
		return fmt.Errorf("padding: %w", err)
	}
	p.Rows, p.Cols = sides[0], sides[1]
	return nil
}

// Open reads the model in a folder: model.min.js beside the shards
// (group1-shardNofM.min.js) it names.
func Open(dir string) (*Model, error) {
	body, err := readLiteral(filepath.Join(dir, "model.min.js"))
	if err != nil {
		return nil, err
	}
	return Parse(body, func(shard string) ([]byte, error) {
		if strings.ContainsAny(shard, `/\`) || strings.HasPrefix(shard, ".") {
			return nil, fmt.Errorf("%w: shard named %q", ErrBundle, shard)
		}
		return readShard(filepath.Join(dir, shard+".min.js"))
	})
}

func readLiteral(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open bundle: %w", err)
	}
	defer f.Close()
	src, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read bundle %s: %w", path, err)
	}
	if len(src) > maxFile {
		return nil, fmt.Errorf("%w: %s is over %d bytes", ErrBundle, path, maxFile)
	}
	body, err := Literal(src)
	if err != nil {
		return nil, fmt.Errorf("read bundle %s: %w", path, err)
	}
	return body, nil
}

// file is the exported object of model.min.js.
type file struct {
	ModelTopology struct {
		ModelConfig struct {
			ClassName string `json:"class_name"`
			Config    struct {
				Name         string            `json:"name"`
				Layers       []fileLayer       `json:"layers"`
				OutputLayers []json.RawMessage `json:"output_layers"`
			} `json:"config"`
		} `json:"model_config"`
	} `json:"modelTopology"`
	WeightsManifest []weightGroup `json:"weightsManifest"`
}

type fileLayer struct {
	Name         string                `json:"name"`
	ClassName    string                `json:"class_name"`
	Config       Config                `json:"config"`
	InboundNodes [][][]json.RawMessage `json:"inbound_nodes"`
}

// Parse builds the model from the exported object, as JSON; shard gives one
// shard's bytes.
func Parse(body []byte, shard func(string) ([]byte, error)) (*Model, error) {
	var f file
	if err := json.Unmarshal(body, &f); err != nil {
		return nil, fmt.Errorf("%w: topology: %w", ErrBundle, err)
	}
	mc := f.ModelTopology.ModelConfig
	if mc.ClassName != "Model" && mc.ClassName != "Functional" {
		return nil, fmt.Errorf("%w: topology of class %q, want Model", ErrBundle, mc.ClassName)
	}
	m := &Model{Name: mc.Config.Name}
	if n := len(mc.Config.Layers); n == 0 || n > maxLayers {
		return nil, fmt.Errorf("%w: %d layers", ErrBundle, n)
	}
	if len(mc.Config.OutputLayers) != 1 {
		return nil, fmt.Errorf("%w: %d outputs, want 1", ErrBundle, len(mc.Config.OutputLayers))
	}
	var err error
	if m.Output, err = endpoint(mc.Config.OutputLayers[0]); err != nil {
		return nil, err
	}
	for _, l := range mc.Config.Layers {
		layer, err := l.layer()
		if err != nil {
			return nil, err
		}
		m.Layers = append(m.Layers, layer)
	}
	if m.Weights, err = readWeights(f.WeightsManifest, shard); err != nil {
		return nil, err
	}
	return m, nil
}

func (l fileLayer) layer() (Layer, error) {
	out := Layer{Name: l.Name, Class: l.ClassName, Config: l.Config}
	if len(l.InboundNodes) > 1 {
		return Layer{}, fmt.Errorf("%w: layer %q is used %d times", ErrBundle, l.Name, len(l.InboundNodes))
	}
	for _, node := range l.InboundNodes {
		for _, in := range node {
			var name string
			if len(in) < 3 || json.Unmarshal(in[0], &name) != nil {
				return Layer{}, fmt.Errorf("%w: input of layer %q", ErrBundle, l.Name)
			}
			out.Inputs = append(out.Inputs, name)
		}
	}
	return out, nil
}

// endpoint reads a ["layer", 0, 0] reference.
func endpoint(b json.RawMessage) (string, error) {
	var ref []any
	if err := json.Unmarshal(b, &ref); err == nil && len(ref) == 3 {
		if name, ok := ref[0].(string); ok {
			return name, nil
		}
	}
	return "", fmt.Errorf("%w: output reference %.60s", ErrBundle, b)
}

// Package convert turns a Keras layers model into an ONNX graph: channels
// first, batch normalisation folded into the convolution before it, Keras's
// padding spelled out.
package convert

import (
	"errors"
	"fmt"

	"stillwatch/models/keras"
	"stillwatch/models/onnxfile"
)

// opset is ONNX's operator set: 13 is the first with the forms of Clip, Pad
// and Softmax used here, and every runtime since 2021 has it.
const opset = 13

// maxSide bounds the height and width of every value, maxChannels its
// channels, or its numbers when it has no height and width.
const (
	maxSide     = 4096
	maxChannels = 1 << 20
)

// ErrModel says that a model holds something that is not converted.
var ErrModel = errors.New("model cannot be converted")

// Options names the result.
type Options struct {
	// Producer and Version are written into the file.
	Producer, Version string
}

// ONNX converts the model. The graph's input is "input", float32, N×C×H×W;
// its output is "output", float32, N×labels; N is any.
func ONNX(m *keras.Model, opt Options) (onnxfile.Model, error) {
	c := &converter{model: m, values: map[string]value{}, readers: map[string]int{m.Output: 1}}
	for _, l := range m.Layers {
		for _, in := range l.Inputs {
			c.readers[in]++
		}
	}
	for _, l := range m.Layers {
		if err := c.layer(l); err != nil {
			return onnxfile.Model{}, fmt.Errorf("%w: layer %q (%s): %w", ErrModel, l.Name, l.Class, err)
		}
	}
	out, ok := c.values[m.Output]
	if !ok || c.input.name == "" {
		return onnxfile.Model{}, fmt.Errorf("%w: no input, or no layer %q", ErrModel, m.Output)
	}
	if !out.flat {
		return onnxfile.Model{}, fmt.Errorf("%w: the output is not one row per picture", ErrModel)
	}
	c.emit("Identity", "output", []string{out.name})
	c.ops[len(c.ops)-1].node.Outputs = []string{"output"}
	return c.file(opt, out), nil
}

// value is what a layer gives: rows of c numbers when flat, else c planes of
// h×w.
type value struct {
	name    string
	c, h, w int
	flat    bool
	// pad is zero padding that the next convolution may take up.
	pad *pads
	// conv is the convolution that gives this value alone, so that a batch
	// normalisation can be folded into it.
	conv *op
}

// op is a node whose weights may still change.
type op struct {
	node onnxfile.Node
	// weight and bias are a convolution's, weight as [out][rest].
	weight, bias []float64
	dims         []int64
}

type converter struct {
	model   *keras.Model
	values  map[string]value
	readers map[string]int
	input   value
	ops     []*op
	tensors []onnxfile.Tensor
}

// layer converts one layer.
func (c *converter) layer(l keras.Layer) error {
	if _, twice := c.values[l.Name]; twice {
		return errors.New("its name is taken")
	}
	if l.Class == "InputLayer" {
		return c.inputLayer(l)
	}
	if f := l.Config.DataFormat; f != "" && f != "channels_last" {
		return fmt.Errorf("data format %q", f)
	}
	in, err := c.inputs(l)
	if err != nil {
		return err
	}
	var out value
	switch l.Class {
	case "Add", "Concatenate":
		out, err = c.join(l, in)
	default:
		if len(in) != 1 {
			return fmt.Errorf("%d inputs, want 1", len(in))
		}
		out, err = c.unary(l, in[0])
	}
	if err != nil {
		return err
	}
	if out.c > maxChannels || out.h > maxSide || out.w > maxSide {
		return fmt.Errorf("gives %d channels of %d×%d", out.c, out.h, out.w)
	}
	c.values[l.Name] = out
	return nil
}

// inputs gives the values that feed a layer, padded unless the layer is one
// that pads by itself.
func (c *converter) inputs(l keras.Layer) ([]value, error) {
	in := make([]value, len(l.Inputs))
	for i, name := range l.Inputs {
		v, ok := c.values[name]
		if !ok {
			return nil, fmt.Errorf("input %q does not come before it", name)
		}
		conv := l.Class == "Conv2D" || l.Class == "DepthwiseConv2D"
		if v.pad != nil && (!conv || l.Config.Padding.Mode != "valid") {
			v = c.padded(l.Name, v)
		}
		in[i] = v
	}
	return in, nil
}

func (c *converter) inputLayer(l keras.Layer) error {
	s := l.Config.BatchInputShape
	if c.input.name != "" || len(s) != 4 || s[1] == nil || s[2] == nil || s[3] == nil {
		return errors.New("want one input of fixed height, width and channels")
	}
	v := value{name: "input", h: *s[1], w: *s[2], c: *s[3]}
	if v.h < 1 || v.w < 1 || v.h > maxSide || v.w > maxSide || v.c < 1 || v.c > 4 {
		return fmt.Errorf("input of %d×%d×%d", v.h, v.w, v.c)
	}
	c.input, c.values[l.Name] = v, v
	return nil
}

func (c *converter) unary(l keras.Layer, in value) (value, error) {
	switch l.Class {
	case "Conv2D", "DepthwiseConv2D":
		return c.conv(l, in)
	case "BatchNormalization":
		return c.batchNorm(l, in)
	case "Dense":
		return c.dense(l, in)
	case "MaxPooling2D", "AveragePooling2D":
		return c.pool(l, in)
	case "GlobalAveragePooling2D":
		return c.flatten(l.Name, c.planes("GlobalAveragePool", l.Name, in, 1, 1)), nil
	case "ReLU":
		return c.relu(l, in)
	case "Activation", "Softmax":
		name := l.Config.Activation
		if l.Class == "Softmax" {
			name = "softmax"
		}
		return c.activation(l.Name, name, in)
	case "ZeroPadding2D":
		return zeroPadding(l, in)
	case "Flatten":
		return c.flatten(l.Name, in), nil
	case "Dropout":
		in.conv = nil // others may read the same value through it
		return in, nil
	}
	return value{}, errors.New("is not supported")
}

// emit adds a node whose output has the node's name, and gives the op.
func (c *converter) emit(kind, name string, in []string, attrs ...onnxfile.Attr) *op {
	o := &op{node: onnxfile.Node{Op: kind, Name: name, Inputs: in, Outputs: []string{name}, Attrs: attrs}}
	c.ops = append(c.ops, o)
	return o
}

// constant adds a tensor and gives its name.
func (c *converter) constant(t onnxfile.Tensor) string {
	c.tensors = append(c.tensors, t)
	return t.Name
}

// file writes the nodes down, convolutions with their final weights.
func (c *converter) file(opt Options, out value) onnxfile.Model {
	batch := onnxfile.Dim{Param: "batch"}
	m := onnxfile.Model{
		Producer: opt.Producer, Version: opt.Version, Opset: opset, Name: c.model.Name,
		Inputs: []onnxfile.Value{{Name: "input", Dims: []onnxfile.Dim{
			batch, {Size: int64(c.input.c)}, {Size: int64(c.input.h)}, {Size: int64(c.input.w)},
		}}},
		Outputs: []onnxfile.Value{{Name: "output", Dims: []onnxfile.Dim{batch, {Size: int64(out.c)}}}},
	}
	for _, o := range c.ops {
		if o.weight != nil {
			o.node.Inputs = append(
				o.node.Inputs,
				c.constant(onnxfile.Tensor{Name: o.node.Name + "/w", Dims: o.dims, Floats: floats(o.weight)}),
				c.constant(onnxfile.Tensor{Name: o.node.Name + "/b", Dims: o.dims[:1], Floats: floats(o.bias)}),
			)
		}
		m.Nodes = append(m.Nodes, o.node)
	}
	m.Tensors = c.tensors
	return m
}

func floats(in []float64) []float32 {
	out := make([]float32, len(in))
	for i, v := range in {
		out[i] = float32(v)
	}
	return out
}

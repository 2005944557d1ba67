package convert

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"stillwatch/models/keras"
	"stillwatch/models/onnxfile"
)

// weight finds a layer's weight and checks its shape; -1 means any size.
func (c *converter) weight(l keras.Layer, name string, shape ...int) (keras.Weight, error) {
	w, ok := c.model.Weights[l.Name+"/"+name]
	if !ok {
		return keras.Weight{}, fmt.Errorf("has no weight %q", name)
	}
	n, fits := 1, len(w.Shape) == len(shape)
	for i := range shape {
		fits = fits && (shape[i] < 0 || shape[i] == w.Shape[i])
	}
	for _, d := range w.Shape {
		n *= d
	}
	if !fits || n != len(w.Data) {
		return keras.Weight{}, fmt.Errorf("weight %q of shape %v, want %v", name, w.Shape, shape)
	}
	return w, nil
}

// bias gives a layer's bias for n channels, zeros when it has none.
func (c *converter) bias(l keras.Layer, n int) ([]float64, error) {
	out := make([]float64, n)
	if l.Config.UseBias != nil && !*l.Config.UseBias {
		return out, nil
	}
	b, err := c.weight(l, "bias", n)
	for i := range b.Data {
		out[i] = float64(b.Data[i])
	}
	return out, err
}

// conv converts a convolution, or a depthwise one, which is a convolution in
// as many groups as there are channels.
func (c *converter) conv(l keras.Layer, in value) (value, error) {
	if in.flat {
		return value{}, errors.New("its input has no rows and columns")
	}
	kernel, group, err := c.kernel(l, in)
	if err != nil {
		return value{}, err
	}
	win, err := newWindow(l.Config, l.Config.KernelSize, in)
	if err != nil {
		return value{}, err
	}
	if kernel.dims[2] != int64(win.size[0]) || kernel.dims[3] != int64(win.size[1]) {
		return value{}, fmt.Errorf("kernel of %v, want %v", kernel.dims[2:], win.size)
	}
	n := int(kernel.dims[0])
	bias, err := c.bias(l, n)
	if err != nil {
		return value{}, err
	}
	o := c.emit("Conv", l.Name, []string{in.name}, append(win.attrs(),
		onnxfile.Ints("dilations", int64(win.dilation[0]), int64(win.dilation[1])), onnxfile.Int("group", int64(group)))...)
	o.weight, o.bias, o.dims = kernel.weight, bias, kernel.dims
	out := value{name: l.Name, c: n, h: win.out[0], w: win.out[1]}
	if a := l.Config.Activation; a != "" && a != "linear" {
		return c.activation(l.Name+"/activation", a, out)
	}
	if c.readers[l.Name] == 1 {
		out.conv = o
	}
	return out, nil
}

// kernel gives a convolution's weights with output channels first.
func (c *converter) kernel(l keras.Layer, in value) (op, int, error) {
	if l.Class == "DepthwiseConv2D" {
		k, err := c.weight(l, "depthwise_kernel", -1, -1, in.c, -1)
		if err != nil {
			return op{}, 0, err
		}
		// [h][w][in][multiplier]: the two last are the output's channels.
		n := k.Shape[2] * k.Shape[3]
		return transposed(k, n, 1), in.c, nil
	}
	k, err := c.weight(l, "kernel", -1, -1, in.c, -1)
	if err != nil {
		return op{}, 0, err
	}
	return transposed(k, k.Shape[3], in.c), 1, nil
}

// transposed reorders [h][w][in][out] to [out][in][h][w].
func transposed(k keras.Weight, out, in int) op {
	h, w := k.Shape[0], k.Shape[1]
	o := op{weight: make([]float64, len(k.Data)), dims: []int64{int64(out), int64(in), int64(h), int64(w)}}
	for at, v := range k.Data {
		f, i, xy := at%out, at/out%in, at/out/in
		o.weight[(f*in+i)*h*w+xy] = float64(v)
	}
	return o
}

// batchNorm folds y = (x-mean)*gamma/sqrt(variance+epsilon) + beta into the
// convolution that gives x, or adds a node of its own.
func (c *converter) batchNorm(l keras.Layer, in value) (value, error) {
	if a := l.Config.Axis; a != -1 && a != 3 && !(in.flat && a == 1) {
		return value{}, fmt.Errorf("axis %d", a)
	}
	part := [4][]float64{}
	for i, p := range []struct {
		name string
		used bool
		none float64
	}{
		{"gamma", l.Config.Scale == nil || *l.Config.Scale, 1},
		{"beta", l.Config.Center == nil || *l.Config.Center, 0},
		{"moving_mean", true, 0},
		{"moving_variance", true, 0},
	} {
		part[i] = slices.Repeat([]float64{p.none}, in.c)
		if !p.used {
			continue
		}
		w, err := c.weight(l, p.name, in.c)
		if err != nil {
			return value{}, err
		}
		for j, v := range w.Data {
			part[i][j] = float64(v)
		}
	}
	if in.conv == nil {
		return c.batchNormNode(l, in, part), nil
	}
	gamma, beta, mean, variance := part[0], part[1], part[2], part[3]
	each := len(in.conv.weight) / in.c
	for i := range in.c {
		s := gamma[i] / math.Sqrt(variance[i]+l.Config.Epsilon)
		for j := range each {
			in.conv.weight[i*each+j] *= s
		}
		// The conversion keeps compilers from fusing product and sum, which
		// would give other bytes on other machines.
		in.conv.bias[i] = float64((in.conv.bias[i]-mean[i])*s) + beta[i]
	}
	return value{name: in.name, c: in.c, h: in.h, w: in.w}, nil
}

func (c *converter) batchNormNode(l keras.Layer, in value, part [4][]float64) value {
	inputs := []string{in.name}
	for i, p := range part {
		inputs = append(inputs, c.constant(onnxfile.Tensor{
			Name: fmt.Sprintf("%s/%d", l.Name, i), Dims: []int64{int64(in.c)}, Floats: floats(p),
		}))
	}
	c.emit("BatchNormalization", l.Name, inputs, onnxfile.Float("epsilon", float32(l.Config.Epsilon)))
	return value{name: l.Name, c: in.c, h: in.h, w: in.w, flat: in.flat}
}

// dense converts a fully connected layer.
func (c *converter) dense(l keras.Layer, in value) (value, error) {
	if !in.flat {
		return value{}, errors.New("its input is not flat")
	}
	k, err := c.weight(l, "kernel", in.c, -1)
	if err != nil {
		return value{}, err
	}
	n := k.Shape[1]
	b, err := c.bias(l, n)
	if err != nil {
		return value{}, err
	}
	c.emit("Gemm", l.Name, []string{
		in.name,
		c.constant(onnxfile.Tensor{Name: l.Name + "/w", Dims: []int64{int64(in.c), int64(n)}, Floats: k.Data}),
		c.constant(onnxfile.Tensor{Name: l.Name + "/b", Dims: []int64{int64(n)}, Floats: floats(b)}),
	})
	return c.activation(l.Name+"/activation", l.Config.Activation, value{name: l.Name, c: n, flat: true})
}

// relu converts a rectifier, with its ceiling if it has one.
func (c *converter) relu(l keras.Layer, in value) (value, error) {
	cfg := l.Config
	if cfg.Threshold != 0 || cfg.NegativeSlope != 0 {
		return value{}, errors.New("has a threshold or slope")
	}
	if cfg.MaxValue == nil {
		return c.activation(l.Name, "relu", in)
	}
	return c.clip(l.Name, *cfg.MaxValue, in), nil
}

func (c *converter) clip(name string, top float64, in value) value {
	c.emit("Clip", name, []string{
		in.name,
		c.constant(onnxfile.Tensor{Name: name + "/min", Floats: []float32{0}}),
		c.constant(onnxfile.Tensor{Name: name + "/max", Floats: []float32{float32(top)}}),
	})
	in.name, in.conv = name, nil
	return in
}

// activation adds the node of a named activation; "linear" adds none.
func (c *converter) activation(name, kind string, in value) (value, error) {
	out := in
	out.name, out.conv = name, nil
	switch kind {
	case "", "linear":
		return in, nil
	case "relu":
		c.emit("Relu", name, []string{in.name})
	case "relu6":
		return c.clip(name, 6, in), nil
	case "sigmoid":
		c.emit("Sigmoid", name, []string{in.name})
	case "softmax":
		c.emit("Softmax", name, []string{in.name}, onnxfile.Int("axis", 1))
	default:
		return value{}, fmt.Errorf("activation %q", kind)
	}
	return out, nil
}

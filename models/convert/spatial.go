package convert

import (
	"errors"
	"fmt"

	"stillwatch/models/keras"
	"stillwatch/models/onnxfile"
)

// pads are rows and columns of zeros around each plane.
type pads struct{ top, left, bottom, right int }

func (p pads) ints() []int64 {
	return []int64{int64(p.top), int64(p.left), int64(p.bottom), int64(p.right)}
}

// window is how a convolution or pooling moves over its input; pairs are
// rows, columns.
type window struct {
	size, stride, dilation, out [2]int
	pad                         pads
}

// newWindow works out a window's padding and output size by Keras's rules:
// "same" gives ceil(in/stride) and puts the odd zero behind, "valid" adds
// nothing but what a ZeroPadding2D before it left.
func newWindow(cfg keras.Config, size []int, in value) (window, error) {
	w := window{stride: [2]int{1, 1}, dilation: [2]int{1, 1}}
	for _, p := range []struct {
		name string
		from []int
		to   *[2]int
	}{{"window", size, &w.size}, {"strides", cfg.Strides, &w.stride}, {"dilation", cfg.DilationRate, &w.dilation}} {
		if p.from == nil && p.name != "window" {
			continue
		}
		if len(p.from) != 2 || min(p.from[0], p.from[1]) < 1 || max(p.from[0], p.from[1]) > maxSide {
			return window{}, fmt.Errorf("%s of %v", p.name, p.from)
		}
		*p.to = [2]int{p.from[0], p.from[1]}
	}
	side := [2]int{in.h, in.w}
	if in.pad != nil {
		w.pad = *in.pad
	}
	before, after := [2]int{w.pad.top, w.pad.left}, [2]int{w.pad.bottom, w.pad.right}
	for i := range side {
		reach := (w.size[i]-1)*w.dilation[i] + 1
		switch cfg.Padding.Mode {
		case "same":
			total := max(0, ((side[i]+w.stride[i]-1)/w.stride[i]-1)*w.stride[i]+reach-side[i])
			before[i], after[i] = total/2, total-total/2
		case "valid":
		default:
			return window{}, fmt.Errorf("padding %q", cfg.Padding.Mode)
		}
		room := side[i] + before[i] + after[i] - reach
		if room < 0 {
			return window{}, fmt.Errorf("window of %d over %d", reach, side[i])
		}
		w.out[i] = room/w.stride[i] + 1
	}
	w.pad = pads{top: before[0], left: before[1], bottom: after[0], right: after[1]}
	return w, nil
}

func (w window) attrs() []onnxfile.Attr {
	return []onnxfile.Attr{
		onnxfile.Ints("kernel_shape", int64(w.size[0]), int64(w.size[1])),
		onnxfile.Ints("strides", int64(w.stride[0]), int64(w.stride[1])),
		onnxfile.Ints("pads", w.pad.ints()...),
	}
}

// pool converts a pooling layer. Averages leave padding out, as Keras's do.
func (c *converter) pool(l keras.Layer, in value) (value, error) {
	if in.flat {
		return value{}, errors.New("its input has no rows and columns")
	}
	w, err := newWindow(l.Config, l.Config.PoolSize, in)
	if err != nil {
		return value{}, err
	}
	kind, attrs := "MaxPool", w.attrs()
	if l.Class == "AveragePooling2D" {
		kind = "AveragePool"
		if w.size == [2]int{in.h, in.w} && w.pad == (pads{}) {
			return c.planes("GlobalAveragePool", l.Name, in, 1, 1), nil
		}
		attrs = append(attrs, onnxfile.Int("count_include_pad", 0))
	}
	return c.planes(kind, l.Name, in, w.out[0], w.out[1], attrs...), nil
}

// planes adds a node that keeps the channels and gives planes of h×w.
func (c *converter) planes(kind, name string, in value, h, w int, attrs ...onnxfile.Attr) value {
	c.emit(kind, name, []string{in.name}, attrs...)
	return value{name: name, c: in.c, h: h, w: w}
}

// zeroPadding leaves the padding to whatever reads it.
func zeroPadding(l keras.Layer, in value) (value, error) {
	p := l.Config.Padding
	for _, n := range []int{p.Rows[0], p.Rows[1], p.Cols[0], p.Cols[1]} {
		if n < 0 || n > maxSide {
			return value{}, fmt.Errorf("padding %v %v", p.Rows, p.Cols)
		}
	}
	if in.flat || p.Mode != "" {
		return value{}, errors.New("pads no planes")
	}
	in.conv = nil
	in.pad = &pads{top: p.Rows[0], bottom: p.Rows[1], left: p.Cols[0], right: p.Cols[1]}
	return in, nil
}

// padded adds a node that carries pending padding out.
func (c *converter) padded(reader string, in value) value {
	p := in.pad
	name := in.name + "/pad/" + reader
	amounts := c.constant(onnxfile.Tensor{Name: name + "/amounts", Dims: []int64{8}, Ints: []int64{
		0, 0, int64(p.top), int64(p.left), 0, 0, int64(p.bottom), int64(p.right),
	}})
	return c.planes("Pad", name, value{name: in.name, c: in.c}, in.h+p.top+p.bottom, in.w+p.left+p.right).reading(c, amounts)
}

// reading gives the last node one more input.
func (v value) reading(c *converter, name string) value {
	n := &c.ops[len(c.ops)-1].node
	n.Inputs = append(n.Inputs, name)
	return v
}

// flatten makes one row per picture, in Keras's order: rows, columns,
// channels.
func (c *converter) flatten(name string, in value) value {
	if in.flat {
		return in
	}
	from := in.name
	if in.h*in.w > 1 {
		from = name + "/channels_last"
		c.emit("Transpose", from, []string{in.name}, onnxfile.Ints("perm", 0, 2, 3, 1))
	}
	c.emit("Flatten", name+"/flat", []string{from}, onnxfile.Int("axis", 1))
	return value{name: name + "/flat", c: in.c * in.h * in.w, flat: true}
}

// join converts layers of several inputs.
func (c *converter) join(l keras.Layer, in []value) (value, error) {
	if len(in) < 2 {
		return value{}, fmt.Errorf("%d inputs, want two or more", len(in))
	}
	out := value{name: l.Name, c: in[0].c, h: in[0].h, w: in[0].w, flat: in[0].flat}
	names := []string{in[0].name}
	for _, v := range in[1:] {
		if v.h != out.h || v.w != out.w || v.flat != out.flat || l.Class == "Add" && v.c != out.c {
			return value{}, errors.New("its inputs differ in shape")
		}
		names = append(names, v.name)
		if l.Class == "Concatenate" {
			out.c += v.c
		}
	}
	if l.Class == "Add" {
		c.emit("Sum", l.Name, names)
		if len(in) == 2 {
			c.ops[len(c.ops)-1].node.Op = "Add"
		}
		return out, nil
	}
	if a := l.Config.Axis; a != -1 && !(a == 3 && !out.flat) && !(a == 1 && out.flat) {
		return value{}, fmt.Errorf("axis %d", a)
	}
	c.emit("Concat", l.Name, names, onnxfile.Int("axis", 1))
	return out, nil
}

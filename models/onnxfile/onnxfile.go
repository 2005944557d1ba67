// Package onnxfile writes ONNX model files (onnx.proto3, IR version 8): just
// the fields a feed-forward network needs, in a fixed order, so that equal
// models are equal bytes.
package onnxfile

import (
	"encoding/binary"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// irVersion is ONNX's intermediate representation of 2021, which every
// runtime of the last years reads.
const irVersion = 8

// Element types of onnx.proto3's TensorProto.DataType.
const (
	elemFloat = 1
	elemUint8 = 2
	elemInt64 = 7
)

// Model is a model file's content.
type Model struct {
	// Producer and Version name what wrote the file.
	Producer, Version string
	// Opset is the version of the default operator set.
	Opset int64
	// Name is the graph's.
	Name string
	// Inputs and Outputs are the graph's.
	Inputs, Outputs []Value
	// Nodes stand in an order in which each one's inputs come before it.
	Nodes []Node
	// Tensors are the constants.
	Tensors []Tensor
}

// Value is a named input or output, of float32 or, with Uint8 set, of bytes.
type Value struct {
	Name  string
	Uint8 bool
	Dims  []Dim
}

// Dim is one dimension: a number, or a name when it may vary.
type Dim struct {
	Param string
	Size  int64
}

// Node is one operation.
type Node struct {
	Op, Name        string
	Inputs, Outputs []string
	Attrs           []Attr
}

// Attr is an attribute of a node: one integer, one float or a list of
// integers. Make it with Int, Float or Ints.
type Attr struct {
	name string
	kind int // AttributeProto.AttributeType
	i    int64
	f    float32
	ints []int64
}

// AttributeProto.AttributeType.
const (
	attrFloat = 1
	attrInt   = 2
	attrInts  = 7
)

// Int is an integer attribute.
func Int(name string, v int64) Attr { return Attr{name: name, kind: attrInt, i: v} }

// Float is a float attribute.
func Float(name string, v float32) Attr { return Attr{name: name, kind: attrFloat, f: v} }

// Ints is an attribute holding a list of integers.
func Ints(name string, v ...int64) Attr { return Attr{name: name, kind: attrInts, ints: v} }

// Tensor is a constant: of Floats, or of Ints when Floats is nil. The length
// is the product of Dims.
type Tensor struct {
	Name   string
	Dims   []int64
	Floats []float32
	Ints   []int64
}

// Marshal gives the file's bytes.
func (m Model) Marshal() []byte {
	var b []byte
	b = varint(b, 1, irVersion)
	b = text(b, 2, m.Producer)
	b = text(b, 3, m.Version)
	b = message(b, 7, m.graph())
	b = message(b, 8, varint(text(nil, 1, ""), 2, uint64(m.Opset)))
	return b
}

func (m Model) graph() []byte {
	var b []byte
	for _, n := range m.Nodes {
		b = message(b, 1, n.marshal())
	}
	b = text(b, 2, m.Name)
	for _, t := range m.Tensors {
		b = message(b, 5, t.marshal())
	}
	for _, v := range m.Inputs {
		b = message(b, 11, v.marshal())
	}
	for _, v := range m.Outputs {
		b = message(b, 12, v.marshal())
	}
	return b
}

func (n Node) marshal() []byte {
	var b []byte
	for _, s := range n.Inputs {
		b = text(b, 1, s)
	}
	for _, s := range n.Outputs {
		b = text(b, 2, s)
	}
	b = text(b, 3, n.Name)
	b = text(b, 4, n.Op)
	for _, a := range n.Attrs {
		b = message(b, 5, a.marshal())
	}
	return b
}

func (a Attr) marshal() []byte {
	b := text(nil, 1, a.name)
	switch a.kind {
	case attrFloat:
		b = protowire.AppendTag(b, 2, protowire.Fixed32Type)
		b = protowire.AppendFixed32(b, math.Float32bits(a.f))
	case attrInt:
		b = varint(b, 3, uint64(a.i))
	case attrInts:
		for _, v := range a.ints {
			b = varint(b, 8, uint64(v))
		}
	}
	return varint(b, 20, uint64(a.kind))
}

func (t Tensor) marshal() []byte {
	var b []byte
	for _, d := range t.Dims {
		b = varint(b, 1, uint64(d))
	}
	kind, raw := elemFloat, make([]byte, 0, 4*len(t.Floats)+8*len(t.Ints))
	for _, v := range t.Floats {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
	}
	if t.Floats == nil {
		kind = elemInt64
		for _, v := range t.Ints {
			raw = binary.LittleEndian.AppendUint64(raw, uint64(v))
		}
	}
	b = varint(b, 2, uint64(kind))
	b = text(b, 8, t.Name)
	return message(b, 9, raw)
}

func (v Value) marshal() []byte {
	var shape []byte
	for _, d := range v.Dims {
		if d.Param != "" {
			shape = message(shape, 1, text(nil, 2, d.Param))
			continue
		}
		shape = message(shape, 1, varint(nil, 1, uint64(d.Size)))
	}
	elem := uint64(elemFloat)
	if v.Uint8 {
		elem = elemUint8
	}
	tensor := message(varint(nil, 1, elem), 2, shape)
	return message(text(nil, 1, v.Name), 2, message(nil, 1, tensor))
}

func varint(b []byte, field protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), v)
}

func text(b []byte, field protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), s)
}

func message(b []byte, field protowire.Number, body []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), body)
}

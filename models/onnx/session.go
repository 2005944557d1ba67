//go:build cgo

package onnx

import (
	"fmt"

	ort "github.com/yalue/onnxruntime_go"

	"stillwatch/models"
)

// sessionOptions sets what was measured to be fastest for one picture on one
// thread of a busy machine: no thread pools, no spinning.
func sessionOptions(opt Options) (so *ort.SessionOptions, err error) {
	if so, err = ort.NewSessionOptions(); err != nil {
		return nil, fmt.Errorf("make session options: %w", err)
	}
	for _, set := range []func() error{
		func() error { return so.SetIntraOpNumThreads(opt.Threads) },
		func() error { return so.SetInterOpNumThreads(1) },
		func() error { return so.SetExecutionMode(ort.ExecutionModeSequential) },
		func() error { return so.SetGraphOptimizationLevel(ort.GraphOptimizationLevelEnableAll) },
		func() error { return so.SetMemPattern(true) },
		func() error { return so.AddSessionConfigEntry("session.intra_op.allow_spinning", "0") },
		func() error { return so.AddSessionConfigEntry("session.inter_op.allow_spinning", "0") },
		func() error { return appendCUDA(so, opt.CUDA) },
	} {
		if err := set(); err != nil {
			so.Destroy()
			return nil, fmt.Errorf("set session options: %w", err)
		}
	}
	return so, nil
}

func appendCUDA(so *ort.SessionOptions, on bool) error {
	if !on {
		return nil
	}
	cuda, err := ort.NewCUDAProviderOptions()
	if err != nil {
		return fmt.Errorf("this inference runtime has no CUDA: %w", err)
	}
	defer cuda.Destroy()
	return so.AppendExecutionProviderCUDA(cuda)
}

// ends finds the graph's input and output and holds them against the
// manifest.
func ends(m models.Manifest, body []byte) (in, out string, err error) {
	inputs, outputs, err := ort.GetInputOutputInfoWithONNXData(body)
	if err != nil {
		return "", "", fmt.Errorf("read graph: %w", err)
	}
	input, err := pick(inputs, m.Input.Name)
	if err != nil {
		return "", "", fmt.Errorf("input: %w", err)
	}
	output, err := pick(outputs, m.Output.Name)
	if err != nil {
		return "", "", fmt.Errorf("output: %w", err)
	}
	dtype := ort.TensorElementDataType(ort.TensorElementDataTypeFloat)
	want := dtype
	if m.Input.DType == "uint8" {
		want = ort.TensorElementDataTypeUint8
	}
	n := int64(m.Input.Size)
	shape := []int64{1, 3, n, n}
	if m.Input.Layout == models.NHWC {
		shape = []int64{1, n, n, 3}
	}
	if input.DataType != want || !fits(input.Dimensions, shape) {
		return "", "", fmt.Errorf("%w: input is %s, want %s of %v", errShape, &input, want, shape)
	}
	if labels := []int64{1, int64(len(m.Labels))}; output.DataType != dtype || !fits(output.Dimensions, labels) {
		return "", "", fmt.Errorf("%w: output is %s, want %s of %v", errShape, &output, dtype, labels)
	}
	return input.Name, output.Name, nil
}

// pick finds the end called name, or the only one if name is empty.
func pick(all []ort.InputOutputInfo, name string) (ort.InputOutputInfo, error) {
	for _, e := range all {
		if e.Name == name || name == "" && len(all) == 1 {
			return e, nil
		}
	}
	return ort.InputOutputInfo{}, fmt.Errorf("%w: graph has %v, manifest names %q", errShape, all, name)
}

// fits holds a graph's dimensions, where a negative one is free, against a
// shape.
func fits(dims ort.Shape, want []int64) bool {
	if len(dims) != len(want) {
		return false
	}
	for i := range want {
		if dims[i] >= 0 && dims[i] != want[i] {
			return false
		}
	}
	return true
}

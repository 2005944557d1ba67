package keras

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
)

// maxWeights bounds a model's weights, in numbers: 4 times Inception V3's.
const maxWeights = 100_000_000

// Weight is a tensor of weights in Keras's layout.
type Weight struct {
	Shape []int
	Data  []float32
}

type weightGroup struct {
	Paths   []string      `json:"paths"`
	Weights []weightEntry `json:"weights"`
}

type weightEntry struct {
	Name         string        `json:"name"`
	Shape        []int         `json:"shape"`
	DType        string        `json:"dtype"`
	Quantization *quantization `json:"quantization"`
}

// quantization says that the number q stands for q*Scale + Min.
type quantization struct {
	Min   float64 `json:"min"`
	Scale float64 `json:"scale"`
	DType string  `json:"dtype"`
}

// readShard decodes a shard's bundle: one base64 string.
func readShard(path string) ([]byte, error) {
	body, err := readLiteral(path)
	if err != nil {
		return nil, err
	}
	var text string
	if err := json.Unmarshal(body, &text); err != nil {
		return nil, fmt.Errorf("%w: shard %s is not a string", ErrBundle, path)
	}
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("%w: shard %s: %w", ErrBundle, path, err)
	}
	return data, nil
}

// readWeights cuts the joined shards of each group into its tensors.
func readWeights(groups []weightGroup, shard func(string) ([]byte, error)) (map[string]Weight, error) {
	out := map[string]Weight{}
	left := maxWeights
	for _, g := range groups {
		data, err := g.read(shard)
		if err != nil {
			return nil, err
		}
		for _, e := range g.Weights {
			n, err := e.count(left)
			if err != nil {
				return nil, err
			}
			size, err := e.width()
			if err != nil {
				return nil, err
			}
			if len(data) < n*size {
				return nil, fmt.Errorf("%w: shards end inside weight %q", ErrBundle, e.Name)
			}
			if _, twice := out[e.Name]; twice {
				return nil, fmt.Errorf("%w: weight %q twice", ErrBundle, e.Name)
			}
			left -= n
			out[e.Name] = Weight{Shape: e.Shape, Data: e.decode(data[:n*size], size)}
			data = data[n*size:]
		}
		if len(data) != 0 {
			return nil, fmt.Errorf("%w: %d bytes behind the last weight", ErrBundle, len(data))
		}
	}
	return out, nil
}

// read joins a group's shards.
func (g weightGroup) read(shard func(string) ([]byte, error)) ([]byte, error) {
	if len(g.Paths) > maxShards {
		return nil, fmt.Errorf("%w: %d shards", ErrBundle, len(g.Paths))
	}
	var data []byte
	for _, p := range g.Paths {
		b, err := shard(p)
		if err != nil {
			return nil, err
		}
		data = append(data, b...)
	}
	return data, nil
}

// count is how many numbers the tensor has, at most limit.
func (e weightEntry) count(limit int) (int, error) {
	n := 1
	for _, d := range e.Shape {
		if d <= 0 || d > limit || n > limit/d {
			return 0, fmt.Errorf("%w: weight %q of shape %v", ErrBundle, e.Name, e.Shape)
		}
		n *= d
	}
	return n, nil
}

// width is the bytes of one stored number.
func (e weightEntry) width() (int, error) {
	switch {
	case e.DType != "float32":
	case e.Quantization == nil:
		return 4, nil
	case e.Quantization.DType == "uint8":
		return 1, nil
	case e.Quantization.DType == "uint16":
		return 2, nil
	}
	return 0, fmt.Errorf("%w: weight %q is neither float32 nor quantised to uint8 or uint16", ErrBundle, e.Name)
}

func (e weightEntry) decode(b []byte, size int) []float32 {
	out := make([]float32, len(b)/size)
	for i := range out {
		switch size {
		case 1:
			out[i] = e.Quantization.value(float64(b[i]))
		case 2:
			out[i] = e.Quantization.value(float64(binary.LittleEndian.Uint16(b[2*i:])))
		default:
			out[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
		}
	}
	return out
}

// value rounds after the product and after the sum, as the original does;
// the conversion keeps compilers from fusing the two.
func (q *quantization) value(v float64) float32 {
	return float32(float64(v*q.Scale) + q.Min)
}

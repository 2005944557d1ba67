//go:build cgo

package onnx

import (
	"context"
	"fmt"
	"sync"
	"time"

	ort "github.com/yalue/onnxruntime_go"

	"stillwatch/internal/event"
	"stillwatch/models"
)

// pool is a models.Classifier: one loaded network and a fixed number of
// places at it, each with tensors of its own. A run works on its caller's
// thread, so places are what one-thread sessions would be, but the weights
// are in memory once.
type pool struct {
	manifest models.Manifest
	fill     *models.Filler
	net      *ort.DynamicAdvancedSession
	wait     time.Duration
	places   int

	free chan *place
	shut chan struct{} // closed by Close
	once sync.Once
	err  error // of Close
}

// place is one picture's tensors, bound to the network.
type place struct {
	floats *ort.Tensor[float32] // nil if the input is bytes
	bytes  *ort.Tensor[uint8]
	out    *ort.Tensor[float32]
	bind   *ort.IoBinding
}

func newPool(m models.Manifest, body []byte, opt Options) (*pool, error) {
	in, out, err := ends(m, body)
	if err != nil {
		return nil, err
	}
	so, err := sessionOptions(opt)
	if err != nil {
		return nil, err
	}
	defer so.Destroy()
	net, err := ort.NewDynamicAdvancedSessionWithONNXData(body, []string{in}, []string{out}, so)
	if err != nil {
		return nil, fmt.Errorf("create session: %w", err)
	}
	p := &pool{
		manifest: m, fill: models.NewFiller(m), net: net, wait: opt.Wait, places: opt.Sessions,
		free: make(chan *place, opt.Sessions), shut: make(chan struct{}),
	}
	for range opt.Sessions {
		pl, err := newPlace(m, net, in, out)
		if err != nil {
			p.places = len(p.free)
			p.Close()
			return nil, err
		}
		p.free <- pl
	}
	return p, nil
}

// newPlace makes one place's tensors and binds them.
func newPlace(m models.Manifest, net *ort.DynamicAdvancedSession, in, out string) (pl *place, err error) {
	pl = &place{}
	defer func() {
		if err != nil {
			pl.destroy()
			err = fmt.Errorf("bind tensors: %w", err)
		}
	}()
	n := int64(m.Input.Size)
	shape := ort.NewShape(1, 3, n, n)
	if m.Input.Layout == models.NHWC {
		shape = ort.NewShape(1, n, n, 3)
	}
	var input ort.Value
	if m.Input.DType == "uint8" {
		if pl.bytes, err = ort.NewEmptyTensor[uint8](shape); err != nil {
			return nil, err
		}
		input = pl.bytes
	} else {
		if pl.floats, err = ort.NewEmptyTensor[float32](shape); err != nil {
			return nil, err
		}
		input = pl.floats
	}
	if pl.out, err = ort.NewEmptyTensor[float32](ort.NewShape(1, int64(len(m.Labels)))); err != nil {
		return nil, err
	}
	if pl.bind, err = net.CreateIoBinding(); err != nil {
		return nil, err
	}
	if err = pl.bind.BindInput(in, input); err != nil {
		return nil, err
	}
	return pl, pl.bind.BindOutput(out, pl.out)
}

func (pl *place) destroy() {
	if pl.bind != nil {
		_ = pl.bind.Destroy() // cannot fail
	}
	if pl.floats != nil {
		_ = pl.floats.Destroy()
	}
	if pl.bytes != nil {
		_ = pl.bytes.Destroy()
	}
	if pl.out != nil {
		_ = pl.out.Destroy()
	}
}

// Manifest says which model this is.
func (p *pool) Manifest() models.Manifest { return p.manifest }

// Classify scores one picture; see models.Classifier.
func (p *pool) Classify(ctx context.Context, rgb []byte) ([]event.Score, error) {
	pl, err := p.take(ctx)
	if err != nil {
		return nil, fmt.Errorf("classify with %s: %w", p.manifest.Name, err)
	}
	defer func() { p.free <- pl }()
	if err := p.run(pl, rgb); err != nil {
		return nil, fmt.Errorf("classify with %s: %w", p.manifest.Name, err)
	}
	return p.manifest.Scores(pl.out.GetData())
}

// take waits for a free place.
func (p *pool) take(ctx context.Context) (*place, error) {
	select {
	case <-p.shut:
		return nil, models.ErrClosed
	default:
	}
	select {
	case pl := <-p.free:
		return pl, nil
	default:
	}
	late := time.NewTimer(p.wait)
	defer late.Stop()
	select {
	case pl := <-p.free:
		return pl, nil
	case <-p.shut:
		return nil, models.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-late.C:
		return nil, models.ErrBusy
	}
}

func (p *pool) run(pl *place, rgb []byte) error {
	var err error
	if pl.bytes != nil {
		err = p.fill.FillBytes(pl.bytes.GetData(), rgb)
	} else {
		err = p.fill.Fill(pl.floats.GetData(), rgb)
	}
	if err != nil {
		return err
	}
	return p.net.RunWithBinding(pl.bind)
}

// Close waits until every place is free, then frees the network. It may be
// called twice.
func (p *pool) Close() error {
	p.once.Do(func() {
		close(p.shut)
		for range p.places {
			(<-p.free).destroy()
		}
		p.err = p.net.Destroy()
	})
	return p.err
}

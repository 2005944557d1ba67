//go:build cgo && linux

package picture

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"time"

	"stillwatch/capture/still"
	"stillwatch/internal/event"
)

// Floor measures the least that a picture can cost: the bare C calls (decode,
// scale, JPEG, tensors; no hand-over, hash or statistics) in a loop in one
// worker, over the keyframes, rounds times after one to warm up. It answers
// the processor time per keyframe. maxHeight 0 does not scale; tensorSizes nil
// means the pool's default.
func Floor(ctx context.Context, codec event.Codec, keyframes [][]byte, maxHeight int, tensorSizes []int, rounds int) (time.Duration, error) {
	batch := 0
	for _, k := range keyframes {
		if err := (still.Request{Codec: codec, Keyframe: k, MaxHeight: maxHeight}).Validate(); err != nil {
			return 0, err
		}
		batch += 4 + len(k) + padding
	}
	if batch == 0 || rounds < 1 {
		return 0, fmt.Errorf("%w: floor of %d keyframes in %d rounds", still.ErrInvalid, len(keyframes), rounds)
	}
	cfg := Config{MaxBytes: batch, TensorSizes: tensorSizes}.withDefaults()
	type result struct {
		perFrame time.Duration
		err      error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // see spawn
		perFrame, err := floor(ctx, cfg, codec, keyframes, maxHeight, rounds)
		done <- result{perFrame, err}
	}()
	r := <-done
	return r.perFrame, r.err
}

func floor(ctx context.Context, cfg Config, codec event.Codec, keyframes [][]byte, maxHeight, rounds int) (time.Duration, error) {
	c, err := spawn(cfg, newLayout(cfg), patience)
	if err != nil {
		return 0, err
	}
	defer c.release()
	defer func() {
		c.kill()
		<-c.exited
	}()
	defer context.AfterFunc(ctx, c.kill)()
	at := 0
	for _, k := range keyframes {
		binary.NativeEndian.PutUint32(c.mem[at:], uint32(len(k)))
		at = c.put(at+4, k)
	}
	req := request{
		Op: opFloor, Codec: codecNumber(codec), Length: uint32(at),
		MaxHeight: uint32(maxHeight), Quality: still.DefaultQuality, Rounds: uint32(rounds),
	}
	res, err := c.exchange(&req, time.Hour, func() time.Duration { return 0 })
	if err == nil {
		err = res.err()
	}
	switch {
	case ctx.Err() != nil:
		return 0, fmt.Errorf("measure the floor: %w", ctx.Err())
	case errors.Is(err, errLost):
		return 0, fmt.Errorf("measure the floor: %w: %w", still.ErrCrashed, err)
	case err != nil:
		return 0, fmt.Errorf("measure the floor: %w", err)
	case res.Frames == 0:
		return 0, fmt.Errorf("measure the floor: %w: no frame", still.ErrInvalid)
	}
	return time.Duration(res.ProcessorNS) / time.Duration(res.Frames), nil
}

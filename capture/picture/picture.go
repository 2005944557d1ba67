// Package picture makes pictures of coded keyframes in sandboxed children.
//
// The children are this very program, started again under another first
// argument: a C constructor takes over before the Go runtime exists, opens
// the decoders, locks the door behind itself (sandbox.c) and serves one
// keyframe at a time over a socket and a shared mapping. What strangers send
// is decoded there and nowhere else.
package picture

import (
	"log/slog"
	"runtime"
	"time"

	"stillwatch/capture/still"
)

// Config of a Pool. The zero value of a field is its default.
type Config struct {
	// Workers is the number of children, default one for each core.
	Workers int
	// Queue is how many requests may wait for a worker before further ones
	// get still.ErrBusy. Default 256.
	Queue int
	// TensorSizes are the sides of the square tensors made of every picture,
	// 1 to 1024, at most four. nil means 224 and 299; an empty slice none.
	TensorSizes []int
	// MaxPixels bounds the decoded frame. Default 4096 * 2304.
	MaxPixels int
	// MaxBytes bounds the coded keyframe. Default 8 MiB.
	MaxBytes int
	// Deadline of one frame, default 500 ms. A worker that a busy machine
	// kept from running gets up to four times as long. After it, it is killed.
	Deadline time.Duration
	// Park is a folder for the bytes of keyframes that killed two workers,
	// at most 64 of them. Empty keeps none; such keyframes are refused anyway.
	Park string
	// Log receives crashes and restarts; default slog.Default().
	Log *slog.Logger

	// debug is passed to the worker: 1 leaves out Landlock, 2 seccomp, and
	// any other bit does nothing but enable debug.c. Tests only.
	debug int
}

func (c Config) withDefaults() Config {
	def := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&c.Workers, runtime.NumCPU())
	def(&c.Queue, 256)
	def(&c.MaxPixels, 4096*2304)
	def(&c.MaxBytes, 8<<20)
	if c.TensorSizes == nil {
		c.TensorSizes = []int{224, 299}
	}
	if c.Deadline <= 0 {
		c.Deadline = 500 * time.Millisecond
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return c
}

// Stats counts what a pool has done since it was made.
type Stats struct {
	// Pictures made, and Refused keyframes that could not be decoded or were
	// against a limit.
	Pictures, Refused uint64
	// Crashes and Deadlines are workers lost over a keyframe or while idle;
	// each cost at most the picture in hand.
	Crashes, Deadlines uint64
	// Starts of workers, the first ones included.
	Starts uint64
	// Parked keyframes, and Busy answers.
	Parked, Busy uint64
	// Working and Waiting requests at this moment.
	Working, Waiting int
	// CPU is the processor time of all workers, dead ones included, their
	// starts included.
	CPU time.Duration
}

// Status says how well the workers are locked in.
type Status struct {
	// Workers that are alive now.
	Workers int
	// Codecs that there are decoders for.
	Codecs int
	// Landlock is the version of the kernel's interface in force in every
	// worker, 0 where the kernel lacks it; LandlockError says why.
	Landlock      int
	LandlockError error
	// Seccomp tells whether the system call filter is in force.
	Seccomp      bool
	SeccompError error
}

var _ still.Imager = (*Pool)(nil)

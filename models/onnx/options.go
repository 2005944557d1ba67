package onnx

import "time"

// DefaultWait is how long a picture waits for a free session.
const DefaultWait = 5 * time.Second

// Options say how a model runs.
type Options struct {
	// Sessions is how many pictures are looked at at once, each on one
	// thread. Default 1.
	Sessions int
	// Threads is how many threads one picture gets. Default 1: several
	// one-thread sessions beat one session of several threads.
	Threads int
	// Wait bounds the waiting for a free session. Default DefaultWait.
	Wait time.Duration
	// CUDA runs the model on the first CUDA device. The runtime must be one
	// that was built with it, else Open fails.
	CUDA bool
}

func (o Options) withDefaults() Options {
	o.Sessions = max(1, o.Sessions)
	o.Threads = max(1, o.Threads)
	if o.Wait <= 0 {
		o.Wait = DefaultWait
	}
	return o
}

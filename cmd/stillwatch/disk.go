package main

import (
	"context"
	"fmt"
	"syscall"
)

// minFree is the room in bytes below which the data folder counts as full:
// soon nothing can be written there, decisions included.
const minFree = 64 << 20

// diskReady tells whether the data folder's disk has room.
func (p *Program) diskReady(context.Context) error { return roomIn(p.cfg.Data.Dir, minFree) }

func roomIn(dir string, need uint64) error {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return fmt.Errorf("look at the disk of %s: %w", dir, err)
	}
	if free := st.Bavail * uint64(st.Bsize); free < need {
		return fmt.Errorf("the disk of %s has %d MiB left, %d are needed", dir, free>>20, need>>20)
	}
	return nil
}

package raw

import (
	"os"

	"golang.org/x/sys/unix"
)

// syncData waits until a file's content is on the medium.
func syncData(f *os.File) error {
	return onFD(f, unix.Fdatasync)
}

// punch gives the space of a part of a file back; it reads as zeros then.
func punch(f *os.File, off, n int64) error {
	return onFD(f, func(fd int) error {
		return unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
	})
}

func onFD(f *os.File, do func(fd int) error) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := c.Control(func(fd uintptr) { failed = do(int(fd)) }); err != nil {
		return err
	}
	return failed
}

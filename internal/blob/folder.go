package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// errNoUnnamed is that the folder's file system has no files without a name.
var errNoUnnamed = errors.New("no files without a name here")

// plain tells whether the object of a key in a folder is the file of that
// name; other keys the library writes in its own way.
func plain(key string) bool {
	return !strings.Contains(key, "__0x") && !strings.HasSuffix(key, ".attrs")
}

// putFile writes an object of a folder. Until it is whole the file has no name
// (O_TMPFILE, open(2)), so that of a writer that is killed nothing is left: the
// library's temporary files, beside the objects, would stay for ever. It returns
// errNoUnnamed, with nothing read of r, where there are no such files.
func (s *Store) putFile(ctx context.Context, key string, r io.Reader, durable bool) error {
	path := filepath.Join(s.dir, filepath.FromSlash(key))
	f, err := unnamed(filepath.Dir(path))
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	if err == nil {
		err = ctx.Err()
	}
	if err == nil && durable {
		err = f.Sync()
	}
	if err == nil {
		err = name(f, path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nameCopy(f, path, durable)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil && durable {
		err = syncFolder(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	return nil
}

// syncFolder has the names in a folder outlive a loss of power, as fsync(2) of
// a file alone does not.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, unix.EINVAL) { // a file system whose folders need none
		err = nil
	}
	return errors.Join(err, d.Close())
}

// unnamed makes a file without a name in a folder, which is made if it is
// missing.
func unnamed(dir string) (*os.File, error) {
	var err error
	for range 3 { // who tidies up may remove a folder that was just made
		if err = os.MkdirAll(dir, 0o700); err != nil {
			break
		}
		var fd int
		if fd, err = unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600); err == nil {
			return os.NewFile(uintptr(fd), dir), nil
		}
		if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EISDIR) || errors.Is(err, unix.EINVAL) {
			return nil, errNoUnnamed
		}
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return nil, fmt.Errorf("make file in %s: %w", dir, err)
}

// temporary is the name of a file that is about to be renamed.
func temporary(path string) string {
	return path + "." + strconv.FormatInt(time.Now().UnixNano(), 16) + ".tmp"
}

// name gives the file its name. What has the name already is replaced, at once.
func name(f *os.File, path string) error {
	self := "/proc/self/fd/" + strconv.Itoa(int(f.Fd()))
	err := unix.Linkat(unix.AT_FDCWD, self, unix.AT_FDCWD, path, unix.AT_SYMLINK_FOLLOW)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	// A link replaces nothing, a renaming does.
	tmp := temporary(path)
	if err := unix.Linkat(unix.AT_FDCWD, self, unix.AT_FDCWD, tmp, unix.AT_SYMLINK_FOLLOW); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		_ = os.Remove(tmp)
		return err
	}
	return nil
}

// nameCopy is name where that finds no way: /proc is not there, or the folder
// was removed by who tidies up. What was read of the body is in f alone, so the
// object is copied from it.
func nameCopy(f *os.File, path string, durable bool) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	tmp := temporary(path)
	out, err := os.OpenFile(tmp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err = f.Seek(0, io.SeekStart); err == nil {
		_, err = io.Copy(out, f)
	}
	if err == nil && durable {
		err = out.Sync()
	}
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		_ = os.Remove(tmp)
	}
	return err
}

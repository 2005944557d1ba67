package blob

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/iotest"
)

// What a killed writer leaves is what can be seen while it writes.
func TestOfAnUnfinishedObjectNothingIsThere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := Open(t.Context(), Config{URL: "file://" + dir, Key: testKey})
	noErr(t, err)
	t.Cleanup(func() { noErr(t, s.Close()) })
	files := func() (names []string) {
		noErr(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				names = append(names, path)
			}
			return err
		}))
		return names
	}
	for _, was := range []string{"", "the old one"} {
		if was != "" {
			noErr(t, s.Put(t.Context(), "a/movie.mp4", []byte(was), ""))
		}
		before := files()
		half, seen := bytes.Repeat([]byte("x"), 100_000), false
		body := io.MultiReader(bytes.NewReader(half), readerFunc(func([]byte) (int, error) {
			if now := files(); len(now) != len(before) {
				t.Errorf("before the object is whole there are %v, want %v", now, before)
			}
			seen = true
			return 0, io.EOF
		}))
		noErr(t, s.PutFrom(t.Context(), "a/movie.mp4", body, ""))
		got, err := s.Get(t.Context(), "a/movie.mp4")
		if noErr(t, err); !seen || !bytes.Equal(got, half) || len(files()) != 1 {
			t.Errorf("%d bytes, files %v", len(got), files())
		}
	}
	broken := errors.New("broken")
	if err := s.PutFrom(t.Context(), "b.mp4", iotest.ErrReader(broken), ""); !errors.Is(err, broken) || len(files()) != 1 {
		t.Errorf("%v, files %v", err, files())
	}
}

// Who tidies up may remove the folder while an object of it is written.
func TestAnObjectIsThereThoughItsFolderWasRemoved(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := Open(t.Context(), Config{URL: "file://" + dir, Key: testKey})
	noErr(t, err)
	t.Cleanup(func() { noErr(t, s.Close()) })
	body := io.MultiReader(bytes.NewReader([]byte("a movie")), readerFunc(func([]byte) (int, error) {
		noErr(t, os.Remove(filepath.Join(dir, "a")))
		return 0, io.EOF
	}))
	noErr(t, s.PutFrom(t.Context(), "a/movie.mp4", body, ""))
	got, err := s.Get(t.Context(), "a/movie.mp4")
	if noErr(t, err); string(got) != "a movie" {
		t.Errorf("there is %q", got)
	}
	if left, err := os.ReadDir(filepath.Join(dir, "a")); err != nil || len(left) != 1 {
		t.Errorf("in its folder: %v, %v", left, err)
	}
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

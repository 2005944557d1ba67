package blob

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"testing"

	"stillwatch/internal/testkit"
)

func TestPartsOverTwoLives(t *testing.T) {
	t.Parallel()
	own := testkit.MinIO(t)
	external := externalS3(t)
	external.Path = "some/path/"
	for name, open := range map[string]func() *Store{
		"own": func() *Store {
			return openStore(t, Config{URL: own.URL(), AccessKey: own.AccessKey, SecretKey: own.SecretKey})
		},
		"external": func() *Store { return openExternal(t, t.Context(), external) },
	} {
		s := open()
		p, err := s.Parts("rec/movie.mp4")
		noErr(t, err)
		id, err := p.Begin(t.Context(), "")
		noErr(t, err)
		one, two := bytes.Repeat([]byte("1"), MinPart), []byte("the end")
		first, err := p.Put(t.Context(), id, 1, one)
		sum := md5.Sum(one)
		if err != nil || first != (Part{1, MinPart, hex.EncodeToString(sum[:])}) {
			t.Fatalf("%s: %+v, %v", name, first, err)
		}
		if ok, err := s.Exists(t.Context(), "rec/movie.mp4"); ok || err != nil {
			t.Errorf("%s: a part of it is there: %v", name, err)
		}

		s = open() // the next life knows the id
		p, err = s.Parts("rec/movie.mp4")
		noErr(t, err)
		there, err := p.List(t.Context(), id)
		if err != nil || len(there) != 1 || there[0] != first {
			t.Fatalf("%s: %+v, %v", name, there, err)
		}
		second, err := p.Put(t.Context(), id, 2, two)
		noErr(t, err)
		noErr(t, p.Finish(t.Context(), id, []Part{first, second}))
		if got, err := s.Get(t.Context(), "rec/movie.mp4"); err != nil || !bytes.Equal(got, append(one, two...)) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		if _, err := p.List(t.Context(), id); !errors.Is(err, ErrNoUpload) {
			t.Errorf("%s: finished: %v", name, err)
		}
		id, err = p.Begin(t.Context(), "")
		noErr(t, err)
		noErr(t, p.Abandon(t.Context(), id))
		noErr(t, p.Abandon(t.Context(), id))
		if _, err := p.Put(t.Context(), id, 1, two); !errors.Is(err, ErrNoUpload) {
			t.Errorf("%s: abandoned: %v", name, err)
		}
	}
	if p, err := openStore(t, Config{URL: "mem://"}).Parts("a"); p != nil || err != nil {
		t.Errorf("memory has parts: %v", err)
	}
	if _, err := openStore(t, Config{URL: "mem://"}).Parts("../a"); !errors.Is(err, ErrBadKey) {
		t.Error(err)
	}
}

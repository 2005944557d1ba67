package mjr

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// readAll reads a file to its end.
func readAll(b []byte) (Info, []Frame, error) {
	r, err := NewReader(bytes.NewReader(b), "x.mjr")
	if err != nil {
		return Info{}, nil, err
	}
	var frames []Frame
	for {
		f, err := r.Next()
		if errors.Is(err, io.EOF) {
			return r.Info(), frames, nil
		}
		if err != nil {
			return r.Info(), frames, err
		}
		f.Data = bytes.Clone(f.Data)
		frames = append(frames, f)
	}
}

func TestReaderReadsWhatWasWritten(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		version := rapid.IntRange(0, 2).Draw(t, "version")
		w := begin(version, header{Kind: "v", Codec: "VP8", Created: 1_600_000_000_000_000, First: 1_600_000_001_000_000})
		var sent [][]byte
		var at, offsets []int64
		for i := range rapid.IntRange(0, 5).Draw(t, "packets") {
			b := rapid.SliceOfN(rapid.Byte(), 0, 2000).Draw(t, "packet")
			offsets = append(offsets, int64(w.Len()))
			w.packet(b, time.Duration(i)*time.Second)
			sent, at = append(sent, b), append(at, int64(i))
		}
		info, got, err := readAll(w.Bytes())
		if err != nil || len(got) != len(sent) {
			t.Fatalf("%d of %d packets, %v", len(got), len(sent), err)
		}
		if info.Version != version || info.Kind != 'v' || info.Codec != "vp8" {
			t.Fatalf("%+v", info)
		}
		if version > 0 && (info.First.Unix() != 1_600_000_001 || info.Created.Unix() != 1_600_000_000) {
			t.Fatalf("%+v", info)
		}
		for i, f := range got {
			if !bytes.Equal(f.Data, sent[i]) || f.Offset != offsets[i] || version == 2 && f.Arrival != time.Duration(at[i])*time.Second {
				t.Fatalf("packet %d: %+v", i, f)
			}
		}
	})
}

func TestReaderReadsTheHead(t *testing.T) {
	t.Parallel()
	w := begin(2, header{
		Kind: "A", Codec: "opus", Fmtp: "useinbandfec=1", Description: "mic", RED: 63, Encrypted: true, First: 5,
		Extensions: map[string]string{"1": audioLevelURI, "15": "no", "0": "no", "x": "no"},
	})
	info, _, err := readAll(w.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if info.Kind != 'a' || info.Fmtp != "useinbandfec=1" || info.Description != "mic" || info.RED != 63 || !info.Encrypted ||
		!info.First.IsZero() || len(info.Extensions) != 1 || info.Extensions[1] != audioLevelURI {
		t.Errorf("%+v", info)
	}
}

// A file that was cut off anywhere gives the packets before, and says where.
func TestReaderToldWhereItIsCut(t *testing.T) {
	t.Parallel()
	w := begin(2, header{Kind: "v", Codec: "vp8"})
	starts := []int{w.Len()}
	for i := range 3 {
		w.packet(make([]byte, 20+i), 0)
		starts = append(starts, w.Len())
	}
	for n := range w.Len() {
		_, got, err := readAll(w.Bytes()[:n])
		whole := 0
		for whole < 3 && starts[whole+1] <= n {
			whole++
		}
		if len(got) != whole {
			t.Fatalf("cut at %d: %d packets", n, len(got))
		}
		if n >= starts[0] && n == starts[whole] {
			if err != nil {
				t.Fatalf("cut at %d, between packets: %v", n, err)
			}
			continue
		}
		var e *Error
		if !errors.As(err, &e) || !errors.Is(err, ErrTruncated) || e.File != "x.mjr" {
			t.Fatalf("cut at %d: %v", n, err)
		}
		if n >= starts[0] && e.Offset != int64(starts[whole]) {
			t.Fatalf("cut at %d: told at %d", n, e.Offset)
		}
	}
}

func TestReaderRefuses(t *testing.T) {
	t.Parallel()
	late := begin(2, header{Kind: "v", Codec: "vp8"})
	late.packet(make([]byte, 12), 8*24*time.Hour)
	marker := begin(2, header{Kind: "v", Codec: "vp8"})
	at := marker.Len()
	marker.packet(make([]byte, 12), 0)
	marker.Bytes()[at] = 'X'
	for want, b := range map[string]string{
		"x.mjr at byte 0: head: cut off":                        "",
		`x.mjr at byte 0: head "RIFF1234": not`:                 "RIFF1234\x00\x00",
		"x.mjr at byte 10: head: cut off":                       "MJR00002\x00\x09{",
		"unexpected end of JSON input":                          "MJR00002\x00\x01{",
		`kind "", codec ""`:                                     "MJR00002\x00\x02{}",
		`head: "sound"`:                                         "MEETECHO\x00\x05sound",
		"arrival after 192h0m0s: not as an mjr file should be":  late.String(),
		fmt.Sprintf(`x.mjr at byte %d: marker "XEET": not`, at): marker.String(),
	} {
		_, _, err := readAll([]byte(b))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
		if !errors.Is(err, ErrFormat) && !errors.Is(err, ErrTruncated) {
			t.Errorf("%q: %v", want, err)
		}
	}
}

func FuzzReader(f *testing.F) {
	for version := range 3 {
		w := begin(version, header{Kind: "v", Codec: "vp8", First: 1_600_000_001_000_000, Extensions: map[string]string{"4": orientationURI}})
		w.packet(make([]byte, 30), time.Second)
		f.Add(w.Bytes())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		_, frames, err := readAll(b)
		var e *Error
		if err != nil && (!errors.As(err, &e) || e.Offset < 0 || e.Offset > int64(len(b))) {
			t.Fatalf("%v", err)
		}
		total := 0
		for _, fr := range frames {
			total += 10 + len(fr.Data)
		}
		if total > len(b) {
			t.Fatalf("%d bytes of %d", total, len(b))
		}
	})
}

package synthetic

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"stillwatch/internal/event"
)

func TestPicturesAreEmbedded(t *testing.T) {
	t.Parallel()
	for _, name := range Pictures() {
		if b, err := Picture(name); err != nil || len(b) < 1000 {
			t.Errorf("Picture(%q) = %d bytes, %v", name, len(b), err)
		}
	}
	if _, err := Picture("cat"); !errors.Is(err, ErrNoPicture) {
		t.Errorf("Picture(cat) = %v, want ErrNoPicture", err)
	}
}

func TestMakeClipEncodesEachCodecOnce(t *testing.T) {
	t.Parallel()
	for _, codec := range []event.Codec{event.VP8, event.VP9, event.H264, event.AV1} {
		t.Run(string(codec), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			cfg := ClipConfig{Picture: "neutral", Codec: codec, Width: 320, Height: 180, Kbps: 300, Takes: 2, Seconds: 1, FPS: 10}
			clip, err := MakeClip(t.Context(), dir, cfg)
			if err != nil {
				t.Fatal(err)
			}
			if len(clip.Frames) != 20 || clip.Take != 10 {
				t.Fatalf("clip holds %d frames, %d a take, want 20 and 10", len(clip.Frames), clip.Take)
			}
			for _, key := range []int{0, 10} {
				if len(clip.Frames[key]) <= 2*len(clip.Frames[key+5]) {
					t.Errorf("frame %d has %d bytes, frame %d %d: the former is no keyframe", key, len(clip.Frames[key]), key+5, len(clip.Frames[key+5]))
				}
			}
			if bytes.Equal(clip.Frames[0], clip.Frames[10]) {
				t.Error("both takes begin with the same picture: the camera looks frozen")
			}
			if a, b, c := clip.Next(0), clip.Next(9), clip.Next(13); a != 10 || b != 10 || c != 0 {
				t.Errorf("next takes begin at %d, %d, %d", a, b, c)
			}
			files, _ := filepath.Glob(filepath.Join(dir, "*"))
			if len(files) != 1 {
				t.Errorf("folder holds %v, want the clip alone", files)
			}
			before, _ := os.Stat(files[0])
			if _, err := MakeClip(t.Context(), dir, cfg); err != nil {
				t.Fatal(err)
			}
			if after, _ := os.Stat(files[0]); !after.ModTime().Equal(before.ModTime()) {
				t.Error("the second call encoded the clip again")
			}
		})
	}
}

func TestMakeClipRefusesUnknownCodec(t *testing.T) {
	t.Parallel()
	if _, err := MakeClip(t.Context(), t.TempDir(), ClipConfig{Picture: "neutral", Codec: "H265"}); err == nil {
		t.Error("MakeClip took H265")
	}
}

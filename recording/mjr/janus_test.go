package mjr

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// probe asks ffprobe for a line about the only stream of a file.
func probe(t *testing.T, path, entries string) string {
	t.Helper()
	out, err := exec.Command("ffprobe", "-v", "error", "-count_frames", "-show_entries", "stream="+entries, "-of", "csv=p=0", path).Output()
	if err != nil {
		t.Fatalf("ffprobe: %v", err)
	}
	return strings.TrimSpace(string(out))
}

// The tool that Janus brings reads the files that our tests make: so they are
// as Janus writes them, and what reads them reads those of Janus.
func TestJanusReadsTheTestsFiles(t *testing.T) {
	t.Parallel()
	tool, err := exec.LookPath("janus-pp-rec")
	if err != nil {
		t.Skip("janus-pp-rec is missing; Debian's janus-tools has it")
	}
	for codec, c := range map[string]struct{ ext, probe string }{
		"vp8": {"webm", "vp8,160,120,25"}, "vp9": {"webm", "vp9,160,120,25"}, "h264": {"mp4", "h264,160,120,25"},
		"av1": {"mp4", "av1,160,120,25"}, "opus": {"opus", "opus"}, "pcmu": {"wav", "pcm_s16le"}, "pcma": {"wav", "pcm_s16le"},
	} {
		t.Run(codec, func(t *testing.T) {
			t.Parallel()
			clip := encode(t, codec)
			if clip.frames < coders[codec].frames-1 {
				t.Fatalf("%d frames", clip.frames)
			}
			for version := range 3 {
				if version == 0 && codec != "vp8" && codec != "opus" {
					continue
				}
				h := header{Created: 1_590_392_549_000_000, First: 1_590_392_549_126_000}
				dir := t.TempDir()
				in, out := clip.mjr(version, h).save(t, dir, "in.mjr"), filepath.Join(dir, "out."+c.ext)
				var said bytes.Buffer
				cmd := exec.Command(tool, in, out)
				cmd.Stdout, cmd.Stderr = &said, &said
				if err := cmd.Run(); err != nil {
					t.Fatalf("version %d: %v\n%s", version, err, said.String())
				}
				entries := "codec_name"
				if strings.Contains(c.probe, ",") {
					entries += ",width,height,nb_read_frames"
				}
				if got := probe(t, out, entries); got != c.probe {
					t.Errorf("version %d: %q, want %q\n%s", version, got, c.probe, said.String())
				}
			}
		})
	}
}

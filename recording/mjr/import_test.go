package mjr

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtp"

	"stillwatch/internal/event"
	"stillwatch/recording/raw"
)

const t0 = 1_590_392_549_126_000 // 2020-05-25T07:42:29.126Z

// wav makes a mixer's file of two seconds at 8 kHz.
func wav(t testing.TB, path string) {
	t.Helper()
	cmd := exec.Command("ffmpeg", "-hide_banner", "-loglevel", "error", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=8000:duration=2",
		"-c:a", "pcm_s16le", "-f", "wav", path)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// stored are the packets of a stream, and their times.
func stored(t testing.TB, r *raw.Reader, id string) (out [][]byte, at []time.Duration) {
	t.Helper()
	for p, err := range r.Packets(id) {
		if err != nil {
			t.Fatal(err)
		}
		out, at = append(out, bytes.Clone(p.Data)), append(at, p.At)
	}
	return out, at
}

func (c clip) check(t testing.TB, got [][]byte) {
	t.Helper()
	if len(got) != len(c.packets) {
		t.Fatalf("%s: %d packets of %d", c.codec, len(got), len(c.packets))
	}
	for i, p := range c.packets {
		want, err := p.Marshal()
		if err != nil || !bytes.Equal(got[i], want) {
			t.Fatalf("%s: packet %d differs (%v)", c.codec, i, err)
		}
	}
}

// journal is the journal in short.
func journal(r *raw.Reader) string {
	var out []string
	for _, e := range r.Entries() {
		what := e.UserID
		if e.TrackID != "" {
			what = e.TrackID
		}
		out = append(out, strings.TrimSpace(e.At.Truncate(time.Millisecond).String()+" "+string(e.Kind)+" "+what))
	}
	return strings.Join(out, "\n")
}

// An event with a user who published twice, another, and the mixer's sound:
// QB-97.
func TestImportOfEvent(t *testing.T) {
	t.Parallel()
	vp8, h264 := encode(t, "vp8"), encode(t, "h264")
	dir := t.TempDir()
	vp8.mjr(2, header{Created: t0 - 100_000, First: t0}).save(t, dir, "janus-61408347-ann-sfuvideo-1590392549126-video.mjr")
	vp8.mjr(2, header{First: t0 + 2_500_000}).save(t, dir, "janus-61408347-ann-sfuvideo-1590392551626-video.mjr")
	h264.mjr(2, header{First: t0 + 3_000_000, Fmtp: "sprop-parameter-sets=AAEC,BAUG;packetization-mode=1"}).save(t, dir, "janus-61408347-bob-sfuvideo-1590392552126-video.mjr")
	h264.mjr(2, header{First: t0}).save(t, dir, "janus-999-eve-sfuvideo-1590392552126-video.mjr")
	wav(t, filepath.Join(dir, "recording-77.wav"))
	b, err := os.ReadFile("testdata/event.json")
	if err != nil {
		t.Fatal(err)
	}
	e, err := ParseEvent(b)
	if err != nil {
		t.Fatal(err)
	}
	to, key := filepath.Join(t.TempDir(), "session"), raw.NewKey()
	res, err := Import(t.Context(), []string{dir}, e, Options{Dir: to, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Problems) != 1 || !strings.Contains(res.Problems[0], "janus-999-eve") {
		t.Errorf("problems: %q", res.Problems)
	}
	r, err := raw.Open(to, key)
	if err != nil {
		t.Fatal(err)
	}
	if s := r.Session(); s.CID != "default:conf-77" || !s.StartedAt.Equal(time.UnixMilli(1590392548633)) || s != res.Session {
		t.Errorf("%+v", s)
	}
	want := `0s joined mixer
0s added mixer-microphone
493ms joined ann
493ms added ann-camera
1.473s removed ann-camera
2.02s removed mixer-microphone
2.993s added ann-camera-2
3.493s joined bob
3.493s added bob-camera
3.973s removed ann-camera-2
4.367s left ann
4.473s removed bob-camera
6.367s left bob
7.367s left mixer
7.367s ended`
	if got := journal(r); got != want {
		t.Errorf("journal:\n%s\nwant\n%s", got, want)
	}
	for _, id := range []string{"ann-camera", "ann-camera-2"} {
		got, at := stored(t, r, id)
		vp8.check(t, got)
		if last := at[len(at)-1] - at[0]; last != 960*time.Millisecond {
			t.Errorf("%s: %v long", id, last)
		}
	}
	got, at := stored(t, r, "bob-camera")
	h264.check(t, got)
	if at[0] != 3493*time.Millisecond {
		t.Errorf("bob begins at %v", at[0])
	}
	for _, s := range r.Streams() {
		if s.ID == "bob-camera" && (s.MimeType != "video/H264" || s.ClockRate != 90000 || len(s.ParameterSets) != 2 || s.Type != event.TrackVideo) {
			t.Errorf("%+v", s)
		}
	}
	checkSound(t, r)
}

// checkSound looks at the mixer's track.
func checkSound(t *testing.T, r *raw.Reader) {
	t.Helper()
	got, at := stored(t, r, "mixer-microphone")
	if len(got) < 100 || len(got) > 102 {
		t.Fatalf("%d packets of two seconds", len(got))
	}
	for i, b := range got {
		var p rtp.Packet
		if err := p.Unmarshal(b); err != nil {
			t.Fatal(err)
		}
		if int(p.SequenceNumber) != i || int(p.Timestamp) != i*960 || at[i] != time.Duration(i)*20*time.Millisecond {
			t.Fatalf("packet %d: %v at %v", i, p.Header, at[i])
		}
		// A table of contents of 20 ms frames (RFC 6716, section 3.1).
		if config := p.Payload[0] >> 3; config < 16 && config%4 != 1 && (config < 12 || config%2 != 1) || config >= 16 && config%4 != 3 {
			t.Fatalf("packet %d: config %d", i, config)
		}
	}
}

// The sound of the mixer may be lost (QB-105), and files that nobody has.
func TestImportOfEventWithoutFiles(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("testdata/event.json")
	if err != nil {
		t.Fatal(err)
	}
	e, err := ParseEvent(b)
	if err != nil {
		t.Fatal(err)
	}
	path := encode(t, "vp8").mjr(2, header{}).save(t, t.TempDir(), "janus-61408347-bob-sfuvideo-1590392552126-video.mjr")
	to, key := filepath.Join(t.TempDir(), "session"), raw.NewKey()
	res, err := Import(t.Context(), []string{path}, e, Options{Dir: to, Key: key, CallID: "mine", SessionID: "other"})
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Problems) != 3 || !strings.HasPrefix(res.Problems[2], "recording-77.wav: file does not exist") {
		t.Errorf("%q", res.Problems)
	}
	// The head tells no time: that of the event counts.
	if s := res.Session; s.CID != "default:mine" || s.SessionID != "other" || s.StartedAt.UnixMilli() != 1590392552126 {
		t.Errorf("%+v", s)
	}
	if res.Length != 2874*time.Millisecond || len(res.People) != 1 {
		t.Errorf("%+v", res)
	}
}

// Files of a video room, by their names and heads alone.
func TestImportByNames(t *testing.T) {
	t.Parallel()
	clips := map[string]clip{}
	for _, c := range []string{"vp8", "vp9", "av1", "opus", "pcmu", "pcma"} {
		clips[c] = encode(t, c)
	}
	dir := t.TempDir()
	paths := []string{
		clips["vp9"].mjr(2, header{First: t0, Extensions: map[string]string{"4": orientationURI}}).save(t, dir, "videoroom-1-user-ann-1590392549000000-video-1.mjr"),
		clips["opus"].mjr(2, header{First: t0 + 40_000, Extensions: map[string]string{"1": audioLevelURI}}).save(t, dir, "videoroom-1-user-ann-1590392549000000-audio-0.mjr"),
		clips["av1"].mjr(2, header{First: t0 + 500_000, Description: "My Screen"}).save(t, dir, "videoroom-1-user-ann-1590392549500000-video-2.mjr"),
		clips["pcmu"].mjr(2, header{First: t0 + 500_000}).save(t, dir, "videoroom-1-user-bob-1590392549500000-audio-0.mjr"),
		// An older one tells no times but by its name, and one codec for both laws.
		clips["pcma"].mjr(1, header{}).save(t, dir, "videoroom-1-user-cid-1590392549626000-audio.mjr"),
		clips["vp8"].mjr(0, header{}).save(t, dir, "videoroom-1-user-cid-1590392549626000-video.mjr"),
	}
	b, err := os.ReadFile(paths[4])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(paths[4], bytes.Replace(b, []byte(`"pcma"`), []byte(`"g711"`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	to, key := filepath.Join(t.TempDir(), "session"), raw.NewKey()
	res, err := Import(t.Context(), paths, nil, Options{Dir: to, Key: key, CallType: "livestream"})
	if err != nil || len(res.Problems) != 0 {
		t.Fatalf("%v, %+v", err, res)
	}
	r, err := raw.Open(to, key)
	if err != nil {
		t.Fatal(err)
	}
	if r.Session().CID != "livestream:1" {
		t.Errorf("%+v", r.Session())
	}
	mimes := map[string]string{}
	for _, s := range r.Streams() {
		mimes[s.ID] = s.MimeType
		if s.ID == "ann-camera" && s.RotationExtID != 4 || s.ID == "ann-microphone" && s.AudioLevelExtID != 1 {
			t.Errorf("%+v", s)
		}
		if s.ID == "ann-screen" && s.Type != event.TrackScreenShare {
			t.Errorf("%+v", s)
		}
	}
	for id, c := range map[string]string{
		"ann-camera": "vp9", "ann-microphone": "opus", "ann-screen": "av1", "bob-microphone": "pcmu", "cid-microphone": "pcma", "cid-camera": "vp8",
	} {
		got, at := stored(t, r, id)
		clips[c].check(t, got)
		if mimes[id] != codecTable[c].mime {
			t.Errorf("%s is %s", id, mimes[id])
		}
		if last := at[len(at)-1] - at[0]; last < 960*time.Millisecond || last > time.Second {
			t.Errorf("%s: %v long", id, last)
		}
	}
	if len(res.Tracks) != 6 || len(res.People) != 3 || res.Length < 1480*time.Millisecond {
		t.Errorf("%+v", res)
	}
}

// What is wrong with a file is told with its name and place, and the others
// are imported.
func TestImportTellsProblems(t *testing.T) {
	t.Parallel()
	vp8 := encode(t, "vp8")
	dir := t.TempDir()
	whole := vp8.mjr(2, header{First: t0})
	whole.save(t, dir, "ann-video.mjr")
	cut := vp8.mjr(2, header{First: t0})
	cut.Truncate(cut.Len() - 5)
	cut.save(t, dir, "bob-video.mjr")
	secret := vp8.mjr(2, header{First: t0, Encrypted: true})
	secret.save(t, dir, "cid-video.mjr")
	begin(2, header{Kind: "d", Codec: "text"}).save(t, dir, "dee-data.mjr")
	begin(2, header{Kind: "v", Codec: "vp8"}).save(t, dir, "eve-video.mjr")
	begin(2, header{Kind: "v", Codec: "opus"}).save(t, dir, "fay-video.mjr")
	for name, text := range map[string]string{
		"gus-video.mjr": "hello, world", "recording-1.wav": "RIFF....WAVEdata\x04\x00\x00\x00abcd",
		"recording-2.wav": "RIFF....WAVEfmt \x10\x00\x00\x00\x99\x99\x01\x00\x40\x1f\x00\x00\x80\x3e\x00\x00\x02\x00\x10\x00data\x04\x00\x00\x00abcd",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	to, key := filepath.Join(t.TempDir(), "session"), raw.NewKey()
	res, err := Import(t.Context(), []string{dir}, nil, Options{Dir: to, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"bob-video.mjr at byte ", "encrypted end to end", "data channel", "no packets", `codec "opus" of kind 'v'`, "gus-video.mjr at byte 0", "recording-1.wav at byte 0", "recording-2.wav at byte 0: code sound"} {
		if i >= len(res.Problems) || !strings.Contains(res.Problems[i], want) {
			t.Errorf("problem %d: %q, want %q", i, res.Problems, want)
		}
	}
	r, err := raw.Open(to, key)
	if err != nil {
		t.Fatal(err)
	}
	got, _ := stored(t, r, "bob-camera")
	if len(got) != len(vp8.packets)-1 || len(res.Tracks) != 2 {
		t.Errorf("%d packets, %+v", len(got), res.Tracks)
	}
}

func TestImportRefuses(t *testing.T) {
	t.Parallel()
	vp8 := encode(t, "vp8")
	dir, other := t.TempDir(), t.TempDir()
	a := vp8.mjr(2, header{First: t0}).save(t, dir, "videoroom-1-user-ann-1590392549000000-video.mjr")
	b := vp8.mjr(2, header{First: t0}).save(t, dir, "videoroom-2-user-ann-1590392549000000-video.mjr")
	c := vp8.mjr(2, header{First: t0 + 8*24*3600*1e6}).save(t, dir, "videoroom-1-user-bob-1590392549000000-video.mjr")
	bad := begin(2, header{Kind: "v", Codec: "vp8"}).save(t, other, "x.mjr")
	stopped, stop := context.WithCancel(t.Context())
	stop()
	for name, c := range map[string]struct {
		ctx   context.Context
		paths []string
		want  error
	}{
		"several rooms": {t.Context(), []string{a, b}, errRooms},
		"several weeks": {t.Context(), []string{a, c}, ErrUnsupported},
		"nothing good":  {t.Context(), []string{bad}, ErrFormat},
		"no files":      {t.Context(), []string{t.TempDir()}, ErrFormat},
		"not there":     {t.Context(), []string{filepath.Join(dir, "no.mjr")}, fs.ErrNotExist},
		"cancelled":     {stopped, []string{a}, context.Canceled},
	} {
		to := filepath.Join(t.TempDir(), "session")
		if _, err := Import(c.ctx, c.paths, nil, Options{Dir: to, Key: raw.NewKey()}); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(to); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: a folder was left (%v)", name, err)
		}
	}
}

// An import that breaks off leaves nothing, and the same files get the same
// session, so that importing them twice into its folder is refused.
func TestImportIsAllOrNothing(t *testing.T) {
	t.Parallel()
	w := begin(2, header{Kind: "v", Codec: "vp8", First: t0})
	b := make([]byte, 1200)
	b[0], b[1] = 0x80, 96
	for i := range 6000 {
		w.packet(b, time.Duration(i)*time.Millisecond)
	}
	path := w.save(t, t.TempDir(), "ann-video.mjr")
	sources, err := gather(t.Context(), []string{path}, nil, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	to, key := filepath.Join(t.TempDir(), "session"), raw.NewKey()
	rw, err := raw.Create(to, key, raw.SessionInfo{StartedAt: time.UnixMicro(t0)}, raw.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	im := &importer{w: rw, res: &Result{}, start: time.UnixMicro(t0)}
	cancel()
	if err := im.all(ctx, sources); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := rw.Discard(); err != nil {
		t.Error(err)
	}
	first, err := Import(t.Context(), []string{path}, nil, Options{Dir: to, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	if first.Tracks[0].Packets != 6000 {
		t.Errorf("%+v", first.Tracks)
	}
	if _, err := Import(t.Context(), []string{path}, nil, Options{Dir: to, Key: key}); err == nil {
		t.Error("a folder was written twice")
	}
	again, err := Import(t.Context(), []string{path}, nil, Options{Dir: filepath.Join(t.TempDir(), "other"), Key: key})
	if err != nil || again.Session != first.Session {
		t.Errorf("%+v and %+v, %v", first, again, err)
	}
}

// Redundant sound comes out as plain.
func TestImportStripsRedundancy(t *testing.T) {
	t.Parallel()
	opus := encode(t, "opus")
	w := begin(2, header{Kind: "a", Codec: "opus", First: t0, RED: 63})
	for i, p := range opus.packets {
		red := *p
		red.PayloadType = 63
		red.Payload = slices.Concat([]byte{111}, p.Payload)
		b, err := red.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		w.packet(b, opus.at[i])
	}
	path := w.save(t, t.TempDir(), "ann-audio.mjr")
	to, key := filepath.Join(t.TempDir(), "session"), raw.NewKey()
	if _, err := Import(t.Context(), []string{path}, nil, Options{Dir: to, Key: key}); err != nil {
		t.Fatal(err)
	}
	r, err := raw.Open(to, key)
	if err != nil {
		t.Fatal(err)
	}
	got, _ := stored(t, r, "ann-microphone")
	opus.check(t, got)
}

func FuzzWAVLength(f *testing.F) {
	f.Add([]byte("RIFF....WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x40\x1f\x00\x00\x80\x3e\x00\x00\x02\x00\x10\x00data\x00\x00\x00\x00abcd"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if d, err := wavLength(bytes.NewReader(b), int64(len(b))); err == nil && (d < 0 || d > maxWAV) {
			t.Fatal(d)
		}
	})
}

func FuzzOgg(f *testing.F) {
	f.Add([]byte("OggS\x00\x00........................"))
	f.Fuzz(func(_ *testing.T, b []byte) {
		_ = oggPackets(bytes.NewReader(b), func([]byte) error { return nil })
	})
}

package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"

	"stillwatch/internal/config"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/testkit"
	"stillwatch/web/api"
)

// cliRun runs a command against the settings, as its operator would on the same
// machine, and returns its exit code and what it printed.
func cliRun(ctx context.Context, out any, args ...string) (code int, stdout, stderr string) {
	var o, e bytes.Buffer
	code = run(ctx, func() {}, args, &o, &e)
	if out != nil && code == 0 {
		if err := json.Unmarshal(o.Bytes(), out); err != nil {
			return -1, o.String(), err.Error()
		}
	}
	return code, o.String(), e.String()
}

func mustCLI(t *testing.T, out any, args ...string) string {
	t.Helper()
	code, stdout, stderr := cliRun(t.Context(), out, args...)
	if code != 0 {
		t.Fatalf("%v: exit %d: %s", args, code, stderr)
	}
	return stdout
}

// setEnv gives the commands the settings of a server.
func setEnv(t *testing.T, cfg config.Config) {
	t.Helper()
	for name, value := range map[string]string{
		"DATA_DIR": cfg.Data.Dir, "HTTP_LISTEN": cfg.HTTP.Listen, "MEDIA_LISTEN": cfg.Media.Listen, "DATABASE_URL": cfg.Database.URL,
		"MODELS_DIR": cfg.Models.Dir, "MODELS_RUNTIME": cfg.Models.Runtime, "NETGUARD_ALLOW": "127.0.0.0/8", "LOG_LEVEL": "warn",
	} {
		t.Setenv(config.EnvPrefix+name, value)
	}
}

// mjrVideo writes seconds of a picture, as Janus would.
func mjrVideo(t *testing.T, path string, seconds int) {
	t.Helper()
	c := small(t, "neutral", event.VP8)
	const start = 1_590_392_549_126_000
	var b bytes.Buffer
	head := fmt.Sprintf(`{"t":"v","c":"vp8","s":%d,"u":%d}`, start, start)
	b.WriteString("MJR00002")
	_ = binary.Write(&b, binary.BigEndian, uint16(len(head)))
	b.WriteString(head)
	pay, seq := &codecs.VP8Payloader{EnablePictureID: true}, uint16(0)
	for n := range seconds * c.FPS {
		parts := pay.Payload(1100, c.Frames[n%len(c.Frames)])
		for i, part := range parts {
			p := rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: 96, SequenceNumber: seq, Timestamp: uint32(n * 90000 / c.FPS), SSRC: 9, Marker: i == len(parts)-1}, Payload: part}
			seq++
			packet, err := p.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			b.WriteString("MEET")
			_ = binary.Write(&b, binary.BigEndian, uint32(n*1000/c.FPS))
			_ = binary.Write(&b, binary.BigEndian, uint16(len(packet)))
			b.Write(packet)
		}
	}
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestImportWorkAndLookAfterRecordings imports a call while a worker alone
// runs, beside no server, and then looks after the recording through one.
func TestImportWorkAndLookAfterRecordings(t *testing.T) {
	for _, name := range []string{"SQLite", "PostgreSQL"} {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && name != "SQLite" {
				t.Skip("renders the same movies on another database")
			}
			env := []string{"STILLWATCH_RECORDING_FLAG_GRACE=1m"} // the packets stay as long
			if name == "PostgreSQL" {
				env = append(env, "STILLWATCH_DATABASE_URL="+testkit.Postgres(t))
			}
			importAndWork(t, settings(t, t.TempDir(), env...))
		})
	}
}

func importAndWork(t *testing.T, cfg config.Config) {
	setEnv(t, cfg)
	room := t.TempDir()
	mjrVideo(t, filepath.Join(room, "videoroom-77-user-ann-1590392549126000-video-0.mjr"), 2)
	if code, _, stderr := cliRun(t.Context(), nil, "recordings", "import", room); code != 1 || !strings.Contains(stderr, "data.dir") {
		t.Fatalf("without a server's data: exit %d: %s", code, stderr)
	}
	serve := func() *rig {
		p := NewProgram(cfg, slog.New(slog.NewTextHandler(testLog{t}, &slog.HandlerOptions{Level: slog.LevelWarn})))
		if err := p.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := p.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
		return &rig{Program: p, t: t}
	}
	r := serve()
	r.calltype(`{"recording":{"quality":"360p"}}`)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	worked := make(chan string, 1)
	go func() {
		code, _, stderr := cliRun(ctx, nil, "recordings", "work", "--workers", "2")
		worked <- fmt.Sprint(code, stderr)
	}()
	var report struct {
		Recordings []struct{ ID, Type string }
		Files      []importedFile
	}
	mustCLI(t, &report, "recordings", "import", room, "--as", "composite,individual", "--wait", "--json")
	stop()
	if got := <-worked; got != "0" {
		t.Errorf("work ended with %s", got)
	}
	if len(report.Recordings) != 2 {
		t.Fatalf("report %+v", report)
	}
	if code, _, stderr := cliRun(t.Context(), nil, "recordings", "import", room); code != 1 || !strings.Contains(stderr, "--again") {
		t.Errorf("imported twice: exit %d: %s", code, stderr)
	}

	r = serve()
	streams := map[string]string{}
	for _, f := range report.Files {
		if f.Kind == "movie" || f.Kind == "video" {
			path := filepath.Join(t.TempDir(), f.Filename)
			if err := os.WriteFile(path, fetch(t, f.URL), 0o600); err != nil {
				t.Fatal(err)
			}
			got, seconds := ffprobe(t, path)
			streams[f.Kind] = strings.Join(got, ", ")
			if seconds < 1.9 || seconds > 2.2 {
				t.Errorf("%s lasts %.3f s", f.Filename, seconds)
			}
		}
	}
	if !strings.HasPrefix(streams["movie"], "h264 640x360") || streams["video"] != "vp8 320x180" {
		t.Errorf("streams %v", streams)
	}
	var jobs []db.RecordingJobRow
	if err := r.db.NewSelect().Model(&jobs).Scan(t.Context()); err != nil || len(jobs) == 0 {
		t.Fatal(jobs, err)
	}
	for _, j := range jobs {
		if !strings.HasPrefix(j.Worker, "worker ") {
			t.Errorf("step %s was done by %q", j.Kind, j.Worker)
		}
	}
	lookAfter(t, r, report.Recordings[0].ID)
}

// lookAfter lists, shows, holds, releases and retries by the command line.
func lookAfter(t *testing.T, r *rig, id string) {
	t.Helper()
	var list api.QueryRecordingsResponse
	mustCLI(t, &list, "recordings", "list", "--limit", "1", "--json")
	if len(list.Recordings) != 1 || list.Next == "" {
		t.Fatalf("first page %+v", list)
	}
	if text := mustCLI(t, nil, "recordings", "list", "--limit", "1", "--next", list.Next, "--call", "default:77", "--state", "ready"); strings.Count(text, "default:77") != 1 || strings.Contains(text, "more:") {
		t.Errorf("second page: %s", text)
	}
	if text := mustCLI(t, nil, "recordings", "show", id); !strings.Contains(text, "ready") || !strings.Contains(text, "http://") {
		t.Errorf("show: %s", text)
	}
	mustCLI(t, nil, "recordings", "hold", id, "--reason", "case 17", "--by", "mo")
	if text := mustCLI(t, nil, "recordings", "show", id); !strings.Contains(text, "held") || !strings.Contains(text, "case 17") {
		t.Errorf("show of what is held: %s", text)
	}
	if text := mustCLI(t, nil, "recordings", "release", id, "--by", "mo"); !strings.Contains(text, "somebody else") {
		t.Errorf("released by one: %s", text)
	}
	if text := mustCLI(t, nil, "recordings", "release", id, "--by", "ada"); text != "released\n" {
		t.Errorf("released by two: %s", text)
	}
	for args, want := range map[string]string{
		"retry " + id:   "409",
		"retry nothing": "404",
	} {
		if code, _, stderr := cliRun(t.Context(), nil, append([]string{"recordings"}, strings.Fields(args)...)...); code != 1 || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit %d: %s", args, code, stderr)
		}
	}
	to := filepath.Join(t.TempDir(), "packets")
	if text := mustCLI(t, nil, "recordings", "dump", id, "--to", to); !strings.Contains(text, "video/VP8 of ann") {
		t.Errorf("dump: %s", text)
	}
	if dumped, err := os.ReadFile(filepath.Join(to, "00-ann-video.rtpdump")); err != nil || !bytes.HasPrefix(dumped, []byte("#!rtpplay1.0 ")) {
		t.Errorf("dumped %d bytes, %v", len(dumped), err)
	}
	_, err := r.db.NewUpdate().Model((*db.RecordingRow)(nil)).Set("state = ?", db.RecordingFailed).Set("finished_at = ?", db.At(time.Now())).Where("id = ?", id).Exec(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	mustCLI(t, nil, "recordings", "retry", id)
	testkit.Eventually(t, time.Minute, func() bool {
		return strings.Contains(mustCLI(t, nil, "recordings", "list", "--state", "ready"), id)
	}, "the retried recording is ready")
}

func TestRunStateSaysWhatAnOrderWaitsFor(t *testing.T) {
	t.Parallel()
	until := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for want, run := range map[string]api.RecordingRun{
		"recording":          {State: "recording", SessionID: "s1"},
		"recording, waiting": {State: "recording"},
		"recording, waiting until 2026-03-01T12:00:00Z": {State: "recording", WaitsUntil: &until},
		"ready, held": {State: "ready", SessionID: "s1", Hold: true},
		"discarded":   {State: "discarded"}, // nobody came
	} {
		if got := runState(run); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestRecordingsCommandRefusesWrongUsage(t *testing.T) {
	t.Setenv("STILLWATCH_DATA_DIR", t.TempDir())
	for _, args := range []string{
		"list --limit 0", "list --state gone", "work --workers 300", "import " + os.DevNull + " --call abc", "hold x", "release x", "import " + os.DevNull + " --as movie",
	} {
		if code, _, stderr := cliRun(t.Context(), nil, append([]string{"recordings"}, strings.Fields(args)...)...); code != 2 {
			t.Errorf("%s: exit %d: %s", args, code, stderr)
		}
	}
}

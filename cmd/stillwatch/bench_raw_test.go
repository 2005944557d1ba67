package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"stillwatch/capture"
	"stillwatch/capture/call"
	"stillwatch/capture/ingest/ingesttest"
	"stillwatch/capture/ingest/rtc"
	"stillwatch/capture/ingest/whip"
	"stillwatch/recording/raw"
)

const (
	rawSenderEnv = "STILLWATCH_TEST_RAW_SENDER"
	rawSenders   = 10
	rawFrames    = 30
	rawPackets   = 6
	rawPayload   = 1090 // 30 x 6 x 1090 bytes are 1.57 Mbit/s
)

// BenchmarkRaw measures what it costs to receive ten streams of 1.57 Mbit/s
// from real senders in another process, and to record their packets, in
// percent of a core. Run it with
//
//	go test -run '^$' -bench Raw -benchtime 1x ./cmd/stillwatch
func BenchmarkRaw(b *testing.B) {
	for _, record := range []bool{false, true} {
		b.Run(fmt.Sprintf("record=%t", record), func(b *testing.B) {
			tap := &rawTap{start: time.Now(), record: record}
			if record {
				w, err := raw.Create(b.TempDir(), raw.NewKey(), raw.SessionInfo{SessionID: "bench", StartedAt: tap.start}, raw.Options{})
				if err != nil {
					b.Fatal(err)
				}
				tap.w = w
				defer func() {
					if err := w.Close(); err != nil {
						b.Error(err)
					}
					if s := w.Stats(); s.Lost > 0 {
						b.Errorf("%+v", s)
					}
				}()
			}
			s := ingesttest.NewServer(b, func(_ *rtc.Config, c *call.Config) { c.Media = []call.TrackObserver{tap} })
			s.Handle(b, "/whip", whip.New(whip.Config{Transport: s.Transport, Registry: s.Registry, Auth: s, Gatekeeper: s}))
			measureRaw(b, s.URL)
			if record {
				got := float64(tap.w.Stats().Packets)
				b.ReportMetric(got/time.Since(tap.start).Seconds(), "packets/s")
			}
		})
	}
}

// rawTap opens the gate of all tracks, and writes what comes.
type rawTap struct {
	start  time.Time
	record bool
	w      *raw.Writer
}

func (r *rawTap) TrackAdded(t capture.Track) {
	track, i := t.(*call.Track), t.Info()
	if !r.record {
		track.TapRaw("", func([]byte, time.Time) {})
		return
	}
	c := track.Codec()
	s, err := r.w.Stream(raw.StreamInfo{
		TrackID: i.ID, UserID: i.UserID, UserSessionID: i.UserSessionID, Type: i.Type,
		MimeType: c.MimeType, ClockRate: c.ClockRate, At: time.Since(r.start),
	})
	if err != nil {
		panic(err)
	}
	track.TapRaw("", func(b []byte, at time.Time) { s.Write(b, false, at) })
	track.TapReports("", func(sr []byte, at time.Time) { s.Write(sr, true, at) })
}

func (*rawTap) TrackRemoved(string)     {}
func (*rawTap) TrackMuted(string, bool) {}

// measureRaw runs the senders and reports the CPU time of this process.
func measureRaw(b *testing.B, url string) {
	exe, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.run", "^TestRawSender$", "-test.v")
	cmd.Env = append(os.Environ(), asProgram+"=", rawSenderEnv+"="+url)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != "sending" {
	}
	<-time.After(2 * time.Second)
	for b.Loop() {
		before, start := ownCPU(b), time.Now()
		<-time.After(15 * time.Second)
		b.ReportMetric(100*(ownCPU(b)-before).Seconds()/time.Since(start).Seconds(), "%core")
	}
	_ = in.Close()
	_, _ = io.Copy(io.Discard, out)
	if err := cmd.Wait(); err != nil {
		b.Error(err)
	}
}

func ownCPU(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestRawSender is the other process of BenchmarkRaw.
func TestRawSender(t *testing.T) {
	url := os.Getenv(rawSenderEnv)
	if url == "" {
		t.Skip("only as the process that BenchmarkRaw starts")
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for i := range rawSenders {
		pc := ingesttest.NewPeer(t)
		track := ingesttest.Video(t, webrtc.MimeTypeVP8, "camera")
		sender, err := pc.AddTrack(track)
		if err != nil {
			t.Fatal(err)
		}
		ingesttest.Connect(t, pc, url, "/whip/default/bench", fmt.Sprintf("user:bench%d", i))
		go func() { // until the connection is closed
			buf := make([]byte, 2048)
			for {
				if _, _, err := sender.Read(buf); err != nil {
					return
				}
			}
		}()
		wg.Go(func() { sendRaw(ctx, track, time.Duration(i)*time.Second/rawFrames/rawSenders) })
	}
	fmt.Println("sending")
	_, _ = io.Copy(io.Discard, os.Stdin)
	cancel()
	wg.Wait()
}

func sendRaw(ctx context.Context, track *webrtc.TrackLocalStaticRTP, offset time.Duration) {
	<-time.After(offset)
	tick := time.NewTicker(time.Second / rawFrames)
	defer tick.Stop()
	p := rtp.Packet{Header: rtp.Header{Version: 2}, Payload: make([]byte, rawPayload)}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		p.Timestamp += 90000 / rawFrames
		for i := range rawPackets {
			p.SequenceNumber++
			p.Marker = i == rawPackets-1
			_ = track.WriteRTP(&p)
		}
	}
}

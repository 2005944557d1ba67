package whip_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"stillwatch/capture"
	"stillwatch/capture/ingest/ingesttest"
	"stillwatch/capture/ingest/whip"
)

const (
	senderEnv     = "STILLWATCH_TEST_SENDER"
	senders       = 30
	framesPerS    = 30
	packetsPerF   = 6
	payload       = 1090 // 30 x 6 x 1090 bytes are 1.57 Mbit/s
	measureFor    = 10 * time.Second
	settleMeasure = 2 * time.Second
)

// BenchmarkReceive measures what receiving a stream costs, in percent of a
// core, with real senders in a process of their own: with pion as it comes,
// with the gate closed, and with the gate open. Run it with
//
//	go test -run '^$' -bench Receive -benchtime 1x ./capture/ingest/whip
func BenchmarkReceive(b *testing.B) {
	b.Run("pion", func(b *testing.B) {
		srv := httptest.NewServer(plainPion(b))
		defer srv.Close()
		measure(b, srv.URL)
	})
	for _, open := range []bool{false, true} {
		b.Run(fmt.Sprintf("open=%t", open), func(b *testing.B) {
			s := ingesttest.NewServer(b)
			s.Handle(b, "/whip", whip.New(whip.Config{Transport: s.Transport, Registry: s.Registry, Auth: s, Gatekeeper: s}))
			if open {
				for i := range senders {
					defer s.Registry.Subscribe("default:bench", fmt.Sprintf("bench%d", i), tapAll{})()
				}
			}
			measure(b, s.URL)
			c := s.Transport.Gate().Counters()
			b.ReportMetric(float64(c.Passed)/float64(c.Passed+c.Dropped+1), "passed")
		})
	}
}

// measure runs the senders and reports the CPU time of this process.
func measure(b *testing.B, url string) {
	exe, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.run", "^TestSender$", "-test.v")
	cmd.Env = append(os.Environ(), senderEnv+"="+url)
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
	<-time.After(settleMeasure)
	for b.Loop() {
		before, switches := cpu(b)
		start := time.Now()
		<-time.After(measureFor)
		after, switchesAfter := cpu(b)
		used := after - before
		b.ReportMetric(float64(switchesAfter-switches)/time.Since(start).Seconds(), "wakes/s")
		b.ReportMetric(100*used.Seconds()/time.Since(start).Seconds()/senders, "%core/stream")
	}
	_ = in.Close()
	_, _ = io.Copy(io.Discard, out)
	if err := cmd.Wait(); err != nil {
		b.Error(err)
	}
}

// cpu returns the time that this process has used, and how often it slept.
func cpu(b *testing.B) (used time.Duration, switches int64) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), u.Nvcsw
}

// TestSender is the other process of BenchmarkReceive.
func TestSender(t *testing.T) {
	url := os.Getenv(senderEnv)
	if url == "" {
		t.Skip("only as the process that BenchmarkReceive starts")
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for i := range senders {
		pc := ingesttest.NewPeer(t)
		track := ingesttest.Video(t, webrtc.MimeTypeVP8, "camera")
		sender, err := pc.AddTrack(track)
		if err != nil {
			t.Fatal(err)
		}
		ingesttest.Connect(t, pc, url, "/whip/default/bench", fmt.Sprintf("user:bench%d", i))
		go func() {
			buf := make([]byte, 2048)
			for {
				if _, _, err := sender.Read(buf); err != nil {
					return
				}
			}
		}()
		wg.Go(func() { sendVideo(ctx, track, time.Duration(i)*time.Second/framesPerS/senders) })
	}
	fmt.Println("sending")
	_, _ = io.Copy(io.Discard, os.Stdin)
	cancel()
	wg.Wait()
}

func sendVideo(ctx context.Context, track *webrtc.TrackLocalStaticRTP, offset time.Duration) {
	<-time.After(offset)
	tick := time.NewTicker(time.Second / framesPerS)
	defer tick.Stop()
	p := rtp.Packet{Header: rtp.Header{Version: 2}, Payload: make([]byte, payload)}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		p.Timestamp += 90000 / framesPerS
		for i := range packetsPerF {
			p.SequenceNumber++
			p.Marker = i == packetsPerF-1
			_ = track.WriteRTP(&p)
		}
	}
}

// tapAll keeps the gate open and looks at nothing.
type tapAll struct{}

func (tapAll) TrackAdded(t capture.Track) { t.Tap("", func(*rtp.Packet, time.Time) {}) }

func (tapAll) TrackRemoved(string)     {}
func (tapAll) TrackMuted(string, bool) {}

// plainPion answers offers with pion's defaults: default interceptors, one
// socket per connection, a reader per track.
func plainPion(b *testing.B) http.Handler {
	media := &webrtc.MediaEngine{}
	if err := media.RegisterDefaultCodecs(); err != nil {
		b.Fatal(err)
	}
	reg := &interceptor.Registry{}
	if err := webrtc.RegisterDefaultInterceptors(media, reg); err != nil {
		b.Fatal(err)
	}
	var set webrtc.SettingEngine
	set.SetIncludeLoopbackCandidate(true)
	api := webrtc.NewAPI(webrtc.WithMediaEngine(media), webrtc.WithInterceptorRegistry(reg), webrtc.WithSettingEngine(set))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		pc, err := api.NewPeerConnection(webrtc.Configuration{})
		if err != nil {
			b.Error(err)
			return
		}
		b.Cleanup(func() { _ = pc.GracefulClose() })
		pc.OnTrack(func(t *webrtc.TrackRemote, rcv *webrtc.RTPReceiver) {
			go func() {
				buf := make([]byte, 2048)
				for {
					if _, _, err := rcv.Read(buf); err != nil {
						return
					}
				}
			}()
			buf := make([]byte, 2048)
			for {
				if _, _, err := t.Read(buf); err != nil {
					return
				}
			}
		})
		if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: string(body)}); err != nil {
			b.Error(err)
			return
		}
		answer, err := pc.CreateAnswer(nil)
		if err != nil {
			b.Error(err)
			return
		}
		done := webrtc.GatheringCompletePromise(pc)
		if err := pc.SetLocalDescription(answer); err != nil {
			b.Error(err)
			return
		}
		<-done
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write([]byte(pc.LocalDescription().SDP))
	})
}

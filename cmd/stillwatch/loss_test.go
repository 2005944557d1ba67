package main

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/synthetic"
	"stillwatch/internal/testkit"
)

const (
	// lossRate of the packets are dropped, each way, and reorderRate of them
	// come one to three packets late.
	lossRate, reorderRate = 0.05, 0.05
	// lossFrames are looked at of each codec.
	lossFrames = 10
)

// TestFramesOverALossyPath publishes each codec through a path that loses and
// reorders packets both ways. A keyframe of these clips is dozens of packets,
// so nearly none arrives whole unless the lost ones are asked for again.
func TestFramesOverALossyPath(t *testing.T) {
	r := startRig(t)
	source := decodePNG(t, "sexy")
	for i, codec := range []event.Codec{event.VP8, event.H264, event.VP9, event.AV1} {
		t.Run(string(codec), func(t *testing.T) {
			t.Parallel()
			path := newRelay(t, r.cfg.Media.Listen, uint64(i+1))
			user := "loss-" + string(codec)
			door := lossyDoor(t, r.URL(), r.cfg.Media.Listen, path.addr())
			c := lossClip(t, codec)
			p := synthetic.NewPublisher(synthetic.PublisherConfig{URL: door + "/whip/default/" + user, Token: r.token(user, ""), Clip: c})
			defer p.Close()
			if err := p.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			rows := r.framesOf(t, "default:"+user, lossFrames)
			r.checkFrames(t, rows, user, codec, source)
			r.checkLoss(t, path, p, "default:"+user, len(rows))
		})
	}
}

// lossClip is a clip whose keyframes are so large that few would come through
// whole. It has one take: encoders spend most on the first keyframe.
func lossClip(t *testing.T, codec event.Codec) *synthetic.Clip {
	t.Helper()
	c, err := synthetic.MakeClip(t.Context(), filepath.Join(buildDir, "clips"),
		synthetic.ClipConfig{Picture: "sexy", Codec: codec, Takes: 1, Kbps: 4000})
	if err != nil {
		t.Fatal(err)
	}
	const payload = 1180 // bytes of a packet, about
	packets := len(c.Frames[0])/payload + 1
	whole := math.Pow(1-lossRate, float64(packets))
	t.Logf("%s: keyframes of %d packets, of which %.2g %% would come through whole", codec, packets, 100*whole)
	if whole > 0.2 {
		t.Errorf("keyframes of %d packets show nothing", packets)
	}
	return c
}

// checkLoss holds the ledger of gaps against the frames, and the path against
// what it is meant to be.
func (r *rig) checkLoss(t *testing.T, path *relay, p *synthetic.Publisher, cid string, frames int) {
	t.Helper()
	var gaps []db.GapRow
	if err := r.db.NewSelect().Model(&gaps).Where("cid = ?", cid).Scan(t.Context()); err != nil {
		t.Fatal(err)
	}
	missed, reasons := 0, map[string]int{}
	for _, g := range gaps {
		missed += g.Due
		reasons[g.Reason+": "+g.Detail] += g.Due
	}
	sent, keys, plis := p.Sent()
	t.Logf("%s: %d frames, gaps %v; sent %d pictures, %d keyframes, heard %d requests; there %s; back %s",
		cid, frames, reasons, sent, keys, plis, &path.there, &path.back)
	if missed > 1 {
		t.Errorf("%d frames were missed beside %d: %v", missed, frames, reasons)
	}
	if all, lost := path.there.all.Load(), path.there.lost.Load(); all < 1000 || float64(lost) < 0.03*float64(all) {
		t.Errorf("the path carried %d packets and lost %d: media went another way", all, lost)
	}
}

// lossyDoor stands in front of the server's media endpoints and tells the
// publisher that media go to the relay. The server does not hear the
// publisher's own addresses, so it cannot reach it around the relay.
func lossyDoor(t *testing.T, server, media, relay string) string {
	t.Helper()
	target, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	_, from, err := net.SplitHostPort(media)
	if err != nil {
		t.Fatal(err)
	}
	_, to, err := net.SplitHostPort(relay)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.SetURL(target)
			if pr.In.Method != http.MethodPost {
				return
			}
			body, err := io.ReadAll(pr.In.Body)
			if err != nil {
				return
			}
			body = editCandidates(body, func([]string) bool { return false })
			pr.Out.Body, pr.Out.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		},
		ModifyResponse: func(resp *http.Response) error {
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				return err
			}
			body = editCandidates(body, func(f []string) bool {
				if f[2] != "udp" || f[5] != from {
					return false
				}
				f[5] = to
				return true
			})
			resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
			resp.Header.Set("Content-Length", strconv.Itoa(len(body)))
			return nil
		},
	}
	l := listen(t)
	srv := &http.Server{Handler: proxy, ReadHeaderTimeout: 5 * time.Second}
	done := make(chan struct{})
	go func() { defer close(done); srv.Serve(l) }()
	t.Cleanup(func() { srv.Close(); <-done })
	return "http://" + l.Addr().String()
}

// editCandidates gives keep the fields of each candidate of a description
// (RFC 8839, section 5.1: the sixth is the port) and leaves those out that it
// refuses.
func editCandidates(sdp []byte, keep func(fields []string) bool) []byte {
	var out strings.Builder
	for line := range strings.Lines(string(sdp)) {
		if strings.HasPrefix(line, "a=candidate:") {
			fields := strings.Fields(line)
			if len(fields) < 8 || !keep(fields) {
				continue
			}
			line = strings.Join(fields, " ") + "\r\n"
		}
		out.WriteString(line)
	}
	return []byte(out.String())
}

// relay carries the datagrams of one client to a server and back, badly.
type relay struct {
	front, server net.PacketConn // towards the client, towards the server
	there, back   way

	mu     sync.Mutex
	client net.Addr
}

// way is one direction of a relay. Its goroutine owns what is not atomic.
type way struct {
	random          *rand.Rand
	late            []latecomer
	all, lost, held atomic.Int64
}

// latecomer is a packet that waits until so many others have gone.
type latecomer struct {
	packet []byte
	after  int
}

func (w *way) String() string {
	return fmt.Sprintf("%d packets, %d lost, %d late", w.all.Load(), w.lost.Load(), w.held.Load())
}

func newRelay(t *testing.T, server string, seed uint64) *relay {
	t.Helper()
	to, err := net.ResolveUDPAddr("udp4", server)
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{front: listenPacket(t), server: listenPacket(t)}
	r.there.random, r.back.random = rand.New(rand.NewPCG(seed, 1)), rand.New(rand.NewPCG(seed, 2))
	var wg sync.WaitGroup
	wg.Go(func() {
		r.there.carry(r.front, func(from net.Addr, b []byte) {
			r.mu.Lock()
			r.client = from
			r.mu.Unlock()
			_, _ = r.server.WriteTo(b, to) // a datagram may be lost here too
		})
	})
	wg.Go(func() {
		r.back.carry(r.server, func(_ net.Addr, b []byte) {
			r.mu.Lock()
			client := r.client
			r.mu.Unlock()
			_, _ = r.front.WriteTo(b, client)
		})
	})
	t.Cleanup(func() {
		r.front.Close()
		r.server.Close()
		wg.Wait()
	})
	return r
}

func listenPacket(t *testing.T) net.PacketConn {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadBuffer(1 << 20) // what is lost is to be lost by us
	return c
}

func (r *relay) addr() string { return r.front.LocalAddr().String() }

// carry reads until the socket is closed.
func (w *way) carry(from net.PacketConn, send func(net.Addr, []byte)) {
	buf := make([]byte, 2048)
	for {
		n, addr, err := from.ReadFrom(buf)
		if err != nil {
			return
		}
		w.all.Add(1)
		switch dice := w.random.Float64(); {
		case dice < lossRate:
			w.lost.Add(1)
			continue
		case dice < lossRate+reorderRate:
			w.held.Add(1)
			w.late = append(w.late, latecomer{bytes.Clone(buf[:n]), 1 + w.random.IntN(3)})
			continue
		}
		send(addr, buf[:n])
		still := w.late[:0]
		for _, l := range w.late {
			if l.after--; l.after > 0 {
				still = append(still, l)
				continue
			}
			send(addr, l.packet)
		}
		w.late = still
	}
}

func TestRelayLosesAndReorders(t *testing.T) {
	t.Parallel()
	server, client := listenPacket(t), listenPacket(t)
	defer server.Close()
	defer client.Close()
	path := newRelay(t, server.LocalAddr().String(), 7)
	to, _ := net.ResolveUDPAddr("udp4", path.addr())
	const packets = 2000
	got := make(chan []int, 1)
	go func() {
		var seqs []int
		buf := make([]byte, 64)
		for {
			n, _, err := server.ReadFrom(buf)
			if err != nil || string(buf[:n]) == "end" {
				got <- seqs
				return
			}
			seq, _ := strconv.Atoi(string(buf[:n]))
			seqs = append(seqs, seq)
		}
	}()
	for i := range packets {
		if _, err := client.WriteTo([]byte(strconv.Itoa(i)), to); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, 5*time.Second, func() bool { return path.there.all.Load() == int64(i+1) }, "the relay keeps up")
	}
	end, _ := net.ResolveUDPAddr("udp4", server.LocalAddr().String())
	if _, err := client.WriteTo([]byte("end"), end); err != nil {
		t.Fatal(err)
	}
	seqs, back := <-got, 0
	for i := 1; i < len(seqs); i++ {
		if seqs[i] < seqs[i-1] {
			back++
		}
	}
	if lost := packets - len(seqs); lost < packets/25 || lost > packets/14 || back < packets/40 || back > packets/14 {
		t.Errorf("of %d packets %d were lost and %d came late, want about 100 each", packets, lost, back)
	}
}

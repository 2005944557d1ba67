package mjr

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"stillwatch/recording/raw"
)

var keep = flag.String("keep", "", "where to keep the sound that Janus recorded")

// A second of sound as Janus 1.1.2 recorded it.
func TestReadsAFileOfJanus(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("testdata/janus-audio.mjr")
	if err != nil {
		t.Fatal(err)
	}
	info, frames, err := readAll(b)
	if err != nil {
		t.Fatal(err)
	}
	if info.Version != 2 || info.Kind != 'a' || info.Codec != "opus" || info.First.Year() < 2020 || info.First.Before(info.Created) {
		t.Errorf("%+v", info)
	}
	if len(frames) != 51 {
		t.Errorf("%d packets", len(frames))
	}
	for i, f := range frames {
		if p, ok := parseRTP(f.Data); !ok || p.pt != opusPT || i > 0 && f.Arrival < frames[i-1].Arrival {
			t.Fatalf("packet %d: %+v", i, p)
		}
	}
}

const janusDir = "/usr/lib/x86_64-linux-gnu/janus"

// janus is a running one that is spoken to over a unix socket.
type janus struct {
	conn    net.Conn
	said    *bytes.Buffer
	session uint64
	handle  uint64
	n       int
}

// startJanus runs the installed one with the echo plugin, or skips the test.
func startJanus(t *testing.T) *janus {
	t.Helper()
	path, err := exec.LookPath("janus")
	if err != nil {
		t.Skip("janus is missing; Debian's janus has it")
	}
	if _, err := os.Stat(filepath.Join(janusDir, "transports", "libjanus_pfunix.so")); err != nil {
		t.Skip("janus lies elsewhere than in Debian on amd64")
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil || !slices.ContainsFunc(addrs, func(a net.Addr) bool {
		ip, ok := a.(*net.IPNet)
		return ok && !ip.IP.IsLoopback() && ip.IP.To4() != nil
	}) {
		t.Skip("WebRTC needs an address that is not of the loopback interface")
	}
	dir := t.TempDir()
	others := func(kind, keep string) string {
		var out []string
		all, _ := filepath.Glob(filepath.Join(janusDir, kind, "*.so"))
		for _, p := range all {
			if b := filepath.Base(p); b != keep {
				out = append(out, b)
			}
		}
		return strings.Join(out, ",")
	}
	socket := filepath.Join(dir, "ux")
	for name, text := range map[string]string{
		"janus.jcfg": fmt.Sprintf(`general: { configs_folder = %q plugins_folder = %q transports_folder = %q events_folder = "" loggers_folder = "" }
			media: { rtp_port_range = "20000-40000" } nat: { ice_ignore_list = "vmnet" }
			plugins: { disable = %q } transports: { disable = %q }`, dir, janusDir+"/plugins", janusDir+"/transports",
			others("plugins", "libjanus_echotest.so"), others("transports", "libjanus_pfunix.so")),
		"janus.transport.pfunix.jcfg": fmt.Sprintf(`general: { enabled = true json = "compact" path = %q type = "SOCK_SEQPACKET" } admin: { admin_enabled = false }`, socket),
		"janus.plugin.echotest.jcfg":  `general: { events = false }`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for range 10 {
		if j := runJanus(t, path, dir, socket); j != nil {
			return j
		}
	}
	t.Skip("janus ends as soon as it begins")
	return nil
}

// runJanus starts it once. It answers nil if its socket does not come: the
// thread for it may look whether it is to run before that is said.
func runJanus(t *testing.T, path, dir, socket string) *janus {
	t.Helper()
	j := &janus{said: &bytes.Buffer{}}
	ctx, stop := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, path, "-F", dir, "-o")
	cmd.Stdout, cmd.Stderr, cmd.Dir = j.said, j.said, dir
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // killed, or of no use
		close(ended)
	}()
	t.Cleanup(func() {
		if j.conn != nil {
			_ = j.conn.Close()
		}
		stop()
		<-ended
		if t.Failed() {
			t.Log(j.said.String())
		}
	})
	late := time.After(5 * time.Second)
	within(t, func() (so bool) {
		select {
		case <-ended:
			return true
		case <-late:
			return true
		default:
		}
		conn, err := net.Dial("unixpacket", socket)
		if err == nil {
			j.conn = conn
		}
		return err == nil
	})
	if j.conn == nil {
		return nil
	}
	return j
}

// within waits until something is so.
func within(t *testing.T, so func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	late := time.After(30 * time.Second)
	for !so() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("waited for too long")
		}
	}
}

// ask sends a request and reads until an answer of a kind.
func (j *janus) ask(t *testing.T, request map[string]any, kind string) map[string]any {
	t.Helper()
	j.n++
	request["transaction"] = fmt.Sprint(j.n)
	if j.session != 0 {
		request["session_id"] = j.session
	}
	if j.handle != 0 {
		request["handle_id"] = j.handle
	}
	b, err := json.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := j.conn.Write(b); err != nil {
		t.Fatal(err)
	}
	return j.wait(t, kind)
}

// wait reads until something of a kind is told.
func (j *janus) wait(t *testing.T, kind string) map[string]any {
	t.Helper()
	buf := make([]byte, 1<<16)
	_ = j.conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	for {
		n, err := j.conn.Read(buf)
		if err != nil {
			t.Fatalf("no %s: %v", kind, err)
		}
		var answer map[string]any
		d := json.NewDecoder(bytes.NewReader(buf[:n]))
		d.UseNumber()
		if err := d.Decode(&answer); err != nil {
			t.Fatal(err)
		}
		switch answer["janus"] {
		case kind:
			return answer
		case "error":
			t.Fatalf("%s", buf[:n])
		}
	}
}

func idOf(t *testing.T, answer map[string]any) uint64 {
	t.Helper()
	data, _ := answer["data"].(map[string]any)
	var id uint64
	if _, err := fmt.Sscan(fmt.Sprint(data["id"]), &id); err != nil {
		t.Fatal(err)
	}
	return id
}

// What Janus itself recorded of a WebRTC call is read and imported: the packets
// that were sent, with their payloads.
func TestImportsWhatJanusRecorded(t *testing.T) {
	t.Parallel()
	vp8, opus := encode(t, "vp8"), encode(t, "opus")
	j := startJanus(t)
	j.session = idOf(t, j.ask(t, map[string]any{"janus": "create"}, "success"))
	j.handle = idOf(t, j.ask(t, map[string]any{"janus": "attach", "plugin": "janus.plugin.echotest"}, "success"))
	pc, err := webrtc.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = pc.GracefulClose() }()
	tracks := map[*webrtc.TrackLocalStaticRTP]clip{}
	for kind, c := range map[string]clip{webrtc.MimeTypeVP8: vp8, webrtc.MimeTypeOpus: opus} {
		track, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: kind}, c.codec, "call")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := pc.AddTrack(track); err != nil {
			t.Fatal(err)
		}
		tracks[track] = c
	}
	connected, done := context.WithCancel(t.Context())
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		if s == webrtc.PeerConnectionStateConnected {
			done()
		}
	})
	offer, err := pc.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(offer); err != nil {
		t.Fatal(err)
	}
	<-gathered
	dir := t.TempDir()
	answer := j.ask(t, map[string]any{
		"janus": "message", "body": map[string]any{"audio": true, "video": true, "record": true, "filename": filepath.Join(dir, "ann")},
		"jsep": map[string]any{"type": "offer", "sdp": pc.LocalDescription().SDP},
	}, "event")
	jsep, _ := answer["jsep"].(map[string]any)
	sdp, _ := jsep["sdp"].(string)
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: sdp}); err != nil {
		t.Fatalf("%v: %v", err, answer)
	}
	within(t, func() bool { return connected.Err() != nil })
	j.wait(t, "webrtcup") // both sides are: nothing sent from now on is dropped
	begun, tick := time.Now(), time.NewTicker(5*time.Millisecond)
	defer tick.Stop()
	for sent := map[*webrtc.TrackLocalStaticRTP]int{}; ; {
		left := false
		for track, c := range tracks {
			for ; sent[track] < len(c.packets) && c.at[sent[track]] <= time.Since(begun); sent[track]++ {
				p := *c.packets[sent[track]]
				if err := track.WriteRTP(&p); err != nil {
					t.Fatal(err)
				}
			}
			left = left || sent[track] < len(c.packets)
		}
		if !left {
			break
		}
		<-tick.C
	}
	j.ask(t, map[string]any{"janus": "hangup"}, "success")
	to, key := filepath.Join(t.TempDir(), "session"), raw.NewKey()
	var r *raw.Reader
	total := len(vp8.packets) + len(opus.packets)
	// The last packets may be under way, and the files buffered. A busy machine
	// loses some.
	within(t, func() bool {
		_ = raw.Destroy(to)
		res, err := Import(t.Context(), []string{dir}, nil, Options{Dir: to, Key: key})
		if err != nil || len(res.Problems) > 0 {
			return false
		}
		if r, err = raw.Open(to, key); err != nil {
			t.Fatal(err)
		}
		got := 0
		for _, s := range r.Streams() {
			packets, _ := stored(t, r, s.ID)
			got += len(packets)
		}
		return len(r.Streams()) == 2 && got >= total*8/10
	})
	if *keep != "" {
		b, err := os.ReadFile(filepath.Join(dir, "ann-audio.mjr"))
		if err == nil {
			err = os.WriteFile(*keep, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for id, c := range map[string]clip{"ann-camera": vp8, "ann-microphone": opus} {
		packets, at := stored(t, r, id)
		next := 0
		for i, b := range packets {
			var p rtp.Packet
			if err := p.Unmarshal(b); err != nil {
				t.Fatal(err)
			}
			for next < len(c.packets) && !bytes.Equal(p.Payload, c.packets[next].Payload) {
				next++
			}
			if next == len(c.packets) {
				t.Fatalf("%s: packet %d was not sent, or before", id, i)
			}
			next++
		}
		if length := at[len(at)-1] - at[0]; length < 500*time.Millisecond || length > 10*time.Second {
			t.Errorf("%s: %v long", id, length)
		}
	}
	if age := time.Since(r.Session().StartedAt); age < 0 || age > time.Minute {
		t.Errorf("began %v ago", age)
	}
}

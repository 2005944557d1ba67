package main

import (
	"crypto/sha256"
	"encoding/hex"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"stillwatch/internal/event"
	"stillwatch/internal/synthetic"
)

// What a publisher sent over a network that loses and swaps packets is in the
// file, picture by picture and bit by bit: what was lost was asked for again
// (NACK, RFC 4585, section 6.2.1).
func TestPicturesOverABadNetworkAreThoseThatWereSent(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: of the recorder in the program, TestARecordedCallBecomesAMovie alone is run then")
	}
	r := startRig(t, "STILLWATCH_RECORDING_FLAG_GRACE=0s")
	r.calltype(`{"frame_recording":{"mode":"disabled"},"recording":{"mode":"disabled","record_alone":true},"individual_recording":{"mode":"auto-on"}}`)
	losses := map[string]float64{"ada": 0, "ben": 0.02, "cleo": 0.1}
	clips, publishers := map[string]*synthetic.Clip{}, map[string]*synthetic.Publisher{}
	for user := range losses {
		picture := map[string]string{"ada": "neutral", "ben": "drawing", "cleo": "sexy"}[user]
		c, err := synthetic.MakeClip(t.Context(), buildDir+"/clips", synthetic.ClipConfig{
			Picture: picture, Codec: event.VP8, Width: 320, Height: 180, Kbps: 1000,
		})
		if err != nil {
			t.Fatal(err)
		}
		clips[user] = c
	}
	for user, loss := range losses {
		p := synthetic.NewPublisher(synthetic.PublisherConfig{
			URL: r.URL() + "/whip/default/bad", Token: r.token(user, ""), Clip: clips[user], Steady: true, Loss: loss, Swap: loss,
		})
		t.Cleanup(func() { p.Close() })
		if err := p.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		publishers[user] = p
	}
	<-time.After(8 * time.Second)
	for user, p := range publishers {
		p.Close()
		if got := p.Lost(); (got > 0) != (losses[user] > 0) {
			t.Errorf("%d packets of %s were lost", got, user)
		}
	}
	for user, c := range clips {
		var got []string
		for _, f := range r.ready(3, 120*time.Second) {
			if f.CallRecording.UserID == user {
				got = append(got, packetHashes(t, r.download(f.CallRecording))...)
			}
		}
		sent := make([]string, len(c.Frames))
		for i, frame := range c.Frames {
			sum := sha256.Sum256(frame)
			sent[i] = hex.EncodeToString(sum[:])
		}
		if len(got) < 75 { // the first keyframe may be lost, and the next comes 3 s later
			t.Fatalf("%s: %d pictures of 8 s", user, len(got))
		}
		at := slices.Index(sent, got[0])
		if at < 0 {
			t.Fatalf("%s: the first picture was never sent", user)
		}
		// What was on its way when the connection ended may be missing.
		for i, h := range got {
			if h != sent[(at+i)%len(sent)] {
				t.Errorf("%s: picture %d of %d is not the one that was sent", user, i, len(got))
				break
			}
		}
		t.Logf("%s: %.0f %% loss, %d packets dropped, %d pictures in a row as they were sent", user, 100*losses[user], publishers[user].Lost(), len(got))
	}
}

// packetHashes are the SHA-256 of a file's coded pictures.
func packetHashes(t *testing.T, path string) (all []string) {
	t.Helper()
	out, err := exec.Command("ffmpeg", "-v", "error", "-i", path, "-map", "0:v", "-c", "copy", "-f", "framehash", "-hash", "sha256", "-").Output()
	if err != nil {
		t.Fatalf("read %s: %v", path, err)
	}
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, "#") {
			f := strings.Split(strings.TrimSpace(line), ",")
			all = append(all, strings.TrimSpace(f[len(f)-1]))
		}
	}
	return all
}

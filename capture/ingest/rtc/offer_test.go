package rtc

import (
	"strings"
	"testing"
)

const head = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=fingerprint:sha-256 AA:BB\r\na=ice-ufrag:abcd\r\na=ice-pwd:efgh\r\n"

func TestParseOffer(t *testing.T) {
	t.Parallel()
	o, err := ParseOffer([]byte(head + "m=video 9 UDP/TLS/RTP/SAVPF 102\r\na=mid:0\r\na=sendonly\r\na=setup:passive\r\n" +
		"a=msid:screen-1 t\r\na=content:slides\r\na=rid:h send\r\na=rid:q send\r\n" +
		"a=fmtp:102 packetization-mode=1;sprop-parameter-sets=Z0IAH5ZUBQHogA==,aM44gA==;profile-level-id=42001f\r\n" +
		"a=candidate:1 1 udp 1 192.0.2.1 5 typ host\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	m := o.Media[0]
	if !o.Passive || !m.Sends || m.Receives || m.Content != "slides" || m.Stream != "screen-1" || len(m.Rids) != 2 || m.Rids[0] != "h" {
		t.Errorf("%+v", o)
	}
	if sets := m.ParameterSets(102); len(sets) != 2 || sets[0][0]&0x1f != 7 || sets[1][0]&0x1f != 8 {
		t.Errorf("parameter sets %x", sets)
	}
	if sets := m.ParameterSets(96); sets != nil {
		t.Errorf("parameter sets of another format: %x", sets)
	}
	r, err := o.Restarted("new1", "pass")
	if err != nil {
		t.Fatal(err)
	}
	if r.Ufrag != "new1" || r.Pwd != "pass" || strings.Contains(r.SDP, "candidate") || strings.Contains(r.SDP, "abcd") {
		t.Errorf("restarted: %s", r.SDP)
	}
}

func TestParseOfferRefuses(t *testing.T) {
	t.Parallel()
	video := "m=video 9 UDP/TLS/RTP/SAVPF 96\r\n"
	for say, body := range map[string]string{
		"not SDP":          "hello",
		"0 media sections": head,
		"no a=mid":         head + video,
		"two media":        head + video + "a=mid:0\r\n" + video + "a=mid:0\r\n",
		"audio and video":  head + "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:0\r\n",
		"ice-ufrag":        strings.ReplaceAll(head, "a=ice-ufrag", "a=x") + video + "a=mid:0\r\n",
		"fingerprint":      strings.ReplaceAll(head, "a=fingerprint", "a=x") + video + "a=mid:0\r\n",
		"layers":           head + video + "a=mid:0\r\n" + strings.Repeat("a=rid:x send\r\n", 5),
		"bytes":            head + strings.Repeat("a=x\r\n", 20000),
	} {
		if _, err := ParseOffer([]byte(body)); err == nil || !strings.Contains(err.Error(), say) {
			t.Errorf("%q: %v", say, err)
		}
	}
}

func FuzzParseOffer(f *testing.F) {
	f.Add([]byte(head + "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\na=sendonly\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := ParseOffer(b)
		if err != nil {
			return
		}
		if len(o.Media) == 0 || len(o.Media) > MaxMedia {
			t.Errorf("%d sections", len(o.Media))
		}
		_, _ = o.Restarted("abcd", "efgh")
		for _, m := range o.Media {
			m.ParameterSets(96)
		}
	})
}

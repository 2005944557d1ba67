package ingest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"

	"stillwatch/capture/ingest/rtc"
	"stillwatch/internal/event"
)

// maxCandidates bounds what one session may trickle.
const maxCandidates = 64

// Peer is a connection with the state of its negotiation over HTTP.
type Peer struct {
	PC *webrtc.PeerConnection

	patchMu sync.Mutex // one PATCH at a time

	mu         sync.Mutex
	etag       string
	offer      *rtc.Offer
	candidates int
}

// NewPeer takes a connection and the offer that it is for.
func NewPeer(pc *webrtc.PeerConnection, offer *rtc.Offer) *Peer {
	return &Peer{PC: pc, offer: offer, etag: newETag()}
}

func newETag() string { return `"` + event.NewID() + `"` }

// ETag is the entity tag of the present ICE session.
func (s *Peer) ETag() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.etag
}

// Offer is the present offer.
func (s *Peer) Offer() *rtc.Offer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.offer
}

// SetOffer hands the offer to the connection.
func (s *Peer) SetOffer(offer *rtc.Offer) error {
	err := s.PC.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer.SDP})
	if err != nil {
		return BadOffer(err)
	}
	return nil
}

// BadOffer tells why an offer could not be used.
func BadOffer(err error) error {
	if errors.Is(err, webrtc.ErrUnsupportedCodec) {
		return NoCodec()
	}
	return Refuse(http.StatusBadRequest, "the offer could not be used: %v", err)
}

// NoCodec refuses an offer without a codec that is taken.
func NoCodec() error {
	return Refuse(http.StatusNotAcceptable, "no codec of the offer is taken: offer %s", rtc.CodecNames)
}

// ServePatch takes candidates, or restarts ICE (RFC 9725, section 4.3).
func (s *Peer) ServePatch(w http.ResponseWriter, r *http.Request) error {
	body, err := ReadBody(w, r, TypeSDPFrag)
	if err != nil {
		return err
	}
	frag, err := parseFragment(string(body))
	if err != nil {
		return Refuse(http.StatusBadRequest, "%v", err)
	}
	s.patchMu.Lock()
	defer s.patchMu.Unlock()
	s.mu.Lock()
	etag, offer := s.etag, s.offer
	s.mu.Unlock()
	switch match := r.Header.Get("If-Match"); {
	case match == "":
		return Refuse(http.StatusPreconditionRequired,
			`send If-Match with the session's ETag to add candidates, or "*" to restart ICE`)
	case match == "*":
		if frag.ufrag == "" || frag.pwd == "" || frag.ufrag == offer.Ufrag {
			return Refuse(http.StatusBadRequest, "an ICE restart brings a new a=ice-ufrag and a=ice-pwd")
		}
		return s.restart(w, r, frag)
	case match != etag:
		return Refuse(http.StatusPreconditionFailed, "the ICE session has changed: its ETag is another now")
	case frag.ufrag != "" && frag.ufrag != offer.Ufrag:
		return Refuse(http.StatusBadRequest, `a new a=ice-ufrag is an ICE restart: send If-Match: *`)
	}
	if err := s.trickle(frag); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Peer) trickle(frag fragment) error {
	s.mu.Lock()
	s.candidates += len(frag.candidates)
	n := s.candidates
	s.mu.Unlock()
	if n > maxCandidates {
		return Refuse(http.StatusTooManyRequests, "more than %d candidates", maxCandidates)
	}
	for _, c := range frag.candidates {
		if err := s.PC.AddICECandidate(c); err != nil {
			return Refuse(http.StatusBadRequest, "candidate %q: %v", c.Candidate, err)
		}
	}
	return nil
}

// restart gives the connection new ICE credentials on both sides; the media
// goes on.
func (s *Peer) restart(w http.ResponseWriter, r *http.Request, frag fragment) error {
	s.mu.Lock()
	old := s.offer
	s.mu.Unlock()
	offer, err := old.Restarted(frag.ufrag, frag.pwd)
	if err != nil {
		return Refuse(http.StatusBadRequest, "%v", err)
	}
	// The sections' meaning, which a query may have set, stays.
	offer.Media = old.Media
	answer, err := s.renegotiate(r.Context(), offer)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.offer, s.etag, s.candidates = offer, newETag(), 0
	etag := s.etag
	s.mu.Unlock()
	if err := s.trickle(frag); err != nil {
		return err
	}
	reply, err := answerFragment(answer)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", TypeSDPFrag)
	h.Set("ETag", etag)
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write([]byte(reply))
	return nil
}

func (s *Peer) renegotiate(ctx context.Context, offer *rtc.Offer) (string, error) {
	if err := s.SetOffer(offer); err != nil {
		return "", err
	}
	return rtc.Answer(ctx, s.PC)
}

// fragment is what an SDP fragment brings (RFC 8840, section 9).
type fragment struct {
	ufrag, pwd string
	candidates []webrtc.ICECandidateInit
}

func parseFragment(body string) (fragment, error) {
	var f fragment
	mid := ""
	for line := range strings.SplitSeq(body, "\n") {
		line = strings.TrimSpace(line)
		key, value, _ := strings.Cut(line, ":")
		switch key {
		case "a=ice-ufrag":
			f.ufrag = value
		case "a=ice-pwd":
			f.pwd = value
		case "a=mid":
			mid = value
		case "a=candidate":
			if len(f.candidates) >= maxCandidates {
				return f, fmt.Errorf("more than %d candidates", maxCandidates)
			}
			m := mid
			f.candidates = append(f.candidates, webrtc.ICECandidateInit{
				Candidate: strings.TrimPrefix(line, "a="), SDPMid: &m,
			})
		default:
			if len(line) > 0 && (len(line) < 2 || line[1] != '=') {
				return f, fmt.Errorf("%.40q is not a line of an SDP fragment", line)
			}
		}
	}
	if strings.ContainsAny(f.ufrag+f.pwd, " \t") || len(f.ufrag) > 256 || len(f.pwd) > 256 {
		return f, fmt.Errorf("a=ice-ufrag and a=ice-pwd have 4 and 22 to 256 characters of ALPHA, DIGIT, + and /")
	}
	return f, nil
}

// answerFragment takes our credentials and candidates out of an answer.
func answerFragment(answer string) (string, error) {
	var d sdp.SessionDescription
	if err := d.UnmarshalString(answer); err != nil {
		return "", fmt.Errorf("read our answer: %w", err)
	}
	var b strings.Builder
	for i, md := range d.MediaDescriptions {
		if i == 0 {
			ufrag, _ := md.Attribute("ice-ufrag")
			pwd, _ := md.Attribute("ice-pwd")
			fmt.Fprintf(&b, "a=ice-ufrag:%s\r\na=ice-pwd:%s\r\n", ufrag, pwd)
		}
		mid, _ := md.Attribute("mid")
		var list strings.Builder
		for _, a := range md.Attributes {
			if a.Key == "candidate" {
				fmt.Fprintf(&list, "a=candidate:%s\r\n", a.Value)
			}
		}
		if list.Len() > 0 {
			fmt.Fprintf(&b, "m=%s 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:%s\r\n%sa=end-of-candidates\r\n",
				md.MediaName.Media, mid, list.String())
		}
	}
	return b.String(), nil
}

package whep

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/pion/webrtc/v4"

	"stillwatch/capture/call"
	"stillwatch/capture/ingest"
	"stillwatch/capture/ingest/rtc"
	"stillwatch/internal/event"
)

// serverViewer is the user id under which the backend itself watches.
const serverViewer = "server"

// watch handles an offer.
func (s *Server) watch(w http.ResponseWriter, r *http.Request, to target) error {
	who, err := s.identify(r, to)
	if err != nil {
		return err
	}
	body, err := ingest.ReadBody(w, r, ingest.TypeSDP)
	if err != nil {
		return err
	}
	offer, err := readOffer(body)
	if err != nil {
		return err
	}
	seat, err := s.cfg.Registry.Take(call.Request{
		CallType: to.callType, CallID: to.callID, UserID: who.UserID, Role: who.Role, Viewer: true,
	})
	if err != nil {
		return ingest.SeatRefusal(err)
	}
	ses, answer, err := s.open(r, seat, who, to, offer)
	if err != nil {
		seat.Leave("not admitted")
		return err
	}
	h := w.Header()
	h.Set("Content-Type", ingest.TypeSDP)
	h.Set("Location", strings.Join([]string{s.cfg.Prefix, to.callType, to.callID, to.userID, seat.ID()}, "/"))
	h.Set("ETag", ses.peer.ETag())
	h.Set("Accept-Patch", ingest.TypeSDPFrag)
	w.WriteHeader(http.StatusCreated)
	_, _ = w.Write([]byte(answer))
	return nil
}

func (s *Server) identify(r *http.Request, to target) (ingest.Identity, error) {
	who, err := ingest.Bearer(r, s.cfg.Auth)
	if err != nil {
		return who, err
	}
	if err := to.check(); err != nil {
		return who, err
	}
	if who.UserID == "" {
		who.UserID = serverViewer
	}
	if !who.May(to.cid()) {
		return who, ingest.Refuse(http.StatusForbidden, "the token is not good for the call %s", to.cid())
	}
	return who, nil
}

func readOffer(body []byte) (*rtc.Offer, error) {
	offer, err := rtc.ParseOffer(body)
	if err != nil {
		return nil, ingest.Refuse(http.StatusBadRequest, "%v", err)
	}
	receives := false
	for _, m := range offer.Media {
		if m.Sends {
			return nil, ingest.Refuse(http.StatusBadRequest, "a=mid:%s would send: make the sections recvonly", m.MID)
		}
		receives = receives || m.Receives
	}
	if !receives {
		return nil, ingest.Refuse(http.StatusBadRequest, "the offer receives nothing: make its sections recvonly")
	}
	return offer, nil
}

// open admits the viewer, finds the tracks and makes the connection.
func (s *Server) open(
	r *http.Request, seat *call.Seat, who ingest.Identity, to target, offer *rtc.Offer,
) (*session, string, error) {
	err := s.cfg.Gatekeeper.Admit(r.Context(), ingest.Request{
		CID: to.cid(), CallType: to.callType, CallID: to.callID,
		UserID: who.UserID, Role: who.Role, Server: who.Server, Watch: to.userID,
	})
	if err != nil {
		return nil, "", err
	}
	tracks, err := s.choose(r, to, offer)
	if err != nil {
		return nil, "", err
	}
	codecs := make([]webrtc.RTPCodecCapability, 0, len(tracks))
	for _, t := range tracks {
		c := rtc.Capability(t.Codec())
		known := slices.ContainsFunc(codecs, func(have webrtc.RTPCodecCapability) bool {
			return have.MimeType == c.MimeType && have.SDPFmtpLine == c.SDPFmtpLine
		})
		if !known {
			codecs = append(codecs, c)
		}
	}
	pc, err := s.cfg.Transport.NewViewer(offer, codecs...)
	if err != nil {
		return nil, "", err
	}
	ses := newSession(s, seat, pc, offer, r.URL.Query().Get("rid"))
	answer, err := ses.negotiate(r.Context(), tracks)
	if err == nil {
		ses.begin(to)
		err = s.add(ses)
	}
	if err == nil {
		err = seat.Attach(ses)
	}
	if err != nil {
		ses.End("not connected")
		return nil, "", ingest.SeatRefusal(err)
	}
	return ses, answer, nil
}

// choose picks a track for each section of the offer, the camera first.
func (s *Server) choose(r *http.Request, to target, offer *rtc.Offer) ([]*call.Track, error) {
	source := r.URL.Query().Get("source")
	free := map[string]int{}
	for _, m := range offer.Media {
		if m.Receives {
			free[m.Kind]++
		}
	}
	all := s.cfg.Registry.Tracks(to.cid(), to.userID)
	var out []*call.Track
	for _, screen := range []bool{false, true} {
		for _, t := range all {
			if isScreen(t) != screen || source == "camera" && screen || source == "screen_share" && !screen {
				continue
			}
			if k := kind(t); free[k] > 0 {
				free[k]--
				out = append(out, t)
			}
		}
	}
	if len(out) == 0 {
		return nil, &ingest.Refusal{
			Status:     http.StatusNotFound,
			Reason:     fmt.Sprintf("user %s publishes nothing of the kind in %s now", to.userID, to.cid()),
			RetryAfter: 2 * time.Second,
		}
	}
	return out, nil
}

func kind(t *call.Track) string {
	if t.Video() {
		return "video"
	}
	return "audio"
}

func isScreen(t *call.Track) bool {
	typ := t.Info().Type
	return typ == event.TrackScreenShare || typ == event.TrackScreenShareAudio
}

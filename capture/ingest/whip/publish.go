package whip

import (
	"errors"
	"net/http"
	"strings"

	"github.com/pion/sdp/v3"

	"stillwatch/capture/call"
	"stillwatch/capture/ingest"
	"stillwatch/capture/ingest/rtc"
	"stillwatch/internal/event"
)

// publish handles an offer.
func (s *Server) publish(w http.ResponseWriter, r *http.Request, callType, callID string) error {
	who, err := s.identify(r, callType, callID)
	if err != nil {
		return err
	}
	record, err := recordType(r)
	if err != nil {
		return err
	}
	body, err := ingest.ReadBody(w, r, ingest.TypeSDP)
	if err != nil {
		return err
	}
	offer, err := readOffer(body, r)
	if err != nil {
		return err
	}
	// The seat is taken before the question whether the user may come in: a
	// ban that is carried out in between finds it.
	seat, err := s.cfg.Registry.Take(call.Request{
		CallType: callType, CallID: callID, UserID: who.UserID, Role: who.Role,
	})
	if err != nil {
		return ingest.SeatRefusal(err)
	}
	err = s.cfg.Gatekeeper.Admit(r.Context(), ingest.Request{
		CID: seat.CID(), CallType: callType, CallID: callID,
		UserID: who.UserID, Role: who.Role, Server: who.Server, Record: record,
	})
	if err != nil {
		seat.Leave("not admitted")
		return err
	}
	ses, answer, err := s.open(r, seat, offer, record)
	if err != nil {
		seat.Leave("not connected")
		return err
	}
	h := w.Header()
	h.Set("Content-Type", ingest.TypeSDP)
	h.Set("Location", strings.Join([]string{s.cfg.Prefix, callType, callID, ses.id}, "/"))
	h.Set("ETag", ses.peer.ETag())
	h.Set("Accept-Patch", ingest.TypeSDPFrag)
	w.WriteHeader(http.StatusCreated)
	_, _ = w.Write([]byte(answer))
	return nil
}

// identify says who publishes; a server token names the user by ?user_id=.
func (s *Server) identify(r *http.Request, callType, callID string) (ingest.Identity, error) {
	who, err := ingest.Bearer(r, s.cfg.Auth)
	if err != nil {
		return who, err
	}
	if err := errors.Join(ingest.CheckName("the call type", callType), ingest.CheckName("the call id", callID)); err != nil {
		return who, err
	}
	if who.Server && who.UserID == "" {
		if who.UserID = r.URL.Query().Get("user_id"); who.UserID == "" {
			return who, ingest.Refuse(http.StatusBadRequest, "a server token needs ?user_id= to say who publishes")
		}
	}
	if err := ingest.CheckName("the user id", who.UserID); err != nil {
		return who, err
	}
	if cid := callType + ":" + callID; !who.May(cid) {
		return who, ingest.Refuse(http.StatusForbidden, "the token is not good for the call %s", cid)
	}
	return who, nil
}

// recordType reads ?record_type=, by which a publisher's URL says what of the
// stream is to be recorded.
func recordType(r *http.Request) (event.RecordType, error) {
	query := r.URL.Query()
	if !query.Has("record_type") {
		return event.RecordAll, nil
	}
	t := event.RecordType(query.Get("record_type"))
	if t != event.RecordAudio && t != event.RecordVideo {
		return "", ingest.Refuse(http.StatusBadRequest, "record_type must be %s or %s; without it both are recorded", event.RecordAudio, event.RecordVideo)
	}
	return t, nil
}

func readOffer(body []byte, r *http.Request) (*rtc.Offer, error) {
	offer, err := rtc.ParseOffer(body)
	if err != nil {
		return nil, ingest.Refuse(http.StatusBadRequest, "%v", err)
	}
	sends := false
	for i := range offer.Media {
		m := &offer.Media[i]
		sends = sends || m.Sends
		if r.URL.Query().Get("source") == "screen_share" {
			m.Content = "slides"
		}
	}
	if !sends {
		return nil, ingest.Refuse(http.StatusBadRequest, "the offer sends nothing: make its sections sendonly")
	}
	return offer, nil
}

// open makes the connection for an offer and answers it.
func (s *Server) open(r *http.Request, seat *call.Seat, offer *rtc.Offer, record event.RecordType) (*session, string, error) {
	pc, err := s.cfg.Transport.NewPublisher(offer)
	if err != nil {
		return nil, "", err
	}
	ses := newSession(s, seat, pc, offer)
	ses.record = record
	answer, err := ses.negotiate(r.Context())
	if err == nil {
		err = s.add(ses)
	}
	if err == nil {
		err = seat.Attach(ses)
	}
	if err != nil {
		ses.End("not connected")
		return nil, "", ingest.SeatRefusal(err)
	}
	ses.watchConnect()
	return ses, answer, nil
}

// extensions are ids of RTP header extensions, 0 where not agreed on. They
// are the same in all sections of a bundle (RFC 9143).
type extensions struct{ twcc, rotation, audioLevel uint8 }

// inspect reads from our answer what was agreed on: the ids of the header
// extensions, and whether anything was accepted at all.
func inspect(answer string) (ids extensions, err error) {
	var d sdp.SessionDescription
	if err := d.UnmarshalString(answer); err != nil {
		return ids, err
	}
	accepted := false
	for _, md := range d.MediaDescriptions {
		accepted = accepted || md.MediaName.Port.Value != 0
		for _, a := range md.Attributes {
			if a.Key != "extmap" {
				continue
			}
			var e sdp.ExtMap
			if e.Unmarshal("extmap:"+a.Value) != nil || e.URI == nil || e.Value < 1 || e.Value > 255 {
				continue
			}
			switch e.URI.String() {
			case rtc.TransportCCURI:
				ids.twcc = uint8(e.Value)
			case rtc.RotationURI:
				ids.rotation = uint8(e.Value)
			case rtc.AudioLevelURI:
				ids.audioLevel = uint8(e.Value)
			}
		}
	}
	if !accepted {
		return ids, ingest.NoCodec()
	}
	return ids, nil
}

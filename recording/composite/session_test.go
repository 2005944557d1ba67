package composite

import (
	"fmt"
	"iter"
	"slices"
	"testing"
	"time"

	"stillwatch/internal/event"
	"stillwatch/recording/layout"
	"stillwatch/recording/media"
	"stillwatch/recording/raw"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
)

// packets is a session's folder in memory; see media.Source.
type packets struct {
	entries []raw.Entry
	streams []raw.StreamInfo
	of      map[string][]raw.Packet
	length  time.Duration
}

func (p *packets) Session() raw.SessionInfo  { return raw.SessionInfo{CID: "default:x", SessionID: "s"} }
func (p *packets) Entries() []raw.Entry      { return p.entries }
func (p *packets) Streams() []raw.StreamInfo { return p.streams }
func (p *packets) Length() time.Duration     { return p.length }
func (p *packets) Packets(id string) iter.Seq2[raw.Packet, error] {
	return func(yield func(raw.Packet, error) bool) {
		for _, packet := range p.of[id] {
			packet.Data = slices.Clone(packet.Data)
			if !yield(packet, nil) {
				return
			}
		}
	}
}

// send lets somebody join and send a clip of VP8 at once.
func (p *packets) send(t *testing.T, user string, s shot) {
	t.Helper()
	info := raw.StreamInfo{
		ID: user + "-v", TrackID: user + "-track", UserID: user, UserSessionID: user + "-1", Type: event.TrackVideo,
		MimeType: "video/VP8", ClockRate: 90_000, At: s.at,
	}
	p.streams = append(p.streams, info)
	p.entries = append(p.entries,
		raw.Entry{Kind: raw.Joined, At: s.at, UserID: user, UserSessionID: info.UserSessionID, Name: "Name of " + user},
		raw.Entry{Kind: raw.Added, At: s.at, UserID: user, UserSessionID: info.UserSessionID, TrackID: info.TrackID, Stream: &info})
	pay := codecs.VP8Payloader{EnablePictureID: true}
	seq := uint16(65_000)
	for n, frame := range clip(t, s.clipKey) {
		parts := pay.Payload(1100, frame)
		for i, part := range parts {
			packet := rtp.Packet{Header: rtp.Header{
				Version: 2, PayloadType: 96, SequenceNumber: seq, Timestamp: uint32(4_294_900_000 + n*90_000/s.fps),
				SSRC: 7, Marker: i == len(parts)-1,
			}, Payload: part}
			seq++
			data, err := packet.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			p.of[info.ID] = append(p.of[info.ID], raw.Packet{At: s.time(n), Data: data})
		}
	}
}

// From packets to the movie.
func TestRecordedCall(t *testing.T) {
	t.Parallel()
	p := &packets{of: map[string][]raw.Packet{}, length: 2 * time.Second}
	c := newCall(t, p.length)
	for i, at := range []time.Duration{0, 520 * time.Millisecond} {
		user := fmt.Sprint("user-", i)
		s := shot{clipKey: key("VP8", i, int((p.length-at).Seconds()*25)), at: at}
		p.send(t, user, s)
		c.film(c.join(user, at, c.length), false, []shot{s})
	}
	s, err := media.Load(p)
	if err != nil {
		t.Fatal(err)
	}
	src := FromSession(s)
	people := src.People()
	if len(people) != 2 || people[1].Name != "Name of user-1" || len(people[1].Camera) != 1 || people[1].Camera[0].TrackID != "user-1-track" {
		t.Fatalf("people are %+v", people)
	}
	for i := range people { // the checks know tracks by their own names
		for j := range people[i].Camera {
			people[i].Camera[j].TrackID = c.tracks[i].ID
		}
	}
	c.people = people
	o := Options{Quality: "360p", Arrange: layout.Options{MaxTiles: 4}}
	m, chunks, dir := render(t, src, o)
	c.check(t, decode(t, join(t, m, chunks, "", dir)[0], m.Width, m.Height), m, o)
}

package recorder

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"stillwatch/recording/raw"
)

// rawMetadata says what the packets of a raw recording are: a dump alone does
// not tell of codecs.
type rawMetadata struct {
	CallCID   string      `json:"call_cid"`
	SessionID string      `json:"session_id"`
	StartTime time.Time   `json:"start_time"`
	EndTime   time.Time   `json:"end_time"`
	Streams   []rawStream `json:"streams"`
	// Journal is who was there at the beginning, came and went.
	Journal []rawEntry `json:"journal"`
}

type rawStream struct {
	Filename string `json:"filename"`
	// PayloadType is that of the first packet.
	PayloadType   uint8     `json:"payload_type"`
	MimeType      string    `json:"mime_type"`
	ClockRate     uint32    `json:"clock_rate"`
	Channels      uint16    `json:"channels,omitempty"`
	Fmtp          string    `json:"fmtp,omitempty"`
	ParameterSets [][]byte  `json:"parameter_sets,omitempty"`
	TrackID       string    `json:"track_id"`
	TrackType     string    `json:"track_type"`
	RID           string    `json:"rid,omitempty"`
	UserID        string    `json:"user_id"`
	UserSessionID string    `json:"user_session_id"`
	StartTime     time.Time `json:"start_time"`
}

type rawEntry struct {
	Kind          raw.EntryKind `json:"kind"`
	Time          time.Time     `json:"time"`
	UserID        string        `json:"user_id"`
	UserSessionID string        `json:"user_session_id"`
	Name          string        `json:"name,omitempty"`
	Role          string        `json:"role,omitempty"`
}

// rawSidecar writes the metadata of what a raw recording consists of. Of whom
// the plan omits there is nothing in it.
func (t *task) rawSidecar(ctx context.Context, all []stored, from, to time.Duration) (string, error) {
	reader, err := t.r.openPackets(ctx, t.run.SessionID)
	if t.r.away(err) || errors.Is(err, errNotHere) || ctx.Err() != nil && err != nil {
		return "", err
	}
	if err != nil {
		return "", fmt.Errorf("%w: %w", errPackets, err)
	}
	start := t.sessionStart()
	meta := rawMetadata{
		CallCID: t.run.CID, SessionID: t.run.SessionID, StartTime: start.Add(from).UTC(), EndTime: start.Add(to).UTC(),
		Streams: []rawStream{}, Journal: t.journal(reader.Entries(), from, to),
	}
	streams := reader.Streams()
	for _, f := range all {
		if f.row.Kind != kindRaw || f.N >= len(streams) {
			continue
		}
		s := streams[f.N]
		meta.Streams = append(meta.Streams, rawStream{
			Filename: f.row.Filename, PayloadType: payloadType(reader, s.ID), MimeType: s.MimeType, ClockRate: s.ClockRate, Channels: s.Channels,
			Fmtp: s.Fmtp, ParameterSets: s.ParameterSets, TrackID: s.TrackID, TrackType: string(s.Type), RID: s.RID,
			UserID: s.UserID, UserSessionID: s.UserSessionID, StartTime: start.Add(s.At).UTC(),
		})
	}
	text, err := json.MarshalIndent(meta, "", "  ")
	if err != nil {
		return "", fmt.Errorf("write metadata: %w", err)
	}
	const name = "metadata.json"
	if err := t.write(name, append(text, '\n')); err != nil {
		return "", fmt.Errorf("write metadata: %w", err)
	}
	return name, nil
}

// journal is who was there at the beginning of a window, and came and went in
// it.
func (t *task) journal(entries []raw.Entry, from, to time.Duration) []rawEntry {
	out := []rawEntry{}
	for _, e := range entries {
		if e.Kind != raw.Joined && e.Kind != raw.Left || e.At > to || slices.Contains(t.plan.Omit, e.UserID) {
			continue
		}
		if e.Kind == raw.Left && e.At < from {
			out = slices.DeleteFunc(out, func(o rawEntry) bool { return o.UserSessionID == e.UserSessionID })
			continue
		}
		out = append(out, rawEntry{
			Kind: e.Kind, Time: t.sessionStart().Add(e.At).UTC(), UserID: e.UserID, UserSessionID: e.UserSessionID, Name: e.Name, Role: e.Role,
		})
	}
	return out
}

// payloadType is that of a stream's first packet (RFC 3550, section 5.1).
func payloadType(reader *raw.Reader, id string) uint8 {
	for p, err := range reader.Packets(id) {
		if err != nil {
			break
		}
		if !p.RTCP && len(p.Data) > 1 {
			return p.Data[1] & 0x7f
		}
	}
	return 0
}

// Package event names every event that crosses from one stage to another and
// the payload it carries. Stages share this package and nothing else.
package event

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"
)

// Topic is a stream of the bus.
type Topic string

// The topics. Lossy ones keep the newest entries only; lossless ones are
// written through the database's outbox and are never trimmed while unread.
const (
	// TopicFrames carries FrameReady and FrameGap. Lossy.
	TopicFrames Topic = "frames"
	// TopicVerdicts carries Verdict. Lossy: a verdict that led to a decision
	// is in the database.
	TopicVerdicts Topic = "verdicts"
	// TopicActions carries ActionRequested. Lossless.
	TopicActions Topic = "actions"
	// TopicControl carries Control: orders to capture nodes. Lossless; each
	// node reads it with a group of its own.
	TopicControl Topic = "control"
	// TopicConfirmed carries ControlDone, and ActionConfirmed after it. Lossless.
	TopicConfirmed Topic = "confirmed"
	// TopicChecks carries CheckRequested, and Verdict as TypeOutsideVerdict.
	// Lossless.
	TopicChecks Topic = "checks"
	// TopicPublic carries Public: what backends receive by webhook or queue.
	// Lossless, but for the frame events, which are Lossy by type.
	TopicPublic Topic = "public"
	// TopicRecordings carries TypeRecordingSteps: a hint to look into the
	// database. Lossy.
	TopicRecordings Topic = "recordings"
)

// Topics lists every topic.
func Topics() []Topic {
	return []Topic{TopicFrames, TopicVerdicts, TopicActions, TopicControl, TopicConfirmed, TopicChecks, TopicPublic, TopicRecordings}
}

// Lossy tells whether the topic may drop its oldest entries under load.
func (t Topic) Lossy() bool { return t == TopicFrames || t == TopicVerdicts || t == TopicRecordings }

// Types of internal events.
const (
	TypeFrameReady      = "frame.ready"
	TypeFrameGap        = "frame.gap"
	TypeVerdict         = "verdict.made"
	TypeActionRequested = "action.requested"
	TypeActionConfirmed = "action.confirmed"
	TypeControl         = "control.requested"
	TypeControlDone     = "control.done"
	TypeCheckRequested  = "check.requested"
	TypeOutsideVerdict  = "verdict.outside"
	TypeRecordingSteps  = "recording.steps"
)

// Envelope is what travels on the bus.
type Envelope struct {
	// ID is unique for the event and the same on every redelivery: the key
	// by which handlers make a duplicate harmless.
	ID string `json:"id"`
	// Type is one of the Type constants, or a public type ("user.banned").
	Type string `json:"type"`
	// Key orders: events of one key are handled in the order of publishing.
	// It is the call's cid, with "/user" behind it where one is concerned.
	Key string `json:"key"`
	// At is when the event happened, in UTC.
	At time.Time `json:"at"`
	// Data is the payload, JSON.
	Data json.RawMessage `json:"data"`
}

// New makes an envelope with a fresh id around a payload. It panics if the
// payload cannot be marshalled, which no payload of this package can cause.
func New(typ, key string, at time.Time, payload any) Envelope {
	data, err := json.Marshal(payload)
	if err != nil {
		panic(fmt.Sprintf("event: marshal %s: %v", typ, err))
	}
	return Envelope{ID: NewID(), Type: typ, Key: key, At: at.UTC(), Data: data}
}

// Decode reads the payload into v.
func (e Envelope) Decode(v any) error {
	if err := json.Unmarshal(e.Data, v); err != nil {
		return fmt.Errorf("decode %s %s: %w", e.Type, e.ID, err)
	}
	return nil
}

// NewID returns a random version 4 UUID (RFC 9562, section 5.4): 122 random
// bits, so that ids in URLs cannot be guessed.
func NewID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails since Go 1.24
	return uuid(b, 4)
}

// DeriveID returns a version 8 UUID (RFC 9562, section 5.8) that follows from
// the parts: whoever does the same thing again gives it the same id, so that
// a duplicate is seen to be one. At least one part should be a random id.
func DeriveID(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return uuid([16]byte(h.Sum(nil)[:16]), 8)
}

func uuid(b [16]byte, version byte) string {
	b[6] = b[6]&0x0f | version<<4
	b[8] = b[8]&0x3f | 0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

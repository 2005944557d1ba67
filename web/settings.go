package web

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"stillwatch/recording"
	"stillwatch/recording/permission"
)

// Modes of a recording kind. Full recordings have recording.ModeOnFlag besides.
const (
	ModeAvailable = "available" // started and stopped by request
	ModeDisabled  = "disabled"  // cannot be started
	ModeAutoOn    = "auto-on"   // starts by itself with every new call
)

// Bounds and default of capture_interval_in_seconds.
const (
	MinInterval     = 2
	MaxInterval     = 60
	DefaultInterval = 2
)

// maxInactivity bounds session.inactivity_timeout_seconds.
const maxInactivity = 24 * 60 * 60

// DefaultQuality is the frame height unless a setting says otherwise.
const DefaultQuality = "720p"

var (
	modes           = []string{ModeAvailable, ModeDisabled, ModeAutoOn}
	frameQualities  = []string{"360p", "420p", "480p", "720p", "1080p", "1440p"}
	encryptionModes = []string{"available", "disabled", "auto-on"}
	evidenceModes   = []string{string(permission.EvidenceDisabled), string(permission.EvidenceOnFlag)}
)

// object is a group of settings that is kept and returned and has no effect
// in this version.
type object map[string]any

// Settings are the settings of a call type and, frozen when it is created, of
// a call. Zero values are not the defaults; DefaultSettings gives those.
type Settings struct {
	Audio               object              `json:"audio"`
	Backstage           Backstage           `json:"backstage"`
	Broadcasting        object              `json:"broadcasting"`
	Geofencing          Geofencing          `json:"geofencing"`
	Recording           Recording           `json:"recording"`
	IndividualRecording IndividualRecording `json:"individual_recording"`
	RawRecording        RawRecording        `json:"raw_recording"`
	FrameRecording      FrameRecording      `json:"frame_recording"`
	Ring                object              `json:"ring"`
	Screensharing       object              `json:"screensharing"`
	Transcription       object              `json:"transcription"`
	Video               Switch              `json:"video"`
	Thumbnails          Switch              `json:"thumbnails"`
	Limits              Limits              `json:"limits"`
	Session             SessionSettings     `json:"session"`
	Ingress             Switch              `json:"ingress"`
	Encryption          Encryption          `json:"encryption"`
	ModerationEvidence  ModerationEvidence  `json:"moderation_evidence"`
}

// FrameRecording says whether and how still frames are captured.
type FrameRecording struct {
	// Mode is available, disabled or auto-on.
	Mode string `json:"mode"`
	// CaptureIntervalInSeconds is 2 to 60.
	CaptureIntervalInSeconds int `json:"capture_interval_in_seconds"`
	// Quality is the height: 360p, 420p, 480p, 720p, 1080p or 1440p. A smaller
	// source is never enlarged.
	Quality string `json:"quality"`
}

// Backstage lets a call wait before it goes live.
type Backstage struct {
	Enabled              bool `json:"enabled"`
	JoinAheadTimeSeconds int  `json:"join_ahead_time_seconds,omitempty"`
}

// Geofencing names regions.
type Geofencing struct {
	Names []string `json:"names"`
}

// Switch is a group with nothing but an on and off.
type Switch struct {
	Enabled bool `json:"enabled"`
}

// Limits bound a call; zero is no limit.
type Limits struct {
	MaxParticipants             int      `json:"max_participants,omitempty"`
	MaxParticipantsExcludeRoles []string `json:"max_participants_exclude_roles,omitempty"`
	MaxParticipantsExcludeOwner bool     `json:"max_participants_exclude_owner,omitempty"`
	MaxDurationSeconds          int      `json:"max_duration_seconds,omitempty"`
}

// SessionSettings are about the live run.
type SessionSettings struct {
	// InactivityTimeoutSeconds is how long a call that is to end when one is
	// left alone waits for somebody to come back; 0 is DefaultInactivity.
	InactivityTimeoutSeconds int `json:"inactivity_timeout_seconds"`
	// EndCallWhenAlone ends the call, and hangs up the last one, when the other
	// of the last two has left.
	EndCallWhenAlone bool `json:"end_call_when_alone"`
}

// DefaultInactivity is how long somebody may be alone in a call that ends then:
// a page that is loaded anew, or a connection that broke, is back by then.
const DefaultInactivity = 10 * time.Second

// aloneAfter is after how long alone the call ends, 0 is never.
func (s SessionSettings) aloneAfter() time.Duration {
	switch {
	case !s.EndCallWhenAlone:
		return 0
	case s.InactivityTimeoutSeconds == 0:
		return DefaultInactivity
	}
	return time.Duration(s.InactivityTimeoutSeconds) * time.Second
}

// Encryption is end to end, which leaves nothing to look at.
type Encryption struct {
	Mode string `json:"mode"`
}

// ModerationEvidence says whether a flagged call is recorded as evidence,
// whatever the recording permissions of its caller say.
type ModerationEvidence struct {
	// Mode is disabled or on-flag.
	Mode string `json:"mode"`
}

// DefaultSettings are those of a call type that was made without any.
func DefaultSettings() Settings {
	return Settings{
		Audio: object{}, Broadcasting: object{}, Ring: object{}, Screensharing: object{}, Transcription: object{},
		Geofencing: Geofencing{Names: []string{}},
		Recording:  defaultRecording(),
		IndividualRecording: IndividualRecording{
			Mode: ModeDisabled, OutputTypes: []string{"audio_video"}, Formats: recording.DefaultPlan().IndividualFormats, SoundFormat: recording.DefaultPlan().SoundFormat,
		},
		RawRecording:       RawRecording{Mode: ModeDisabled},
		FrameRecording:     FrameRecording{Mode: ModeAvailable, CaptureIntervalInSeconds: DefaultInterval, Quality: DefaultQuality},
		Video:              Switch{Enabled: true},
		Encryption:         Encryption{Mode: ModeDisabled},
		ModerationEvidence: ModerationEvidence{Mode: string(permission.EvidenceDisabled)},
	}
}

// Merge returns the settings with a partial update applied: objects and
// fields that patch does not name stay as they are. prefix is the patch's
// path in the request, for errors.
func (s Settings) Merge(patch json.RawMessage, prefix string) (Settings, error) {
	if len(patch) == 0 || string(patch) == "null" {
		return s, nil
	}
	merged := s.clone()
	if err := unmarshal(patch, prefix, &merged); err != nil {
		return s, err
	}
	fields := merged.check(prefix)
	maps.Copy(fields, unknownRecordingNames(patch, prefix))
	if wantsMode(patch) {
		fields[prefix+".frame_recording.mode"] = "is required and must be one of " + list(modes)
	}
	if len(fields) > 0 {
		return s, badFields(fields)
	}
	return merged.filled(), nil
}

// wantsMode tells whether patch has a frame_recording object without a mode.
func wantsMode(patch json.RawMessage) bool {
	var p struct {
		FrameRecording map[string]json.RawMessage `json:"frame_recording"`
	}
	if json.Unmarshal(patch, &p) != nil || p.FrameRecording == nil {
		return false
	}
	_, ok := p.FrameRecording["mode"]
	return !ok
}

// clone copies what Merge could otherwise change through shared maps.
func (s Settings) clone() Settings {
	for _, m := range []*object{&s.Audio, &s.Broadcasting, &s.Ring, &s.Screensharing, &s.Transcription, &s.Recording.Layout.Options} {
		*m = maps.Clone(*m)
	}
	s.Geofencing.Names = slices.Clone(s.Geofencing.Names)
	for _, l := range []*[]string{&s.IndividualRecording.OutputTypes, &s.IndividualRecording.Formats, &s.Recording.Formats, &s.Recording.OmitUsers} {
		*l = slices.Clone(*l)
	}
	s.Limits.MaxParticipantsExcludeRoles = slices.Clone(s.Limits.MaxParticipantsExcludeRoles)
	return s
}

// filled replaces collections that a patch set to null: clients get [] and {}.
func (s Settings) filled() Settings {
	for _, m := range []*object{&s.Audio, &s.Broadcasting, &s.Ring, &s.Screensharing, &s.Transcription, &s.Recording.Layout.Options} {
		if *m == nil {
			*m = object{}
		}
	}
	if s.Geofencing.Names == nil {
		s.Geofencing.Names = []string{}
	}
	for _, l := range []*[]string{&s.IndividualRecording.OutputTypes, &s.IndividualRecording.Formats, &s.Recording.Formats, &s.Recording.OmitUsers} {
		if *l == nil {
			*l = []string{}
		}
	}
	return s
}

// check returns what is wrong, by field.
func (s Settings) check(prefix string) map[string]string {
	fields := map[string]string{}
	oneOf := func(field, value string, allowed []string) {
		if !slices.Contains(allowed, value) {
			fields[prefix+"."+field] = "must be one of " + list(allowed)
		}
	}
	atLeastZero := func(field string, n int) {
		if n < 0 {
			fields[prefix+"."+field] = "must not be negative"
		}
	}
	oneOf("frame_recording.mode", s.FrameRecording.Mode, modes)
	oneOf("frame_recording.quality", s.FrameRecording.Quality, frameQualities)
	if n := s.FrameRecording.CaptureIntervalInSeconds; n < MinInterval || n > MaxInterval {
		fields[prefix+".frame_recording.capture_interval_in_seconds"] = fmt.Sprintf("must be an integer from %d to %d", MinInterval, MaxInterval)
	}
	for field, want := range s.checkRecording() {
		fields[prefix+"."+field] = want
	}
	oneOf("moderation_evidence.mode", s.ModerationEvidence.Mode, evidenceModes)
	oneOf("encryption.mode", s.Encryption.Mode, encryptionModes)
	atLeastZero("limits.max_participants", s.Limits.MaxParticipants)
	atLeastZero("limits.max_duration_seconds", s.Limits.MaxDurationSeconds)
	atLeastZero("backstage.join_ahead_time_seconds", s.Backstage.JoinAheadTimeSeconds)
	atLeastZero("session.inactivity_timeout_seconds", s.Session.InactivityTimeoutSeconds)
	if s.Session.InactivityTimeoutSeconds > maxInactivity {
		fields[prefix+".session.inactivity_timeout_seconds"] = fmt.Sprintf("must be at most %d", maxInactivity)
	}
	return fields
}

func list(values []string) string { return strings.Join(values, ", ") }

// LiveSettings reads out of the settings JSON of a call or a call type what
// counts while it runs: how frames are recorded, and after how long alone the
// last participant is hung up, 0 being never. What is missing has its default.
func LiveSettings(settings json.RawMessage) (frames FrameRecording, aloneAfter time.Duration, err error) {
	s := DefaultSettings()
	if len(settings) > 0 {
		if err := json.Unmarshal(settings, &s); err != nil {
			return FrameRecording{}, 0, fmt.Errorf("read settings: %w", err)
		}
	}
	return s.FrameRecording, s.Session.aloneAfter(), nil
}

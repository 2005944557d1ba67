package web

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"stillwatch/recording"
)

// Recording is about the composite movie, and about what all full recordings
// of a call have in common.
type Recording struct {
	AudioOnly bool `json:"audio_only"`
	// Mode is available, disabled, auto-on or on-flag.
	Mode string `json:"mode"`
	// Quality is the height of the movie, or portrait-WxH, or vga for 640x480.
	Quality string `json:"quality"`
	Layout  Layout `json:"layout"`
	// Level is low, medium or high: how many bits the movie may take.
	Level string `json:"level"`
	// MixLimit is how many participants the movie shows; with more the call is
	// split. Above 9, or with LargeGrid above 25, it is always split. At most 1000.
	MixLimit  int  `json:"mix_limit"`
	LargeGrid bool `json:"large_grid"`
	// Split makes one file each instead of one movie of all.
	Split bool `json:"split"`
	// ShowNames burns names in. Background is #rrggbb. Watermark is a text of
	// at most 64 characters.
	ShowNames  bool   `json:"show_names"`
	Background string `json:"background"`
	Watermark  string `json:"watermark"`
	// BlurBystanders blurs everybody but the users who were flagged.
	BlurBystanders bool `json:"blur_bystanders"`
	// OmitUsers are at most 100 users of whom nothing is shown or heard.
	OmitUsers []string `json:"omit_users"`
	// Formats are of mp4, webm and hls, at least one.
	Formats []string `json:"formats"`
	// WebMCodec is vp9, or vp8, which is larger and sooner made.
	WebMCodec string `json:"webm_codec"`
	// Filename is a template for the names of files; "" is the usual one.
	Filename string `json:"filename"`
	// Destination is an HTTP address that takes the files besides, or the packets
	// of raw recordings while the call runs; "" is none.
	Destination string `json:"destination"`
	// EncryptTo is an armored OpenPGP public key; "" is none.
	EncryptTo string `json:"encrypt_to"`
	// SliceMinutes is the longest that a file gets. The most is 720, and 120
	// where a format is mp4 or aac; 0 is the usual, 120 of those and 360 else.
	SliceMinutes int `json:"slice_minutes"`
	// PeriodMinutes is after what length a resumed stream begins a new file;
	// 0 is never.
	PeriodMinutes int `json:"period_minutes"`
	// ResumeTimeoutSeconds is how long an interruption may last to be
	// continued in the same file, 0 to 1800.
	ResumeTimeoutSeconds int `json:"resume_timeout_seconds"`
	// PreRollSeconds is how much is kept of what came before a start, 0 to 60.
	PreRollSeconds int `json:"pre_roll_seconds"`
	// RecordAlone begins with the first participant, not the second.
	RecordAlone bool `json:"record_alone"`
	// RetentionHours and EvidenceRetentionHours are how long files are kept; 0
	// is for ever.
	RetentionHours         int `json:"retention_hours"`
	EvidenceRetentionHours int `json:"evidence_retention_hours"`
}

// Layout is a composite movie's: grid, speaker (also called spotlight),
// screenshare, single, single:USER for one user alone, or one that a program
// brings.
type Layout struct {
	Name           string `json:"name"`
	Options        object `json:"options"`
	ExternalAppURL string `json:"external_app_url"`
	ExternalCSSURL string `json:"external_css_url"`
}

// IndividualRecording is about one movie each.
type IndividualRecording struct {
	Mode        string   `json:"mode"`
	OutputTypes []string `json:"output_types"`
	// Formats are of auto, webm, mp4, flv, hls, ogg, opus, wav, wav-8bit and aac,
	// at least one; auto is the container that takes the codec as it is.
	Formats []string `json:"formats"`
	// SoundFormat is that of the mixed sound, wav or wav-8bit.
	SoundFormat string `json:"sound_format"`
}

// RawRecording is about the packets as they arrive.
type RawRecording struct {
	Mode      string `json:"mode"`
	AudioOnly bool   `json:"audio_only"`
}

// Bounds of the settings of recordings that recording.Plan leaves open.
const (
	maxOmitted   = 100
	maxWatermark = 64
	maxPeriod    = 30 * 24 * time.Hour
)

// qualityVGA is the fixed size 640x480.
const qualityVGA = "vga"

var (
	movieQualities = []string{
		"360p", "480p", "720p", "1080p", "1440p",
		"portrait-360x640", "portrait-480x854", "portrait-720x1280", "portrait-1080x1920", "portrait-1440x2560", qualityVGA,
	}
	splitTypes = []string{"audio_only", "video_only", "audio_video", "screenshare_audio_only", "screenshare_video_only", "screenshare_audio_video"}
)

// layoutAliases are other names of layouts, as compatible clients send them.
var layoutAliases = map[string]string{"spotlight": "speaker", "gallery": "grid", "single-participant": "single", "screen-share": "screenshare"}

// singleUser begins the name of the layout that shows one user, by id.
const singleUser = "single:"

func defaultRecording() Recording {
	p := recording.DefaultPlan()
	return Recording{
		Mode: p.Composite, Quality: p.Quality, Layout: Layout{Name: "spotlight", Options: object{}},
		Level: p.Level, MixLimit: p.MixLimit, Background: p.Background, OmitUsers: []string{}, Formats: p.CompositeFormats, WebMCodec: p.WebMCodec,
		ResumeTimeoutSeconds: int(p.Resume / time.Second), RetentionHours: int(p.KeepMovies / time.Hour),
		EvidenceRetentionHours: int(p.KeepEvidence / time.Hour),
	}
}

// checkRecording returns what is wrong with the settings of full recordings,
// by field.
func (s Settings) checkRecording() map[string]string {
	r, fields := s.Recording, map[string]string{}
	oneOf := func(field, value string, allowed []string) {
		if !slices.Contains(allowed, value) {
			fields[field] = "must be one of " + list(allowed)
		}
	}
	between := func(field string, n, from, to int) {
		if n < from || n > to {
			fields[field] = fmt.Sprintf("must be an integer from %d to %d", from, to)
		}
	}
	fine := func(field string, err error) {
		if err != nil {
			fields[field] = err.Error()
		}
	}
	oneOf("recording.mode", r.Mode, recording.Modes)
	oneOf("individual_recording.mode", s.IndividualRecording.Mode, recording.Modes)
	oneOf("raw_recording.mode", s.RawRecording.Mode, recording.Modes)
	oneOf("recording.quality", r.Quality, movieQualities)
	oneOf("recording.level", r.Level, recording.Levels)
	oneOf("individual_recording.sound_format", s.IndividualRecording.SoundFormat, recording.SoundFormats)
	oneOf("recording.webm_codec", r.WebMCodec, recording.WebMCodecs)
	user, one := strings.CutPrefix(r.Layout.Name, singleUser)
	if !slices.Contains(recording.Layouts(), layoutNamed(r.Layout.Name)) && !(one && validUser(user)) {
		fields["recording.layout.name"] = "must be one of " + list(append(recording.Layouts(), "spotlight", singleUser+"USER"))
	}
	for _, t := range s.IndividualRecording.OutputTypes {
		oneOf("individual_recording.output_types", t, splitTypes)
	}
	someOf := func(field string, values, allowed []string) {
		if len(values) == 0 {
			fields[field] = "must have at least one of " + list(allowed)
		}
		for _, v := range values {
			oneOf(field, v, allowed)
		}
	}
	someOf("recording.formats", r.Formats, recording.CompositeFormats)
	someOf("individual_recording.formats", s.IndividualRecording.Formats, recording.IndividualFormats)
	between("recording.mix_limit", r.MixLimit, 1, recording.MaxMixLimit)
	between("recording.period_minutes", r.PeriodMinutes, 0, int(maxPeriod/time.Minute))
	between("recording.resume_timeout_seconds", r.ResumeTimeoutSeconds, 0, int(recording.MaxResume/time.Second))
	between("recording.pre_roll_seconds", r.PreRollSeconds, 0, int(recording.MaxPreRoll/time.Second))
	between("recording.retention_hours", r.RetentionHours, 0, int(recording.MaxKeep/time.Hour))
	between("recording.evidence_retention_hours", r.EvidenceRetentionHours, 0, int(recording.MaxKeep/time.Hour))
	if longest, by := s.longestSlice(); r.SliceMinutes < 0 || r.SliceMinutes > longest {
		fields["recording.slice_minutes"] = fmt.Sprintf("must be an integer from 1 to %d, which is the most for %s, or 0 for the usual", longest, by)
	}
	if !recording.IsColour(r.Background) {
		fields["recording.background"] = "must be a colour as #rrggbb"
	}
	if utf8.RuneCountInString(r.Watermark) > maxWatermark {
		fields["recording.watermark"] = fmt.Sprintf("must be at most %d characters", maxWatermark)
	}
	if len(r.OmitUsers) > maxOmitted {
		fields["recording.omit_users"] = fmt.Sprintf("must be at most %d", maxOmitted)
	}
	for i, u := range r.OmitUsers {
		if !validUser(u) {
			fields[fmt.Sprintf("recording.omit_users[%d]", i)] = wantUser
		}
	}
	fine("recording.filename", recording.CheckTemplate(r.Filename))
	fine("recording.destination", recording.CheckDestination(r.Destination))
	fine("recording.encrypt_to", recording.CheckKey(r.EncryptTo))
	return fields
}

// longestSlice is the most that slice_minutes may be, and the format that
// says so. Individual formats count where individual files are made.
func (s Settings) longestSlice() (minutes int, by string) {
	formats := s.Recording.Formats
	if s.IndividualRecording.Mode != ModeDisabled || s.Recording.Split {
		formats = slices.Concat(formats, s.IndividualRecording.Formats)
	}
	longest, by := recording.MaxSlice, "a file"
	for _, f := range formats {
		if l := recording.LongestSlice(f); l < longest {
			longest, by = l, f
		}
	}
	return int(longest / time.Minute), by
}

func layoutNamed(name string) string {
	if own, ok := layoutAliases[name]; ok {
		return own
	}
	return name
}

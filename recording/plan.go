package recording

import (
	"encoding/json"
	"net/url"
	"time"
)

// Types of a recording.
const (
	TypeComposite  = "composite"  // one movie of all
	TypeIndividual = "individual" // one file each
	TypeRaw        = "raw"        // the packets
)

// Modes of a recording type.
const (
	ModeDisabled  = "disabled"  // nothing is written, not even for a moment
	ModeAvailable = "available" // started and stopped by request
	ModeAutoOn    = "auto-on"   // starts with every call
	ModeOnFlag    = "on-flag"   // waits in an encrypted spool, kept if the call is flagged
)

// What goes to a destination.
const (
	DestinationStream = "stream" // the packets, while the call runs
	DestinationFiles  = "files"  // the files, when they are ready
)

// Plan says how a call is recorded, and what is made of it. It is frozen when
// a run begins. Zero values are not the defaults; DefaultPlan gives those.
type Plan struct {
	// Composite, Individual and Raw are modes. Evidence is ModeDisabled or
	// ModeOnFlag: the moderation lane, whatever permissions say.
	Composite  string `json:"composite"`
	Individual string `json:"individual"`
	Raw        string `json:"raw"`
	Evidence   string `json:"evidence"`

	// AudioOnly and VideoOnly leave the other out.
	AudioOnly bool `json:"audio_only,omitempty"`
	VideoOnly bool `json:"video_only,omitempty"`
	// RawAudioOnly leaves pictures out of raw recordings.
	RawAudioOnly bool `json:"raw_audio_only,omitempty"`

	// Layout is grid, speaker, screenshare, single, or one that was added.
	Layout string `json:"layout"`
	// Quality is the height of the composite (360p to 1440p), or
	// portrait-WxH, or vga for 640x480.
	Quality string `json:"quality"`
	// Level is low, medium or high: how many bits the composite may take.
	Level string `json:"level"`
	// MixLimit is how many participants a composite shows, 1 to 9, or to 25
	// with LargeGrid; with more the call is split.
	MixLimit  int  `json:"mix_limit"`
	LargeGrid bool `json:"large_grid,omitempty"`
	// Split makes individual files instead of the composite.
	Split bool `json:"split,omitempty"`
	// ShowNames burns names in. Background is a colour as #rrggbb.
	ShowNames  bool   `json:"show_names,omitempty"`
	Background string `json:"background"`
	// Watermark is a text in the lower right corner.
	Watermark string `json:"watermark,omitempty"`
	// BlurBystanders blurs everybody but the flagged users.
	BlurBystanders bool `json:"blur_bystanders,omitempty"`
	// Omit are users of whom nothing is shown or heard.
	Omit []string `json:"omit,omitempty"`

	// CompositeFormats are of mp4, webm, hls. IndividualFormats are of webm,
	// mp4, flv, hls, ogg, opus (which is ogg), wav, wav-8bit, aac; "auto" is the container that takes
	// the codec as it is.
	CompositeFormats  []string `json:"composite_formats"`
	IndividualFormats []string `json:"individual_formats"`
	// WebMCodec is that of the pictures of a composite in WebM: vp9, or vp8,
	// which is larger and sooner made.
	WebMCodec string `json:"webm_codec,omitempty"`
	// SoundFormat is that of the mixed sound that individual files come with:
	// wav, or wav-8bit of 128 kbit/s.
	SoundFormat string `json:"sound_format,omitempty"`
	// OutputTypes are of audio_only, video_only, audio_video and the same with
	// screenshare_ in front.
	OutputTypes []string `json:"output_types"`

	// Filename is a template; see archive.Name. "" is the type's default.
	Filename string `json:"filename,omitempty"`
	// Destination is an HTTP endpoint that takes the recording besides, or "".
	// DestinationMode is how: DestinationStream, DestinationFiles, or "", which
	// is the former for raw recordings and the latter for others. It is an
	// order's: no setting says so.
	Destination     string `json:"destination,omitempty"`
	DestinationMode string `json:"destination_mode,omitempty"`
	// EncryptTo is an armored OpenPGP public key, or "".
	EncryptTo string `json:"encrypt_to,omitempty"`

	// Slice is the longest a file may be, Period after what length a resumed
	// stream begins a new file, Resume how long an interruption may last to be
	// continued in the same file. Slice wins over Period, Period over Resume.
	// Zero Slice is the usual of the format, two hours of MP4 and AAC and six of
	// others, and zero Period none. Evidence is never cut.
	Slice  time.Duration `json:"slice"`
	Period time.Duration `json:"period"`
	Resume time.Duration `json:"resume"`
	// PreRoll is how much of what came before a start is kept, 0 to 60 s.
	PreRoll time.Duration `json:"pre_roll"`
	// RecordAlone counts a call from its first participant, not its second.
	RecordAlone bool `json:"record_alone,omitempty"`
	// KeepMovies and KeepEvidence are retentions; 0 is for ever.
	KeepMovies   time.Duration `json:"keep_movies"`
	KeepEvidence time.Duration `json:"keep_evidence"`
}

// DefaultPlan is that of a call type without settings of its own.
func DefaultPlan() Plan {
	return Plan{
		Composite: ModeAvailable, Individual: ModeDisabled, Raw: ModeDisabled, Evidence: ModeDisabled,
		Layout: "grid", Quality: "720p", Level: "high", MixLimit: 9, Background: "#101418",
		CompositeFormats: []string{"mp4"}, IndividualFormats: []string{"auto"}, WebMCodec: "vp9", SoundFormat: "wav", OutputTypes: []string{"audio_video"},
		Resume: 180 * time.Second, KeepMovies: 7 * 24 * time.Hour,
	}
}

// Streams tells whether a run of this type goes to the destination while the
// call runs. What is to be encrypted to a key does not: only files are.
func (p Plan) Streams(typ string) bool {
	live := p.DestinationMode == DestinationStream || p.DestinationMode == "" && typ == TypeRaw
	return live && p.Destination != "" && p.EncryptTo == ""
}

// Pushes tells whether the files of a run of this type go to the destination.
func (p Plan) Pushes(typ string) bool {
	return p.Destination != "" && p.DestinationMode != DestinationStream && !p.Streams(typ)
}

// CheckStream refuses a plan whose stream would not be sent as it says.
func (p Plan) CheckStream() error {
	switch {
	case p.DestinationMode != DestinationStream:
	case p.Destination == "":
		return &FieldError{Field: "destination_mode", Want: "must not be stream without a destination"}
	case p.EncryptTo != "":
		return &FieldError{Field: "destination_mode", Want: "must be files where recordings are encrypted to a key: packets are sent as they are"}
	}
	return nil
}

// PreRolls tells whether packets of the last moments are kept for a recording
// that may be ordered.
func (p Plan) PreRolls() bool {
	return p.PreRoll > 0 && (p.Composite != ModeDisabled || p.Individual != ModeDisabled || p.Raw != ModeDisabled)
}

// Public is a plan's JSON for others to read: of the destination, whose path
// and query may be secrets, it says only the host.
func Public(plan json.RawMessage) json.RawMessage {
	var all map[string]json.RawMessage
	if json.Unmarshal(plan, &all) != nil || all == nil {
		return json.RawMessage("{}")
	}
	var destination string
	if json.Unmarshal(all["destination"], &destination) == nil && destination != "" {
		at := "hidden"
		if u, err := url.Parse(destination); err == nil && u.Host != "" {
			at = u.Scheme + "://" + u.Host
		}
		all["destination"], _ = json.Marshal(at)
	}
	out, err := json.Marshal(all)
	if err != nil {
		return json.RawMessage("{}")
	}
	return out
}

// Spools tells whether packets are written from the first one on, before
// anybody asked to keep them.
func (p Plan) Spools() bool {
	return p.Evidence == ModeOnFlag || p.Composite == ModeOnFlag || p.Individual == ModeOnFlag || p.Raw == ModeOnFlag ||
		p.Composite == ModeAutoOn || p.Individual == ModeAutoOn || p.Raw == ModeAutoOn
}

// PlayName ends the key of the playlist whose segments are links, the last
// item of an HLS file.
const PlayName = "play.m3u8"

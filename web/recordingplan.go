package web

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"stillwatch/internal/db"
	"stillwatch/recording"
	"stillwatch/recording/permission"
)

// PlanOf makes the plan by which a call is recorded from the settings JSON of
// the call and what was decided for its creator when it was made. What the
// settings lack has its default. Where a permission denies, nothing but
// evidence is recorded, not even by request; where the caller was asked and
// said no, nothing begins by itself; where it records, the composite is on from
// the beginning, with no more than the permission's type, and where it always
// does, with no less: settings that leave something out, which callers may
// change, have no effect then.
func PlanOf(settings json.RawMessage, d db.RecordingDecision) (recording.Plan, error) {
	s, err := readSettings(settings)
	if err != nil {
		return recording.Plan{}, err
	}
	p := s.plan()
	switch {
	case d.Denied:
		p.Composite, p.Individual, p.Raw = recording.ModeDisabled, recording.ModeDisabled, recording.ModeDisabled
	case declined(d):
		p.Composite, p.Individual, p.Raw = whenAsked(p.Composite), whenAsked(p.Individual), whenAsked(p.Raw)
	case d.Record:
		p.Composite = recording.ModeAutoOn
		if d.Mandatory {
			p.AudioOnly, p.Omit = false, nil
		}
		switch permission.Type(d.Type) {
		case permission.Audio:
			p.AudioOnly, p.VideoOnly = true, false
		case permission.Video:
			p.AudioOnly, p.VideoOnly = false, true
		case permission.All, permission.None:
		}
	}
	return p, nil
}

// declined tells whether a permission left the choice to the caller, who did
// not choose to be recorded. What the system's setting does not ask for is
// nobody's choice.
func declined(d db.RecordingDecision) bool {
	source := permission.Source(d.Source)
	return !d.Record && !d.Denied && (source == permission.FromUser || source == permission.FromDomain)
}

// whenAsked is a mode without what begins by itself.
func whenAsked(mode string) string {
	if mode == recording.ModeAutoOn || mode == recording.ModeOnFlag {
		return recording.ModeAvailable
	}
	return mode
}

// plan is what the settings alone say.
func (s Settings) plan() recording.Plan {
	r := s.Recording
	p := recording.Plan{
		Composite: r.Mode, Individual: s.IndividualRecording.Mode, Raw: s.RawRecording.Mode, Evidence: s.ModerationEvidence.Mode,
		AudioOnly: r.AudioOnly, RawAudioOnly: s.RawRecording.AudioOnly,
		Layout: layoutNamed(r.Layout.Name), Quality: r.Quality, Level: r.Level,
		MixLimit: r.MixLimit, LargeGrid: r.LargeGrid, Split: r.Split,
		ShowNames: r.ShowNames, Background: r.Background, Watermark: r.Watermark,
		BlurBystanders: r.BlurBystanders, Omit: slices.Clone(r.OmitUsers),
		CompositeFormats: slices.Clone(r.Formats), IndividualFormats: slices.Clone(s.IndividualRecording.Formats),
		WebMCodec: r.WebMCodec, SoundFormat: s.IndividualRecording.SoundFormat, OutputTypes: slices.Clone(s.IndividualRecording.OutputTypes),
		Filename: r.Filename, Destination: r.Destination, EncryptTo: r.EncryptTo,
		Slice: minutes(r.SliceMinutes), Period: minutes(r.PeriodMinutes), Resume: seconds(r.ResumeTimeoutSeconds),
		PreRoll: seconds(r.PreRollSeconds), RecordAlone: r.RecordAlone,
		KeepMovies: hours(r.RetentionHours), KeepEvidence: hours(r.EvidenceRetentionHours),
	}
	if r.Quality == qualityVGA {
		p.Quality = planVGA
	}
	if r.tooManyToMix() {
		p.Split, p.MixLimit = true, r.mostToMix()
	}
	if len(p.OutputTypes) == 0 {
		p.OutputTypes = recording.DefaultPlan().OutputTypes
	}
	return p
}

// planVGA is recording.Plan's word for 640x480.
const planVGA = "vga"

// tooManyToMix tells whether the limit asks for more tiles than a movie has,
// so that the call is split whatever comes.
func (r Recording) tooManyToMix() bool { return r.MixLimit > r.mostToMix() }

// mostToMix is how many tiles a movie has.
func (r Recording) mostToMix() int {
	if r.LargeGrid {
		return recording.MaxLargeMix
	}
	return recording.MaxMix
}

func minutes(n int) time.Duration { return time.Duration(n) * time.Minute }
func seconds(n int) time.Duration { return time.Duration(n) * time.Second }
func hours(n int) time.Duration   { return time.Duration(n) * time.Hour }

// modeOf is the plan's mode of a recording type, and the name of its setting.
func modeOf(p recording.Plan, kind string) (mode, field string) {
	switch kind {
	case recording.TypeIndividual:
		return p.Individual, "individual_recording"
	case recording.TypeRaw:
		return p.Raw, "raw_recording"
	}
	return p.Composite, "recording"
}

// checkReach looks at what a patch of settings says of the world outside,
// which Settings.Merge cannot: whether the destination may be reached, whether
// anything can be encrypted to the key, and whether the template knows its
// variables. prefix is the patch's path.
func (s *Server) checkReach(patch json.RawMessage, prefix string) error {
	var in struct {
		Recording Recording `json:"recording"`
	}
	if err := json.Unmarshal(patch, &in); err != nil || !given(patch) {
		return nil //nolint:nilerr // Merge says what is wrong
	}
	r, fields := in.Recording, map[string]string{}
	if r.Destination != "" && s.cfg.CheckURL != nil && recording.CheckDestination(r.Destination) == nil {
		if err := s.cfg.CheckURL(r.Destination); err != nil {
			fields[prefix+".recording.destination"] = "must be an address that may be reached: " + err.Error()
		}
	}
	if r.Filename != "" && s.cfg.CheckName != nil && recording.CheckTemplate(r.Filename) == nil {
		if err := s.cfg.CheckName(r.Filename); err != nil {
			fields[prefix+".recording.filename"] = fmt.Sprintf("must be a template: %s", err)
		}
	}
	if r.EncryptTo != "" && s.cfg.CheckKey != nil && recording.CheckKey(r.EncryptTo) == nil {
		if err := s.cfg.CheckKey(r.EncryptTo); err != nil {
			fields[prefix+".recording.encrypt_to"] = fmt.Sprintf("must be a key to encrypt to: %s", err)
		}
	}
	if len(fields) > 0 {
		return badFields(fields)
	}
	if r.tooManyToMix() {
		s.log.Warn("calls will be split: mix_limit is above the most that a movie shows", "mix_limit", r.MixLimit, "most", r.mostToMix())
	}
	return nil
}

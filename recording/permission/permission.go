// Package permission decides whether a call is recorded: a pure function of
// who starts it, what their domain and the system say, and what they chose.
//
// Only the caller counts, who starts the call, and the caller's domain; never
// those who are called. The most specific permission decides alone: the
// user's, else the domain's, else the system's setting.
package permission

// Type says what of a call is recorded. Exactly one at a time.
type Type string

// The types.
const (
	All   Type = "all"
	Video Type = "video"
	Audio Type = "audio"
	None  Type = "none"
)

// Valid tells whether t is one of the four.
func (t Type) Valid() bool { return t == All || t == Video || t == Audio || t == None }

// Profile says whether the caller has a choice. Exactly one at a time.
type Profile string

// The profiles. Always is always, whatever the caller chooses; Skip is never.
const (
	Always   Profile = "always"
	Optional Profile = "optional"
	Skip     Profile = "skip"
)

// Valid tells whether p is one of the three.
func (p Profile) Valid() bool { return p == Always || p == Optional || p == Skip }

// Permission is what is set for a user or a domain. All pairs are allowed;
// None or Skip, either of them, means that nothing is recorded.
type Permission struct {
	Type    Type    `json:"recordingType"`
	Profile Profile `json:"recordingProfile"`
}

// System are the settings that hold where no permission does.
type System struct {
	// Record says what is recorded of calls whose caller has neither a
	// permission of their own nor one of their domain. "" is None.
	Record Type
	// RecordIncomingPSTN records every incoming call, whole; false none.
	RecordIncomingPSTN bool
}

// Origin says where a call comes from.
type Origin string

// The origins. An outgoing SIP call is its caller's, like an internal one.
const (
	Internal Origin = "internal"
	SIPIn    Origin = "sip-in"
	SIPOut   Origin = "sip-out"
)

// Source says what decided.
type Source string

// The sources.
const (
	FromUser     Source = "user"
	FromDomain   Source = "domain"
	FromSystem   Source = "system"
	FromIncoming Source = "incoming" // RecordIncomingPSTN, which alone counts there
)

// Input is what a decision is made of.
type Input struct {
	Origin Origin
	// User and Domain are the caller's permissions; nil where none is set.
	User, Domain *Permission
	System       System
	// Chose is the caller's choice, which counts with Optional.
	Chose bool
}

// Decision says whether the call is recorded.
type Decision struct {
	Record bool
	// Type is what is recorded; None where nothing is.
	Type   Type
	Source Source
	// Mandatory is set where the profile is Always and something is recorded:
	// no caller may stop it.
	Mandatory bool
	// Denied is set where a permission, with None or Skip, keeps the call from
	// being recorded at all.
	Denied bool
}

// Decide decides over one call.
func Decide(in Input) Decision {
	switch {
	case in.Origin == SIPIn:
		return system(in.System.RecordIncomingPSTN, All, FromIncoming)
	case in.User != nil:
		return in.User.decide(in.Chose, FromUser)
	case in.Domain != nil:
		return in.Domain.decide(in.Chose, FromDomain)
	}
	return system(in.System.Record != "" && in.System.Record != None, in.System.Record, FromSystem)
}

func (p Permission) decide(chose bool, from Source) Decision {
	switch {
	case p.Type == None || p.Profile == Skip:
		return Decision{Type: None, Source: from, Denied: true}
	case p.Profile == Always:
		return Decision{Record: true, Type: p.Type, Source: from, Mandatory: true}
	case chose:
		return Decision{Record: true, Type: p.Type, Source: from}
	}
	return Decision{Type: None, Source: from}
}

func system(on bool, t Type, from Source) Decision {
	if !on {
		t = None
	}
	return Decision{Record: on, Type: t, Source: from}
}

// EvidenceMode is the call type's setting moderation_evidence.mode.
type EvidenceMode string

// The modes. Evidence is a lane of its own beside the recording of calls:
// permissions do not reach it, and it must be switched on.
const (
	EvidenceDisabled EvidenceMode = "disabled"
	EvidenceOnFlag   EvidenceMode = "on-flag"
)

// Valid tells whether m is one of the two.
func (m EvidenceMode) Valid() bool { return m == EvidenceDisabled || m == EvidenceOnFlag }

// Evidence tells whether a flagged call is recorded as evidence, and whether
// that goes against a permission by which the call is not to be recorded:
// such a use must be written down (recording.NoteOverride).
func Evidence(mode EvidenceMode, flagged bool, d Decision) (record, overrides bool) {
	record = mode == EvidenceOnFlag && flagged
	return record, record && d.Denied
}

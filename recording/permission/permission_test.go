package permission

import (
	"strings"
	"testing"
)

// oracle says of every permission what becomes of a call, by hand: profile,
// type, then the outcome where the caller chose no and where they chose yes.
// A "!" is mandatory, "never" is denied, "-" is not recorded.
const oracle = `
always   all    all!   all!
always   video  video! video!
always   audio  audio! audio!
always   none   never  never
optional all    -      all
optional video  -      video
optional audio  -      audio
optional none   never  never
skip     all    never  never
skip     video  never  never
skip     audio  never  never
skip     none   never  never
`

// ofSystem is the same for the system's setting, which nobody chooses about.
var ofSystem = map[Type]string{All: "all", Video: "video", Audio: "audio", None: "-", "": "-"}

func describe(d Decision) string {
	switch {
	case d.Record && d.Mandatory && !d.Denied:
		return string(d.Type) + "!"
	case d.Record && !d.Denied:
		return string(d.Type)
	case d.Denied && !d.Mandatory && d.Type == None:
		return "never"
	case !d.Mandatory && d.Type == None:
		return "-"
	}
	return "contradiction"
}

// TestEveryCombination goes through 3 profiles, 4 types, the four places a
// permission can stand or not, the caller's choice, and where calls come from.
func TestEveryCombination(t *testing.T) {
	t.Parallel()
	cases := 0
	check := func(in Input, want string, from Source) {
		t.Helper()
		cases++
		d := Decide(in)
		if got := describe(d); got != want || d.Source != from {
			t.Errorf("%+v (user %+v, domain %+v): %s from %s, want %s from %s", in, in.User, in.Domain, got, d.Source, want, from)
		}
	}
	incoming := map[bool]string{false: "-", true: "all"}
	for line := range strings.Lines(strings.TrimSpace(oracle)) {
		f := strings.Fields(line)
		perm := &Permission{Type: Type(f[1]), Profile: Profile(f[0])}
		if !perm.Type.Valid() || !perm.Profile.Valid() {
			t.Fatalf("%+v is not valid", perm)
		}
		// What lies behind a more specific permission must not show.
		for _, behind := range []*Permission{nil, {All, Always}, {None, Skip}} {
			for chose, want := range map[bool]string{false: f[2], true: f[3]} {
				for _, sys := range []Type{"", None, All, Video, Audio} {
					for _, pstn := range []bool{false, true} {
						in := Input{System: System{Record: sys, RecordIncomingPSTN: pstn}, Chose: chose}
						for _, in.Origin = range []Origin{Internal, SIPOut} {
							in.User, in.Domain = perm, behind
							check(in, want, FromUser)
							in.User, in.Domain = nil, perm
							check(in, want, FromDomain)
							in.User, in.Domain = nil, nil
							check(in, ofSystem[sys], FromSystem)
						}
						in.Origin = SIPIn
						for _, in.User = range []*Permission{nil, perm} {
							for _, in.Domain = range []*Permission{nil, perm, behind} {
								check(in, incoming[pstn], FromIncoming)
							}
						}
					}
				}
			}
		}
	}
	if want := 12 * 3 * 2 * 5 * 2 * (2*3 + 2*3); cases != want {
		t.Errorf("%d cases, want %d", cases, want)
	}
}

// TestAlice is the example of the documentation: her domain says none and
// skip, she herself all and always.
func TestAlice(t *testing.T) {
	t.Parallel()
	domain, alice := &Permission{None, Skip}, &Permission{All, Always}
	for _, chose := range []bool{false, true} {
		if d := Decide(Input{Origin: Internal, User: alice, Domain: domain, Chose: chose}); !d.Record || d.Type != All || !d.Mandatory {
			t.Errorf("a call started by Alice: %+v, want it recorded", d)
		}
		if d := Decide(Input{Origin: Internal, Domain: domain, System: System{Record: All}, Chose: chose}); d.Record {
			t.Errorf("a call by a user without permissions: %+v, want it not recorded", d)
		}
	}
}

func TestNothingSetRecordsNothing(t *testing.T) {
	t.Parallel()
	for _, o := range []Origin{Internal, SIPIn, SIPOut} {
		if d := Decide(Input{Origin: o, Chose: true}); d.Record {
			t.Errorf("%s: %+v", o, d)
		}
	}
}

func TestOnlyKnownWords(t *testing.T) {
	t.Parallel()
	for _, word := range []string{"", "All", "both", "all,video", "always "} {
		if Type(word).Valid() || Profile(word).Valid() || EvidenceMode(word).Valid() {
			t.Errorf("%q is taken", word)
		}
	}
}

// TestEvidenceIsALaneOfItsOwn: it needs the switch and a flag, no permission
// stops it, and whether it goes against one is told.
func TestEvidenceIsALaneOfItsOwn(t *testing.T) {
	t.Parallel()
	denied, free := Decision{Denied: true, Type: None}, Decision{Type: None}
	for _, c := range []struct {
		mode              EvidenceMode
		flagged           bool
		d                 Decision
		record, overrides bool
	}{
		{EvidenceDisabled, true, denied, false, false},
		{EvidenceDisabled, true, free, false, false},
		{"", true, denied, false, false},
		{EvidenceOnFlag, false, denied, false, false},
		{EvidenceOnFlag, true, free, true, false},
		{EvidenceOnFlag, true, denied, true, true},
		{EvidenceOnFlag, true, Decision{Record: true, Type: All, Mandatory: true}, true, false},
	} {
		if record, overrides := Evidence(c.mode, c.flagged, c.d); record != c.record || overrides != c.overrides {
			t.Errorf("%+v: %v %v", c, record, overrides)
		}
	}
}

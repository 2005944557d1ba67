package recording

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestPublicTellsNothingOfTheDestinationButItsHost(t *testing.T) {
	t.Parallel()
	p := DefaultPlan()
	p.Destination = "https://push.example:8443/in/s3cret?token=s3cret"
	plan, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	got := string(Public(plan))
	if strings.Contains(got, "s3cret") || !strings.Contains(got, `"destination":"https://push.example:8443"`) || !strings.Contains(got, `"layout":"grid"`) {
		t.Error(got)
	}
	for in, want := range map[string]string{"": "{}", "[]": "{}", "null": "{}", `{"destination":5}`: `{"destination":5}`, `{"destination":"%s3cret"}`: `{"destination":"hidden"}`} {
		if got := string(Public(json.RawMessage(in))); got != want {
			t.Errorf("%s is shown as %s, want %s", in, got, want)
		}
	}
}

func TestPreRollsForWhateverMayBeOrdered(t *testing.T) {
	t.Parallel()
	for _, of := range []func(p *Plan){
		func(p *Plan) { p.Composite = ModeAvailable }, func(p *Plan) { p.Individual = ModeAvailable }, func(p *Plan) { p.Raw = ModeAvailable },
	} {
		p := Plan{Composite: ModeDisabled, Individual: ModeDisabled, Raw: ModeDisabled, PreRoll: 1}
		if p.PreRolls() {
			t.Error("where nothing can be ordered")
		}
		of(&p)
		if !p.PreRolls() {
			t.Errorf("not for %+v", p)
		}
		p.PreRoll = 0
		if p.PreRolls() {
			t.Error("of no length")
		}
	}
}

package synthetic

import "testing"

func TestATonesPacketsAreOpus(t *testing.T) {
	t.Parallel()
	tone, err := MakeTone(t.Context(), 440+10)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range tone.Packets {
		if len(p) < 3 {
			t.Fatalf("packet %d is %d bytes, TOC %#x", i, len(p), p[:1])
		}
	}
	if _, err := MakeTone(t.Context(), 441); err == nil {
		t.Error("a tone that clicks was made")
	}
}

func TestABeepIsASecondLong(t *testing.T) {
	t.Parallel()
	beep, err := MakeBeep(t.Context(), 1000)
	if err != nil {
		t.Fatal(err)
	}
	// The encoder fades out long after the beep; then it has nothing to say.
	if len(beep.Packets) != 50 || len(beep.Packets[1]) < 50 || len(beep.Packets[45]) > 20 {
		t.Errorf("%d packets; that of the beep has %d bytes, that of silence %d", len(beep.Packets), len(beep.Packets[1]), len(beep.Packets[45]))
	}
}

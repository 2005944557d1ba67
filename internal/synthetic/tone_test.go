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

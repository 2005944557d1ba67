package keyframe_test

import (
	"bytes"
	"testing"

	"stillwatch/capture/keyframe"
	"stillwatch/capture/keyframe/keyframetest"
	"stillwatch/internal/event"
)

// TestAV1SequenceHeaderFromBefore: a keyframe may come without the header,
// once it was seen.
func TestAV1SequenceHeaderFromBefore(t *testing.T) {
	t.Parallel()
	clip := keyframetest.Encode(t, keyframetest.Spec{Codec: event.AV1})
	headerLen := 2 + int(clip.Frames[0].Data[3]) // after the delimiter of two bytes
	header := clip.Frames[0].Data[2 : 2+headerLen]
	bare := clip
	bare.Frames = append([]keyframetest.Frame(nil), clip.Frames...)
	bare.Frames[clip.GOP].Data = append([]byte{0x12, 0}, bytes.TrimPrefix(clip.Frames[clip.GOP].Data[2:], header)...)

	a := newAssembler(t, event.AV1, keyframe.Config{})
	groups := bare.Packets(1, 300)
	var got []*keyframe.Keyframe
	for _, g := range groups {
		got = append(got, push(a, g)...)
	}
	if len(got) != 2 || !bytes.Equal(got[1].Data, clip.Frames[clip.GOP].Data) {
		t.Fatalf("%d keyframes, %+v", len(got), a.Stats())
	}

	a = newAssembler(t, event.AV1, keyframe.Config{})
	for _, g := range groups[clip.GOP-1:] {
		if got := push(a, g); len(got) != 0 {
			t.Fatal("a keyframe without any sequence header")
		}
	}
	if s := a.Stats(); s.NoParameters != 1 {
		t.Fatalf("%+v", s)
	}
}

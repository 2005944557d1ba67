package keyframe_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"

	"stillwatch/capture/keyframe"
	"stillwatch/capture/keyframe/keyframetest"
	"stillwatch/internal/event"
)

// h264Packets makes packets of payloads with one timestamp for each group.
func h264Packets(groups ...[][]byte) (ps []*rtp.Packet) {
	seq := uint16(1000)
	for g, payloads := range groups {
		for i, b := range payloads {
			ps = append(ps, &rtp.Packet{Header: rtp.Header{
				Version: 2, SSRC: 7, SequenceNumber: seq, Timestamp: uint32(g) * 3000, Marker: i == len(payloads)-1,
			}, Payload: b})
			seq++
		}
	}
	return ps
}

// h264Parts returns parameter sets and fragments of the slices of an IDR picture, and
// the payloads of the picture after it.
func h264Parts(t testing.TB, clip keyframetest.Clip) (sets, idr, delta [][]byte) {
	t.Helper()
	pay := &codecs.H264Payloader{DisableStapA: true}
	for _, n := range keyframetest.NALs(clip.Frames[0].Data) {
		switch n[0] & 0x1f {
		case 7, 8:
			sets = append(sets, n)
		case 5:
			idr = append(idr, pay.Payload(300, append([]byte{0, 0, 0, 1}, n...))...)
		}
	}
	return sets, idr, pay.Payload(300, clip.Frames[1].Data)
}

func TestH264ParameterSets(t *testing.T) {
	t.Parallel()
	clip := keyframetest.Encode(t, keyframetest.Spec{Codec: event.H264, Slices: 4})
	other := keyframetest.Encode(t, keyframetest.Spec{Codec: event.H264, Width: 64, Height: 48, Frames: 2})
	sets, idr, delta := h264Parts(t, clip)
	stale, _, _ := h264Parts(t, other)
	want := clip.Keyframe(0)
	lead := [][]byte{{0x01, 0x9a}} // some other picture's slice
	for name, tc := range map[string]struct {
		sprop  [][]byte
		groups [][][]byte
		gives  bool
	}{
		"in the signalling":     {sets, [][][]byte{lead, idr, delta}, true},
		"earlier":               {nil, [][][]byte{sets, lead, idr, delta}, true},
		"one by one":            {nil, [][][]byte{sets[:1], sets[1:], idr, delta}, true},
		"in the picture":        {nil, [][][]byte{slices.Concat(sets, idr), delta}, true},
		"newer in the picture":  {stale, [][][]byte{lead, slices.Concat(sets, idr), delta}, true},
		"none":                  {nil, [][][]byte{lead, idr, delta}, false},
		"half":                  {sets[:1], [][][]byte{lead, idr, delta}, false},
		"start is not provable": {sets, [][][]byte{idr, delta}, false},
		"first slice missing":   {sets, [][][]byte{lead, idr[len(idr)/2:], delta}, false},
	} {
		a := newAssembler(t, event.H264, keyframe.Config{ParameterSets: tc.sprop})
		got := push(a, h264Packets(tc.groups...))
		if (len(got) == 1) != tc.gives {
			t.Errorf("%s: %d keyframes, %+v", name, len(got), a.Stats())
		} else if tc.gives && !bytes.Equal(got[0].Data, want) {
			t.Errorf("%s: other bytes", name)
		}
	}
}

func TestH264WithoutMarker(t *testing.T) {
	t.Parallel()
	clip := keyframetest.Encode(t, keyframetest.Spec{Codec: event.H264})
	sets, idr, delta := h264Parts(t, clip)
	ps := h264Packets(slices.Concat(sets, idr), delta)
	for _, p := range ps {
		p.Marker = false
	}
	got := push(newAssembler(t, event.H264, keyframe.Config{}), ps)
	if len(got) != 1 || !bytes.Equal(got[0].Data, clip.Keyframe(0)) {
		t.Fatalf("%d keyframes: the next timestamp ends a picture as well", len(got))
	}
}

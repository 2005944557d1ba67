package composite

import (
	"testing"
	"time"
)

// Who turns with every picture is still recorded.
func TestSomebodyWhoKeepsTurning(t *testing.T) {
	t.Parallel()
	for name, fps := range map[string]int{"slower than the movie": 10, "faster than the movie": 50} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCall(t, 3*time.Second)
			k := clipKey{codec: "VP8", width: 320, height: 180, fps: fps, frames: 2 * fps, every: 1, colour: colours[0]}
			c.film(c.join("ada", 0, 3*time.Second), false, []shot{{clipKey: k, at: 500 * time.Millisecond, rotation: func(n int) int { return n % 4 * 90 }}})
			m, err := Plan(t.Context(), c, Options{Quality: "360p", MaxChunk: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			for n := range m.Chunks {
				dir := t.TempDir()
				if len(m.Chunks[n].Tiles) > 0 && m.Chunks[n].Tiles[0].StreamID != "" {
					parts, err := pieces(t.Context(), c, m, m.Chunks[n], 0, t.TempDir())
					if err != nil || len(parts) == 0 || len(parts) > maxPieces {
						t.Errorf("%d pieces, %v", len(parts), err)
					}
				}
				if _, err := RenderChunk(t.Context(), c, m, n, dir); err != nil {
					t.Errorf("chunk %d: %v", n, err)
				}
			}
		})
	}
}

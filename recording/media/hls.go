package media

import (
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"time"
)

// measureHLS puts right how long the segments are: ffmpeg counts pictures
// alone, and leaves out the sound before the first and after the last.
func (w *writing) measureHLS() error {
	if w.part.video == nil {
		return nil
	}
	text, err := os.ReadFile(w.made.Path)
	if err != nil {
		return fmt.Errorf("read playlist: %w", err)
	}
	lead := max(w.part.video.clock.place(w.part.key)-w.origin, 0)
	if err := os.WriteFile(w.made.Path, []byte(lengthen(string(text), lead, w.made.To-w.made.From)), 0o600); err != nil {
		return fmt.Errorf("write playlist: %w", err)
	}
	return nil
}

// lengthen makes a playlist (RFC 8216) last as long as its media: the first
// segment by what is before its pictures, the last by what is missing then.
func lengthen(list string, lead, total time.Duration) string {
	const duration, target = "#EXTINF:", "#EXT-X-TARGETDURATION:"
	lines := strings.SplitAfter(list, "\n")
	var at []int
	var seconds []float64
	for i, line := range lines {
		if rest, ok := strings.CutPrefix(line, duration); ok {
			number, _, _ := strings.Cut(rest, ",")
			v, err := strconv.ParseFloat(number, 64)
			if err != nil {
				return list
			}
			at, seconds = append(at, i), append(seconds, v)
		}
	}
	if len(at) == 0 {
		return list
	}
	seconds[0] += lead.Seconds()
	missing, longest := total.Seconds(), 0.0
	for _, v := range seconds {
		missing -= v
	}
	seconds[len(seconds)-1] += max(missing, 0)
	for n, i := range at {
		lines[i] = fmt.Sprintf("%s%.6f,\n", duration, seconds[n])
		longest = max(longest, seconds[n])
	}
	for i, line := range lines {
		if strings.HasPrefix(line, target) {
			lines[i] = fmt.Sprintf("%s%d\n", target, int(math.Ceil(longest)))
		}
	}
	return strings.Join(lines, "")
}

package slices

import (
	"fmt"
	"math"
	"time"
)

// Bounds and defaults.
const (
	// Shortest is the shortest slice there can be.
	Shortest = time.Minute
	// Longest is the longest slice of FLV and HLS, LongestMP4 that of MP4 and
	// AAC.
	Longest    = 720 * time.Minute
	LongestMP4 = 120 * time.Minute
	// MaxResume is the longest interruption that can be allowed, DefaultResume
	// what is without a setting.
	MaxResume     = 1800 * time.Second
	DefaultResume = 180 * time.Second

	sixHours = 6 * time.Hour
)

// Profile is a set of bounds.
type Profile int

const (
	// Standard bounds MP4 and AAC to two hours.
	Standard Profile = iota
	// Long lets MP4 and AAC reach six hours, and makes that the default.
	Long
)

// Longest is the longest slice of a format. Formats without a bound of their
// own have that of HLS; "auto" may become MP4.
func (p Profile) Longest(format string) time.Duration {
	switch format {
	case "mp4", "aac", "auto":
		if p == Long {
			return sixHours
		}
		return LongestMP4
	}
	return Longest
}

// Default is the slice of a format without a setting: six hours, or two where
// more cannot be.
func (p Profile) Default(format string) time.Duration { return min(sixHours, p.Longest(format)) }

// Check refuses a slice that a format cannot have: shorter than a minute or
// longer than Longest. 0, no slices, is fine.
func (p Profile) Check(format string, slice time.Duration) error {
	if most := p.Longest(format); slice != 0 && (slice < Shortest || slice > most) {
		return &RangeError{Field: "slice of " + format, Value: slice, Least: Shortest, Most: most}
	}
	return nil
}

// Check is Standard's.
func Check(format string, slice time.Duration) error { return Standard.Check(format, slice) }

// CheckResume refuses an interruption outside of 0 to 1800 s.
func CheckResume(resume time.Duration) error {
	if resume < 0 || resume > MaxResume {
		return &RangeError{Field: "resume", Value: resume, Most: MaxResume}
	}
	return nil
}

// Check refuses settings that a format cannot have: a slice as Profile.Check, a
// period below 0, an interruption as CheckResume.
func (s Settings) Check(p Profile, format string) error {
	if err := p.Check(format, s.Slice); err != nil {
		return err
	}
	if s.Period < 0 {
		return &RangeError{Field: "period", Value: s.Period, Most: math.MaxInt64}
	}
	return CheckResume(s.Resume)
}

// RangeError is a setting out of its bounds, which are allowed themselves.
type RangeError struct {
	Field              string
	Value, Least, Most time.Duration
}

// Error says what was wanted.
func (e *RangeError) Error() string {
	return fmt.Sprintf("%s must be %v to %v, not %v", e.Field, e.Least, e.Most, e.Value)
}

package capture

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds and defaults of Settings.
const (
	MinInterval     = 2
	MaxInterval     = 60
	DefaultInterval = 2
	DefaultQuality  = "720p"
)

// Settings say how often and how large the frames of a call are taken. A zero
// field takes its default.
type Settings struct {
	// IntervalSeconds is the time between two frames of a track, 2 to 60.
	IntervalSeconds int
	// Quality is one of Qualities.
	Quality string
	// Storage names the external storage that frames go to; "" is our own.
	Storage string
}

// Qualities lists the accepted qualities, smallest first: the greatest height
// of a frame in lines. A picture is never enlarged. 420p really is 420 lines.
func Qualities() []string { return []string{"360p", "420p", "480p", "720p", "1080p", "1440p"} }

// SettingError says which setting has a value that is not allowed, and what is.
type SettingError struct {
	// Field is the setting's name in the API.
	Field, Value, Allowed string
}

func (e *SettingError) Error() string {
	return fmt.Sprintf("%s is %s, allowed is %s", e.Field, e.Value, e.Allowed)
}

// ParseQuality returns the greatest height in lines of a quality, or a
// *SettingError.
func ParseQuality(quality string) (height int, err error) {
	if !slices.Contains(Qualities(), quality) {
		return 0, &SettingError{"quality", strconv.Quote(quality), strings.Join(Qualities(), ", ")}
	}
	return strconv.Atoi(strings.TrimSuffix(quality, "p"))
}

// CheckInterval answers a *SettingError for an interval outside 2 to 60 s.
func CheckInterval(seconds int) error {
	if seconds < MinInterval || seconds > MaxInterval {
		return &SettingError{
			"capture_interval_in_seconds", strconv.Itoa(seconds),
			fmt.Sprintf("a whole number from %d to %d", MinInterval, MaxInterval),
		}
	}
	return nil
}

// Check answers a *SettingError for the first value that is not allowed. Zero
// values are.
func (s Settings) Check() error {
	s = s.orDefaults()
	if err := CheckInterval(s.IntervalSeconds); err != nil {
		return err
	}
	_, err := ParseQuality(s.Quality)
	return err
}

func (s Settings) orDefaults() Settings {
	if s.IntervalSeconds == 0 {
		s.IntervalSeconds = DefaultInterval
	}
	if s.Quality == "" {
		s.Quality = DefaultQuality
	}
	return s
}

// usable replaces what is not allowed by the default: settings are checked
// where they enter, and a call must not go unwatched for an old row's sake.
func (s Settings) usable() Settings {
	s = s.orDefaults()
	if CheckInterval(s.IntervalSeconds) != nil {
		s.IntervalSeconds = DefaultInterval
	}
	if _, err := ParseQuality(s.Quality); err != nil {
		s.Quality = DefaultQuality
	}
	return s
}

func (s Settings) interval() time.Duration { return time.Duration(s.IntervalSeconds) * time.Second }

func (s Settings) height() int {
	h, _ := ParseQuality(s.Quality)
	return h
}

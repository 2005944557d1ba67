package recording

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// Bounds of a plan.
const (
	MaxMix      = 9  // participants in a composite
	MaxLargeMix = 25 // with LargeGrid
	// MaxMixLimit bounds the setting: a limit above what a movie shows has the
	// call split, whoever comes.
	MaxMixLimit = 1000
	MaxPreRoll  = 60 * time.Second
	MaxResume   = 1800 * time.Second
	// MaxSlice is the longest slice of FLV and HLS, MaxShortSlice that of MP4
	// and AAC. The other formats have the longer one.
	MaxSlice      = 720 * time.Minute
	MaxShortSlice = 120 * time.Minute
	// MaxKeep bounds retentions: a hundred years. Longer is 0, for ever.
	MaxKeep = 100 * 365 * 24 * time.Hour
	// MaxTemplate is the length of a name template in bytes.
	MaxTemplate = 200
	// MaxKey is the length of an armored public key in bytes.
	MaxKey = 16 << 10
)

// What the fields of a plan may be.
var (
	Modes             = []string{ModeAvailable, ModeDisabled, ModeAutoOn, ModeOnFlag}
	Levels            = []string{"low", "medium", "high"}
	CompositeFormats  = []string{"mp4", "webm", "hls"}
	WebMCodecs        = []string{"vp9", "vp8"}
	SoundFormats      = []string{"wav", "wav-8bit"}
	IndividualFormats = []string{"auto", "webm", "mp4", "flv", "hls", "ogg", "opus", "wav", "wav-8bit", "aac"}
)

var layouts = struct {
	mu    sync.RWMutex
	names []string
}{names: []string{"grid", "speaker", "screenshare", "single"}}

// Layouts are the names that a plan's layout may have.
func Layouts() []string {
	layouts.mu.RLock()
	defer layouts.mu.RUnlock()
	return slices.Clone(layouts.names)
}

// AddLayout lets plans name a layout that a program brings itself. Adding one
// twice is harmless.
func AddLayout(name string) {
	layouts.mu.Lock()
	defer layouts.mu.Unlock()
	if !slices.Contains(layouts.names, name) {
		layouts.names = append(layouts.names, name)
	}
}

// LongestSlice is how long a slice of the format may be.
func LongestSlice(format string) time.Duration {
	switch format {
	case "mp4", "aac", "auto": // which takes MP4 for H.264
		return MaxShortSlice
	}
	return MaxSlice
}

var (
	placeholderRE = regexp.MustCompile(`\{\{ *([a-z_]+) *\}\}`)
	colourRE      = regexp.MustCompile(`^#[0-9A-Fa-f]{6}$`)
)

// IsColour tells whether s is a colour as Plan.Background takes it, #rrggbb.
func IsColour(s string) bool { return colourRE.MatchString(s) }

// CheckTemplate refuses a name template that could leave its folder or that
// has a placeholder nobody closes. Slashes make folders. "" is fine: the type's
// default.
func CheckTemplate(template string) error {
	if len(template) > MaxTemplate {
		return fmt.Errorf("must be at most %d bytes long", MaxTemplate)
	}
	rest := placeholderRE.ReplaceAllString(template, "x")
	switch {
	case template == "":
		return nil
	case strings.ContainsAny(rest, "{}"):
		return errors.New("must have placeholders like {{uuid}}")
	case path.Clean("/"+rest) != "/"+rest, strings.HasPrefix(rest, "@"), strings.Contains("/"+rest, "/."):
		return errors.New("must be a path without a slash at its ends, without empty parts, and without parts that begin with a dot")
	case strings.ContainsFunc(rest, func(r rune) bool { return r < ' ' || strings.ContainsRune(`\:*?"<>|%#`, r) || r == 0x7f }):
		return errors.New(`must have no control characters and none of \ : * ? " < > | % #`)
	}
	return nil
}

// CheckDestination refuses what is no HTTP address, or carries a password.
// "" is fine: none. Whether it may be reached is another question.
func CheckDestination(destination string) error {
	if destination == "" {
		return nil
	}
	u, err := url.Parse(destination)
	switch {
	case len(destination) > 2048:
		return errors.New("must be at most 2048 bytes long")
	case err != nil, u.Scheme != "https" && u.Scheme != "http", u.Host == "", u.Opaque != "":
		return errors.New("must be an http or https address")
	case u.User != nil:
		return errors.New("must carry no user or password")
	case u.Fragment != "":
		return errors.New("must have no fragment")
	}
	return nil
}

// Lines that an armored key lies between (RFC 9580, section 6.2).
const (
	keyBegin = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
	keyEnd   = "-----END PGP PUBLIC KEY BLOCK-----"
)

// CheckKey refuses what is not one armored OpenPGP public key by its armor. ""
// is fine: no encryption. Whether anything can be encrypted to it is another
// question. A private key has no business on a server.
func CheckKey(armored string) error {
	text := strings.TrimSpace(armored)
	switch {
	case armored == "":
		return nil
	case len(armored) > MaxKey:
		return fmt.Errorf("must be at most %d bytes long", MaxKey)
	case strings.Contains(text, "PRIVATE KEY"):
		return errors.New("must be a public key: this one is private, keep it off the server")
	case !strings.HasPrefix(text, keyBegin), !strings.HasSuffix(text, keyEnd), strings.Count(text, keyBegin) != 1:
		return errors.New("must be one armored OpenPGP public key")
	}
	return nil
}

// ForEvidence is the plan of the evidence lane: permissions, omissions and what
// the movie leaves out do not reach it.
func (p Plan) ForEvidence() Plan {
	p.AudioOnly, p.VideoOnly, p.RawAudioOnly, p.Omit = false, false, false, nil
	p.KeepMovies = p.KeepEvidence
	return p
}

package archive

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"stillwatch/internal/blob"
)

// Kinds of files that have names of their own.
const (
	KindMerged = "merged" // one movie of all
	KindSplit  = "split"  // one participant's
	KindAudio  = "audio"  // all sound mixed
	KindRaw    = "raw"    // the packets
	KindBundle = "bundle" // all in one
)

// DefaultApp is the application of a stream that names none.
const DefaultApp = "live"

// Presets are ready-made templates for each kind, by name: "rooms" for calls,
// "streams" for what is published as a stream of an application.
var Presets = map[string]map[string]string{
	"rooms": {
		KindMerged: "recording-{{confbridgeid}}-{{uuid}}",
		KindSplit:  "rec-{{date}}-{{time}}-{{userid}}",
		KindAudio:  "rec-{{date}}-{{time}}-{{uuid}}-{{confbridgeid}}",
		KindRaw:    "recording-{{confbridgeid}}",
		KindBundle: "rec-{{uuid}}-{{confbridgeid}}",
	},
	"streams": {
		KindMerged: streams, KindSplit: streams, KindAudio: streams, KindRaw: streams, KindBundle: streams,
	},
}

const streams = "record/{{app}}/{{stream}}/{{format}}/{{stream}}-{{start}}-{{end}}"

// DefaultName is the template of a kind for which none is set.
func DefaultName(kind string) string {
	if t, ok := Presets["rooms"][kind]; ok {
		return t
	}
	return Presets["rooms"][KindBundle]
}

// Values are what a template is filled with. What is not known is left empty
// and written as "none".
type Values struct {
	// UUID names the recording, ConfbridgeID the room it was made in, which is
	// Session where nothing else is known.
	UUID, ConfbridgeID string
	CallID, CallType   string
	Session            string
	UserID, Username   string
	Track              string
	// N numbers the files of a recording, from 1.
	N int
	// Start and End are of the file. Date and time are UTC.
	Start, End time.Time
	// App defaults to DefaultApp, Stream to CallID.
	App, Stream string
	// Format is mp4, webm, hls and so on; Type is the recording's.
	Format, Type string
	// Ext is put behind the name, without its dot; "" for none.
	Ext string
}

// variables are the names that a template may use.
var variables = map[string]func(v Values) string{
	"uuid":         func(v Values) string { return v.UUID },
	"confbridgeid": func(v Values) string { return or(v.ConfbridgeID, v.Session) },
	"call_id":      func(v Values) string { return v.CallID },
	"call_type":    func(v Values) string { return v.CallType },
	"session":      func(v Values) string { return v.Session },
	"date":         func(v Values) string { return clock(v.Start, "20060102") },
	"time":         func(v Values) string { return clock(v.Start, "150405") },
	"userid":       func(v Values) string { return v.UserID },
	"username":     func(v Values) string { return v.Username },
	"track":        func(v Values) string { return v.Track },
	"n":            func(v Values) string { return strconv.Itoa(v.N) },
	"start":        func(v Values) string { return seconds(v.Start) },
	"end":          func(v Values) string { return seconds(v.End) },
	"app":          func(v Values) string { return or(v.App, DefaultApp) },
	"stream":       func(v Values) string { return or(v.Stream, v.CallID) },
	"format":       func(v Values) string { return v.Format },
	"type":         func(v Values) string { return v.Type },
}

// Variables returns the names that a template may use, in order.
func Variables() []string {
	names := make([]string, 0, len(variables))
	for name := range variables {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// ErrTemplate is a template that no name can be made of.
var ErrTemplate = errors.New("bad name template")

// Name fills a template: {{uuid}} and the other Variables stand for values, in
// which all but letters, digits and "-_.@+" becomes "_", so that a value stays
// in its place. The result is a clean object key (blob.CheckKey). It returns
// ErrTemplate with what is wrong.
func Name(template string, v Values) (string, error) {
	var b strings.Builder
	for rest := template; rest != ""; {
		text, after, found := strings.Cut(rest, "{{")
		b.WriteString(text)
		if strings.Contains(text, "}}") {
			return "", fmt.Errorf("%w: }} without {{", ErrTemplate)
		}
		if !found {
			break
		}
		name, tail, closed := strings.Cut(after, "}}")
		if !closed {
			return "", fmt.Errorf("%w: {{ without }}", ErrTemplate)
		}
		value, known := variables[strings.TrimSpace(name)]
		if !known {
			return "", fmt.Errorf("%w: unknown variable %.40q; there are %s", ErrTemplate, strings.TrimSpace(name), strings.Join(Variables(), ", "))
		}
		b.WriteString(clean(value(v)))
		rest = tail
	}
	name := b.String()
	if path.Clean(name) != name {
		return "", fmt.Errorf("%w: %w: %.80q", ErrTemplate, blob.ErrBadKey, name)
	}
	if v.Ext != "" && !strings.HasSuffix(name, "."+v.Ext) {
		name += "." + clean(v.Ext)
	}
	if err := blob.CheckKey(name); err != nil {
		return "", fmt.Errorf("%w: %w", ErrTemplate, err)
	}
	return name, nil
}

// CheckTemplate tells whether a template can be used, whatever the values.
func CheckTemplate(template string) error {
	long := strings.Repeat("x", 36)
	_, err := Name(template, Values{
		UUID: long, ConfbridgeID: long, CallID: long, Session: long, UserID: long, Username: long, Track: long,
		Format: "webm", Type: "individual", Ext: "webm", Start: time.Unix(1, 0), End: time.Unix(2, 0),
	})
	return err
}

// Numbered returns key for 1, and for n the same with "-n" before its
// extension: how names that collide are told apart.
func Numbered(key string, n int) string {
	if n < 2 {
		return key
	}
	dir, base := path.Split(key)
	stem, ext, _ := strings.Cut(base, ".")
	if stem == "" { // a name that begins with a dot has no extension
		stem, ext = base, ""
	}
	if ext != "" {
		ext = "." + ext
	}
	return dir + stem + "-" + strconv.Itoa(n) + ext
}

// maxValue is how long a value may be in a name, in bytes.
const maxValue = 128

// clean makes a value that stays within one part of a key.
func clean(value string) string {
	value = strings.Map(func(r rune) rune {
		if r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("-_.@+", r)) {
			return r
		}
		return '_'
	}, value)
	for len(value) > maxValue {
		_, size := utf8.DecodeLastRuneInString(value)
		value = value[:len(value)-size]
	}
	if value == "" {
		return "none"
	}
	if value[0] == '.' {
		value = "_" + value[1:]
	}
	return strings.ReplaceAll(value, "..", "__")
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func clock(t time.Time, layout string) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(layout)
}

func seconds(t time.Time) string {
	if t.IsZero() {
		return "0"
	}
	return strconv.FormatInt(t.Unix(), 10)
}

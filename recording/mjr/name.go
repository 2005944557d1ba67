package mjr

import (
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Name is what a file's name tells of it. What it does not tell is empty.
type Name struct {
	// Room is the conference, User whose track it is.
	Room, User string
	// At is when the track began.
	At time.Time
	// Kind is "audio", "video" or "data".
	Kind string
	// Mix tells that the file is the sound of all.
	Mix bool
	// Screen tells that the name speaks of a screen.
	Screen bool
}

const (
	uuid  = `[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}`
	ended = `(?:-(\d{10,16}))?-(?:(?:own|peer|user)-)?(audio|video|data)(?:-\d+)?$`
)

// patterns of names: room, user, time and kind.
var patterns = []*regexp.Regexp{
	regexp.MustCompile(`^(?:videoroom|audiobridge)-(.+?)-user-(.+?)` + ended),
	regexp.MustCompile(`^janus-(` + uuid + `|[^-]+)-(.+)-sfu[a-z]+` + ended),
	// Calls of two: the file says whose it is and who the other is.
	regexp.MustCompile(`^(?:videocall|sip)-()(.+?)` + ended),
	regexp.MustCompile(`^(?:echotest|nosip)-()(.+?)` + ended),
	regexp.MustCompile(`^()(rec-\d+)` + ended), // the number is no time
	regexp.MustCompile(`^()(.+?)` + ended),
}

// mixRE are names of mixers' files.
var mixRE = regexp.MustCompile(`^(?:janus-audioroom|recording)-(.+?)(?:-(\d{10,16}))?$`)

var peerRE = regexp.MustCompile(`-peer-(?:audio|video|data)(?:-\d+)?$`)

// ParseName takes a file's name apart: those that the plugins of Janus give
// (videoroom-ROOM-user-USER-µs-video-0, audiobridge-…, videocall-…, sip-…,
// rec-…, janus-audioroom-ROOM-µs), recording-ROOM, janus-ROOM-USER-sfuvideo-ms-video, and else what stands before
// -audio or -video is the user. Folders and the ending do not matter.
func ParseName(path string) Name {
	base := filepath.Base(path)
	base = strings.TrimSuffix(base, filepath.Ext(base))
	n := Name{User: base, Screen: strings.Contains(strings.ToLower(base), "screen")}
	if m := mixRE.FindStringSubmatch(base); m != nil {
		return Name{Room: m[1], At: epoch(m[2]), Kind: "audio", Mix: true}
	}
	for _, p := range patterns {
		if m := p.FindStringSubmatch(base); m != nil {
			n.Room, n.User, n.At, n.Kind = m[1], m[2], epoch(m[3]), m[4]
			break
		}
	}
	if peerRE.MatchString(base) {
		n.User += "-peer"
	}
	return n
}

// epoch is a time since 1970 by its digits: 10 are seconds, 13 milliseconds,
// 16 microseconds. It is zero for what cannot be one.
func epoch(digits string) time.Time {
	v, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return time.Time{}
	}
	switch len(digits) {
	case 10:
		return micro(v * 1e6)
	case 13:
		return micro(v * 1e3)
	case 16:
		return micro(v)
	}
	return time.Time{}
}

func lower(s string) string { return strings.ToLower(strings.TrimSpace(s)) }

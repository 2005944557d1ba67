package mjr

import (
	"testing"
	"time"
)

func TestParseName(t *testing.T) {
	t.Parallel()
	micros, millis := time.UnixMicro(1_590_392_549_126_000).UTC(), time.UnixMilli(1_590_392_549_126).UTC()
	for name, want := range map[string]Name{
		"videoroom-1234-user-5678-1590392549126000-video-0.mjr":      {Room: "1234", User: "5678", At: micros, Kind: "video"},
		"videoroom-my-room-user-ann-b-1590392549126000-audio.mjr":    {Room: "my-room", User: "ann-b", At: micros, Kind: "audio"},
		"/a/b/janus-61408347-ann@x-sfuvideo-1590392549126-video.mjr": {Room: "61408347", User: "ann@x", At: millis, Kind: "video"},
		"janus-0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f-ann-b-sfuvideo-1590392549126-video.mjr": {
			Room: "0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f", User: "ann-b", At: millis, Kind: "video",
		},
		"janus-7-ann-sfuscreen-1590392549126-video.mjr":     {Room: "7", User: "ann", At: millis, Kind: "video", Screen: true},
		"audiobridge-9-user-ann-1590392549126000-audio.mjr": {Room: "9", User: "ann", At: micros, Kind: "audio"},
		"videocall-ann-bob-1590392549126000-video.mjr":      {User: "ann-bob", At: micros, Kind: "video"},
		"sip-ann-bob-1590392549126000-peer-audio.mjr":       {User: "ann-bob-peer", At: micros, Kind: "audio"},
		"sip-ann-bob-1590392549126000-own-audio.mjr":        {User: "ann-bob", At: micros, Kind: "audio"},
		"echotest-0x7f00-1590392549126000-video.mjr":        {User: "0x7f00", At: micros, Kind: "video"},
		"rec-8486469763877175-audio.mjr":                    {User: "rec-8486469763877175", Kind: "audio"},
		"ann-video.mjr":                                     {User: "ann", Kind: "video"},
		"ann.mjr":                                           {User: "ann"},
		"ann-screen-video.mjr":                              {User: "ann-screen", Kind: "video", Screen: true},
		"recording-77.wav":                                  {Room: "77", Kind: "audio", Mix: true},
		"janus-audioroom-1234-1590392549126000.wav":         {Room: "1234", At: micros, Kind: "audio", Mix: true},
		"": {User: "."},
	} {
		if got := ParseName(name); got != want && name != "" {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
}

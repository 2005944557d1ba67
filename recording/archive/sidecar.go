package archive

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Time is written in ISO 8601, UTC, with milliseconds
// ("2020-05-25T07:42:28.633Z").
type Time time.Time

const sidecarTime = "2006-01-02T15:04:05.000Z"

// MarshalJSON implements json.Marshaler.
func (t Time) MarshalJSON() ([]byte, error) {
	return json.Marshal(time.Time(t).UTC().Format(sidecarTime))
}

// UnmarshalJSON implements json.Unmarshaler.
func (t *Time) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return err
	}
	parsed, err := time.Parse(sidecarTime, text)
	*t = Time(parsed)
	return err
}

// Megabytes writes a size in bytes as a text in units of 10^6 bytes with
// twelve decimals ("0.123412000000MB").
func Megabytes(size int64) string {
	return fmt.Sprintf("%d.%06d000000MB", size/1e6, size%1e6)
}

// Sidecar is the JSON beside a recording that was split into files. Each
// window lies within the recording's.
type Sidecar struct {
	UUID string `json:"uuid"`
	// CallCID and SessionID say of which call it is.
	CallCID           string         `json:"callCid,omitempty"`
	SessionID         string         `json:"sessionId,omitempty"`
	StartTime         Time           `json:"startTime"`
	StopTime          Time           `json:"stopTime"`
	ShouldRecordAudio bool           `json:"shouldRecordAudio"`
	ShouldRecordVideo bool           `json:"shouldRecordVideo"`
	Videos            []SidecarVideo `json:"videos"`
	// Audio is all sound, mixed; nil where there is none. Where slices make
	// several files of it, it is the first of them.
	Audio *SidecarFile `json:"audio,omitempty"`
	// Sounds are the other files with sound alone: of a participant, or with an
	// empty userID the later slices of all sound.
	Sounds []SidecarSound `json:"sounds,omitempty"`
	// Notes say what is missing that was to be there.
	Notes []string `json:"notes,omitempty"`
	// Tracks are what was sent and when, whatever files it is in.
	Tracks []SidecarTrack `json:"tracks,omitempty"`
}

// SidecarTrack is a camera, a microphone or a shared screen of a participant.
// Who turns one off and on again has several segments of it.
type SidecarTrack struct {
	UserID    string           `json:"userID"`
	TrackType string           `json:"trackType"`
	Segments  []SidecarSegment `json:"segments"`
}

// SidecarSegment is a stretch without a break of more than a second.
type SidecarSegment struct {
	StartTime Time `json:"startTime"`
	StopTime  Time `json:"stopTime"`
}

// SidecarSound is a file with sound alone.
type SidecarSound struct {
	SidecarFile
	UserID string `json:"userID"`
}

// SidecarFile is one file of it.
type SidecarFile struct {
	StartTime Time   `json:"startTime"`
	StopTime  Time   `json:"stopTime"`
	Filename  string `json:"filename"`
	// Size is as Megabytes writes SizeBytes.
	Size      string `json:"size"`
	SizeBytes int64  `json:"sizeBytes"`
}

// SidecarVideo is the file of one participant.
type SidecarVideo struct {
	SidecarFile
	UserID string `json:"userID"`
	// Encoded is the codec that the pictures were encoded to again, "" if they
	// are as they were sent: their size or parameters changed Changes times
	// within the file, which is more often than files are begun.
	Encoded string `json:"encoded,omitempty"`
	Changes int    `json:"changes,omitempty"`
	// LeftOut counts pictures that arrived and are not in the file: what they
	// built on was lost, or they could not be decoded.
	LeftOut int `json:"leftOut,omitempty"`
	// Unblurred says that the file shows the user plainly although the settings
	// blur everybody but the flagged in the movie.
	Unblurred bool `json:"unblurred,omitempty"`
}

// NewSidecar begins one, for a recording from start to stop.
func NewSidecar(uuid string, start, stop time.Time, audio, video bool) *Sidecar {
	if stop.Before(start) {
		stop = start
	}
	return &Sidecar{
		UUID: uuid, StartTime: Time(start), StopTime: Time(stop), ShouldRecordAudio: audio, ShouldRecordVideo: video,
		Videos: []SidecarVideo{},
	}
}

// AddVideo adds a participant's file. What of its window is outside of the
// recording's is cut off: the clocks of packets and of the call differ by
// milliseconds. What is returned is good until the next one is added.
func (s *Sidecar) AddVideo(userID, filename string, start, stop time.Time, size int64) *SidecarVideo {
	s.Videos = append(s.Videos, SidecarVideo{SidecarFile: s.file(filename, start, stop, size), UserID: userID})
	return &s.Videos[len(s.Videos)-1]
}

// AddAudio adds a file with sound alone: a participant's, or with "" one of all
// sound, mixed. Its window is cut as AddVideo does.
func (s *Sidecar) AddAudio(userID, filename string, start, stop time.Time, size int64) {
	f := s.file(filename, start, stop, size)
	if userID == "" && s.Audio == nil {
		s.Audio = &f
		return
	}
	s.Sounds = append(s.Sounds, SidecarSound{f, userID})
}

// AddSegment adds a stretch of a participant's track, within the recording's
// window. Those of one user and type are one track.
func (s *Sidecar) AddSegment(userID, trackType string, start, stop time.Time) {
	if start, stop = s.within(start, stop); !start.Before(stop) {
		return
	}
	i := slices.IndexFunc(s.Tracks, func(t SidecarTrack) bool { return t.UserID == userID && t.TrackType == trackType })
	if i < 0 {
		i, s.Tracks = len(s.Tracks), append(s.Tracks, SidecarTrack{UserID: userID, TrackType: trackType})
	}
	s.Tracks[i].Segments = append(s.Tracks[i].Segments, SidecarSegment{Time(start), Time(stop)})
}

func (s *Sidecar) file(name string, start, stop time.Time, size int64) SidecarFile {
	start, stop = s.within(start, stop)
	return SidecarFile{Time(start), Time(stop), name, Megabytes(size), size}
}

// within cuts a window to the recording's.
func (s *Sidecar) within(start, stop time.Time) (time.Time, time.Time) {
	from, to := time.Time(s.StartTime), time.Time(s.StopTime)
	within := func(t, from time.Time) time.Time {
		if t.Before(from) {
			return from
		}
		if t.After(to) {
			return to
		}
		return t
	}
	start = within(start, from)
	return start, within(stop, start)
}

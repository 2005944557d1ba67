package recorder

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"stillwatch/internal/db"
	"stillwatch/recording"
	"stillwatch/recording/job"
	"stillwatch/recording/media"
)

// task is a step under way.
type task struct {
	r    *Recorder
	job  *job.Job
	run  db.RecordingRow
	plan recording.Plan
	log  *slog.Logger
	dir  string
	// start is the session's, once it is read.
	start time.Time
	// noted goes into the metadata.
	noted []string
}

func (t *task) readPlan() error {
	if err := json.Unmarshal(t.run.Plan.V, &t.plan); err != nil {
		return fmt.Errorf("%w: read plan of %s: %w", job.ErrHopeless, t.run.ID, err)
	}
	if t.evidence() {
		t.plan = t.plan.ForEvidence()
	}
	return nil
}

// evidence tells whether the run is of the moderation lane, which makes
// everything there is.
func (t *task) evidence() bool { return t.run.Lane == db.LaneEvidence }

// window is the part of the session that the run is about.
func (t *task) window(s *media.Session) (from, to time.Duration) {
	start := s.Info().StartedAt
	from = max(0, t.run.StartedAt.Sub(start)-t.plan.PreRoll)
	if t.waitsForSecond() {
		from = max(from, secondJoin(s))
	}
	to = s.Length()
	if !t.run.StoppedAt.IsZero() {
		to = min(to, t.run.StoppedAt.Sub(start))
	}
	return from, max(from, to)
}

// Kinds of a file.
const (
	kindMovie    = "movie"
	kindVideo    = "video"
	kindAudio    = "audio"
	kindRaw      = "raw"
	kindMetadata = "metadata"
	kindManifest = "manifest"
	kindPicture  = "thumbnail"
	kindSheet    = "sheet"
)

// output is a file that a step has made, in the recording's work folder.
type output struct {
	// Parts are paths in the work folder, the one that a player opens first.
	Parts  []string `json:"parts"`
	Kind   string   `json:"kind"`
	Format string   `json:"format"`
	UserID string   `json:"user_id,omitempty"`
	// Name is the stored file's without its ending; "" is made by the plan's template.
	Name string `json:"name,omitempty"`
	// Track is the event.TrackType.
	Track string `json:"track,omitempty"`
	// From and To are since the session's start.
	From time.Duration `json:"from"`
	To   time.Duration `json:"to"`
	// N tells files of one kind and user apart.
	N int `json:"n,omitempty"`
	// Encoded, Changes and LeftOut are those of archive.SidecarVideo.
	Encoded string `json:"encoded,omitempty"`
	Changes int    `json:"changes,omitempty"`
	LeftOut int    `json:"left_out,omitempty"`
}

// outputs is the result of a step that makes files.
type outputs struct {
	Files []output `json:"files"`
	// Left counts pictures that were left out since something of them, or of
	// what they build on, never arrived.
	Left int `json:"left,omitempty"`
}

package recorder

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/recording/composite"
	"stillwatch/recording/job"
	"stillwatch/recording/media"
)

// piece names a step's part of a recording: the movie, where slices make
// several, and the chunk in it.
type piece struct {
	Movie int `json:"movie"`
	Chunk int `json:"chunk"`
}

// movies is the result of the plan step; none where nothing is merged. Windows
// are the parts of the session that each file of sound or movie is about.
type movies struct {
	Movies  []*composite.Movie `json:"movies,omitempty"`
	Windows []media.Span       `json:"windows"`
	// Sent is what was sent in them, for the metadata.
	Sent []sent `json:"sent,omitempty"`
}

// sent is a track of a user, and when it was sent, since the session's start.
type sent struct {
	UserID string          `json:"user_id"`
	Type   event.TrackType `json:"type"`
	Spans  []media.Span    `json:"spans"`
}

// movies reads the result of the plan step.
func (t *task) movies(ctx context.Context) (m movies, err error) {
	rows, err := t.r.queue.Of(ctx, t.r.cfg.DB, t.run.ID, stepPlan)
	if err != nil {
		return m, err
	}
	if len(rows) != 1 {
		return m, fmt.Errorf("%w: the plan of %s is gone", job.ErrHopeless, t.run.ID)
	}
	if err := json.Unmarshal(rows[0].Result.V, &m); err != nil {
		return m, fmt.Errorf("%w: read plan of %s: %w", job.ErrHopeless, t.run.ID, err)
	}
	return m, nil
}

// piece reads which part the step is about.
func (t *task) piece() (p piece, err error) { return p, t.job.Read(&p) }

// folder is where the parts of one movie are made.
func (t *task) folder(movie int) (string, error) {
	dir := filepath.Join(t.dir, movieDir(movie))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make work folder: %w", err)
	}
	return dir, nil
}

func movieDir(movie int) string { return fmt.Sprintf("movie%d", movie) }

// chunkStep renders one chunk.
func (r *Recorder) chunkStep(ctx context.Context, t *task) error {
	all, err := t.movies(ctx)
	if err != nil {
		return err
	}
	p, err := t.piece()
	if err != nil {
		return err
	}
	s, err := t.open(ctx)
	if err != nil {
		return err
	}
	if _, err := t.render(ctx, s, all.Movies[p.Movie], p); err != nil {
		return err
	}
	return t.done(ctx, p, []string{filepath.Join(movieDir(p.Movie), composite.ChunkName(p.Chunk))}, func(ctx context.Context, tx bun.Tx) error {
		return t.joinNext(ctx, tx, all)
	})
}

// render makes the file of a chunk, or finds it made.
func (t *task) render(ctx context.Context, s *media.Session, m *composite.Movie, p piece) (string, error) {
	dir, err := t.folder(p.Movie)
	if err != nil {
		return "", err
	}
	return composite.RenderChunk(ctx, t.source(s), m, p.Chunk, dir)
}

// joinNext adds the joining of each movie once all chunks and sounds are done.
func (t *task) joinNext(ctx context.Context, tx bun.Tx, all movies) error {
	if err := t.earlyNext(ctx, tx, all); err != nil {
		return err
	}
	for n := range all.Movies {
		if err := t.next(ctx, tx, stepJoin, n, piece{Movie: n}, stepPlan, stepChunk, stepSound); err != nil {
			return err
		}
	}
	return nil
}

// soundName is the mixed sound in its folder.
const soundName = "sound.wav"

// soundResult is the result of a sound step.
type soundResult struct {
	Silent bool `json:"silent"`
	// Lost tells that there was sound which could not be mixed.
	Lost bool          `json:"lost,omitempty"`
	From time.Duration `json:"from"`
	To   time.Duration `json:"to"`
}

// soundStep mixes the sound of all, for one movie or one file of sound.
func (r *Recorder) soundStep(ctx context.Context, t *task) error {
	s, err := t.open(ctx)
	if err != nil {
		return err
	}
	all, err := t.movies(ctx)
	if err != nil {
		return err
	}
	p, err := t.piece()
	if err != nil {
		return err
	}
	dir, err := t.folder(p.Movie)
	if err != nil {
		return err
	}
	w, tracks := all.Windows[p.Movie], t.sounds(s)
	for _, track := range s.Tracks() {
		if slices.Contains(tracks, track.ID) && track.Person >= 0 {
			t.log.Debug("processing", "call", t.run.CID, "user", s.People()[track.Person].UserID, "track", track.Type)
		}
	}
	res := soundResult{From: w.From, To: w.To}
	format := "wav" // of a movie
	if len(all.Movies) == 0 {
		format = t.soundFormat()
	}
	path, files := filepath.Join(dir, soundName), []string{filepath.Join(movieDir(p.Movie), soundName)}
	err = s.MixAudio(ctx, media.MixOptions{Path: path, Format: format, From: w.From, To: w.To, Tracks: tracks})
	switch res.Silent = errors.Is(err, media.ErrNoSound); {
	case err == nil:
	case res.Silent:
		files = nil
	case ctx.Err() == nil && t.goesWithoutSound(err) && (len(all.Movies) > 0 || t.pictured(s)):
		t.log.Warn("a recording is made without the sound of all, which cannot be mixed", "call", t.run.CID, "err", err)
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("remove sound: %w", err)
		}
		res.Silent, res.Lost, files = true, true, nil
	default:
		return err
	}
	return t.done(ctx, res, files, func(ctx context.Context, tx bun.Tx) error {
		if len(all.Movies) > 0 {
			return t.joinNext(ctx, tx, all)
		}
		return t.storeNext(ctx, tx)
	})
}

// goesWithoutSound tells whether a mix that failed is not tried again: pictures
// without sound are better than none. Room on the disk may come.
func (t *task) goesWithoutSound(err error) bool {
	final := t.job.Attempts+1 >= job.DefaultTries || errors.Is(err, job.ErrHopeless)
	return final && !errors.Is(err, context.Canceled) && codeOf(err) != CodeDisk
}

// pictured tells whether files of anybody's pictures are made.
func (t *task) pictured(s *media.Session) bool {
	from, to := t.window(s)
	return slices.ContainsFunc(t.shares(s, from, to), func(sh share) bool { return len(sh.Video) > 0 })
}

// noSound is what the metadata says where the sound of all is missing.
const noSound = "the sound of all could not be mixed: it is missing"

// notes are what the metadata says of a run's steps.
func (t *task) notes(rows []db.RecordingJobRow) ([]string, error) {
	for _, row := range rows {
		var res soundResult
		if row.Kind != stepSound {
			continue
		}
		if err := json.Unmarshal(row.Result.V, &res); err != nil {
			return nil, fmt.Errorf("%w: read sound: %w", job.ErrHopeless, err)
		}
		if res.Lost {
			return []string{noSound}, nil
		}
	}
	return nil, nil
}

// storeNext adds the storing once everything is made.
func (t *task) storeNext(ctx context.Context, tx bun.Tx) error {
	return t.next(ctx, tx, stepStore, 0, piece{}, stepPlan, stepChunk, stepSound, stepEarly, stepJoin, stepSplit, stepDump)
}

// soundFormat is that of the mixed sound where it is a file of its own: 8 bits
// where the plan asks for it.
func (t *task) soundFormat() string {
	if t.plan.SoundFormat == "wav-8bit" && !t.evidence() {
		return t.plan.SoundFormat
	}
	return "wav"
}

// sounds are the tracks that are heard. Where a mixer recorded the sound of
// all, its members' own would be heard twice.
func (t *task) sounds(s *media.Session) []string {
	out, mixed := []string{}, []string{}
	for _, track := range s.Tracks() {
		switch {
		case track.Video() || t.omits(s, track):
		case track.Person >= 0 && s.People()[track.Person].Mixer():
			mixed = append(mixed, track.ID)
		default:
			out = append(out, track.ID)
		}
	}
	if len(mixed) > 0 {
		return mixed
	}
	return out
}

// joinStep joins the chunks of a movie and adds the sound.
func (r *Recorder) joinStep(ctx context.Context, t *task) error {
	all, err := t.movies(ctx)
	if err != nil {
		return err
	}
	p, err := t.piece()
	if err != nil {
		return err
	}
	m := all.Movies[p.Movie]
	dir, err := t.folder(p.Movie)
	if err != nil {
		return err
	}
	if err := t.bringAll(ctx, p.Movie, stepChunk, stepSound); err != nil {
		return err
	}
	chunks, err := t.chunks(ctx, m, p.Movie)
	if err != nil {
		return err
	}
	sound, err := t.mixed(ctx, p.Movie)
	if err != nil {
		return err
	}
	files, err := composite.Join(ctx, m, chunks, sound, dir, nil)
	if err != nil {
		return err
	}
	var out outputs
	for i, path := range files {
		o := output{Kind: kindMovie, Format: m.Formats[i], From: m.Start, To: m.Start + m.Length(), N: p.Movie}
		if o.Parts, err = t.parts(path, o.Format); err != nil {
			return err
		}
		out.Files = append(out.Files, o)
	}
	return t.done(ctx, out, out.names(), t.storeNext)
}

// mixed is the path of a movie's sound, "" if there is none. It is mixed again
// where the file is gone.
func (t *task) mixed(ctx context.Context, movie int) (string, error) {
	rows, err := t.r.queue.Of(ctx, t.r.cfg.DB, t.run.ID, stepSound)
	if err != nil {
		return "", err
	}
	for _, row := range rows {
		var p piece
		var res soundResult
		if err := errors.Join(json.Unmarshal(row.Payload.V, &p), json.Unmarshal(row.Result.V, &res)); err != nil {
			return "", fmt.Errorf("%w: read sound: %w", job.ErrHopeless, err)
		}
		if p.Movie != movie || res.Silent {
			continue
		}
		path := filepath.Join(t.dir, movieDir(movie), soundName)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
		s, err := t.open(ctx)
		if err != nil {
			return "", err
		}
		return path, s.MixAudio(ctx, media.MixOptions{Path: path, Format: "wav", From: res.From, To: res.To, Tracks: t.sounds(s)})
	}
	return "", nil
}

// parts lists the files that belong to a made file, itself first, by their
// names in the work folder. An HLS index has a folder of its own.
func (t *task) parts(path, format string) ([]string, error) {
	name, err := filepath.Rel(t.dir, path)
	if err != nil {
		return nil, fmt.Errorf("name %s: %w", path, err)
	}
	all := []string{name}
	if format != composite.HLS {
		return all, nil
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("list segments: %w", err)
	}
	for _, e := range entries {
		if part := filepath.Join(filepath.Dir(name), e.Name()); part != name && e.Type().IsRegular() {
			all = append(all, part)
		}
	}
	return all, nil
}

// chunks are the paths of a movie's chunks. One that is gone, as after a move
// to another machine, is rendered again.
func (t *task) chunks(ctx context.Context, m *composite.Movie, movie int) ([]string, error) {
	s, err := t.open(ctx)
	if err != nil {
		return nil, err
	}
	paths := make([]string, len(m.Chunks))
	for n := range m.Chunks {
		if paths[n], err = t.render(ctx, s, m, piece{movie, n}); err != nil {
			return nil, err
		}
	}
	return paths, nil
}

// made collects what the steps of a kind have made.
func (t *task) made(rows []db.RecordingJobRow) ([]output, error) {
	var all []output
	for _, row := range rows {
		if row.Kind != stepJoin && row.Kind != stepSplit && row.Kind != stepDump && row.Kind != stepEdit {
			continue
		}
		if row.Kind == stepEdit { // counts from the beginning of the first file
			t.start = t.run.StartedAt.Time
		}
		var out outputs
		if err := json.Unmarshal(row.Result.V, &out); err != nil {
			return nil, fmt.Errorf("%w: read result of %s: %w", job.ErrHopeless, row.Kind, err)
		}
		all = append(all, out.Files...)
	}
	return all, nil
}

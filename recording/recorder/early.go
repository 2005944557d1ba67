package recorder

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/recording/composite"
	"stillwatch/recording/job"
	"stillwatch/recording/media"
)

// earlyLength is how much of a movie can be watched while the rest is made.
const earlyLength = time.Minute

// earlyChunks is how many chunks of the movie the first minute takes, 0 where
// it is not published before the whole.
func (t *task) earlyChunks(all movies) int {
	if len(all.Movies) == 0 || t.plan.EncryptTo != "" {
		return 0
	}
	m := all.Movies[0]
	if !slices.Contains(m.Formats, composite.HLS) || m.Length() < 2*earlyLength {
		return 0
	}
	for i, c := range m.Chunks {
		if c.To >= earlyLength-time.Second {
			return i + 1
		}
	}
	return 0
}

// earlyNext adds the early step once the first minute's chunks are there. It
// goes before the chunks that still wait.
func (t *task) earlyNext(ctx context.Context, tx bun.Tx, all movies) error {
	n := t.earlyChunks(all)
	if n == 0 {
		return nil
	}
	var rows []db.RecordingJobRow
	err := tx.NewSelect().Model(&rows).Where("recording_id = ?", t.run.ID).Where("kind = ?", stepChunk).
		Where("state <> ?", db.JobDone).Scan(ctx)
	if err != nil {
		return fmt.Errorf("look for early steps of %s: %w", t.run.ID, err)
	}
	for _, row := range rows {
		other := task{job: &job.Job{RecordingJobRow: row}}
		p, err := other.piece()
		if err != nil {
			return err
		}
		if p.Movie == 0 && p.Chunk < n {
			return nil
		}
	}
	return t.r.queue.AddFirst(ctx, tx, t.run.ID, stepEarly, 0, piece{})
}

// earlyStep publishes the first minute of a movie as HLS. That it fails is no
// failure of the recording, whose files are all made later.
func (r *Recorder) earlyStep(ctx context.Context, t *task) error {
	row, err := t.early(ctx)
	if err != nil && ctx.Err() != nil {
		return err
	}
	if err != nil {
		t.log.Warn("the first minute is not published early", "err", err)
	}
	return r.queue.Done(ctx, t.job, struct{}{}, func(ctx context.Context, tx bun.Tx) error {
		if row == nil {
			return nil
		}
		if _, err := tx.NewInsert().Model(row).On("CONFLICT (id) DO NOTHING").Returning("NULL").Exec(ctx); err != nil {
			return fmt.Errorf("write file %s: %w", row.Filename, err)
		}
		return nil
	})
}

func (t *task) early(ctx context.Context) (*db.RecordingFileRow, error) {
	all, err := t.movies(ctx)
	if err != nil {
		return nil, err
	}
	m, n := all.Movies[0], t.earlyChunks(all)
	dir, err := t.folder(0)
	if err != nil {
		return nil, err
	}
	s, err := t.open(ctx)
	if err != nil {
		return nil, err
	}
	t.start = s.Info().StartedAt
	if err := t.bringAll(ctx, 0, stepChunk); err != nil {
		return nil, err
	}
	chunks := make([]string, n)
	for i := range chunks {
		if chunks[i], err = t.render(ctx, s, m, piece{0, i}); err != nil {
			return nil, err
		}
	}
	sound, err := t.earlySound(ctx, s, all.Windows[0], m.Chunks[n-1].To, dir)
	if err != nil {
		return nil, err
	}
	index, err := composite.JoinHLS(ctx, m, chunks, sound, filepath.Join(dir, "hls"), false)
	if err != nil {
		return nil, err
	}
	o := output{Kind: kindMovie, Format: composite.HLS, From: m.Start, To: m.Start + m.Length()}
	if o.Parts, err = t.parts(index, o.Format); err != nil {
		return nil, err
	}
	store, err := t.openStore()
	if err != nil {
		return nil, err
	}
	put, err := t.put(ctx, store, max(slices.Index(m.Formats, composite.HLS), 0), o)
	if err = errors.Join(err, store.Close()); err != nil {
		return nil, err
	}
	t.log.Info("the first minute can be watched", "call", t.run.CID, "after", t.r.cfg.Now().Sub(t.run.StoppedAt.Time).Round(time.Millisecond))
	return &put.row, nil
}

// earlySound mixes the sound of the first minute, "" if there is none. It is
// that of the whole, which takes longer, to the sample.
func (t *task) earlySound(ctx context.Context, s *media.Session, w media.Span, until time.Duration, dir string) (string, error) {
	path, to := filepath.Join(dir, "early.wav"), min(w.From+until+composite.EarlySound, w.To)
	err := s.MixAudio(ctx, media.MixOptions{Path: path, Format: "wav", From: w.From, To: to, Tracks: t.sounds(s)})
	if errors.Is(err, media.ErrNoSound) {
		return "", nil
	}
	return path, err
}

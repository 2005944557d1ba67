package recorder

import (
	"context"
	"fmt"
	"slices"
	"time"

	"stillwatch/recording/composite"
	"stillwatch/recording/job"
	"stillwatch/recording/layout"
	"stillwatch/recording/media"
	"stillwatch/recording/raw"
)

// errHopeless is job.ErrHopeless by a name that reads well here.
var errHopeless = job.ErrHopeless

// source shows a session to the compositor.
func (t *task) source(s *media.Session) composite.Source { return composite.FromSession(s) }

// movieOptions say what the composite looks like.
func (t *task) movieOptions(ctx context.Context, from, to time.Duration) (composite.Options, error) {
	p := t.plan
	l, err := layout.Find(p.Layout)
	if err != nil {
		return composite.Options{}, fmt.Errorf("%w: %w", job.ErrHopeless, err)
	}
	o := composite.Options{
		Quality: p.Quality, Level: p.Level, Layout: l, From: from, To: to, Names: p.ShowNames, Background: p.Background, Watermark: p.Watermark,
		Blur: p.BlurBystanders, Formats: p.CompositeFormats, WebMCodec: p.WebMCodec, Cut: earlyLength,
		// Who only speaks, or turns the camera off, is there all the same.
		// A tile cuts what is held upright; evidence shows all that was seen.
		Arrange: layout.Options{Omit: p.Omit, CardWhenOff: true, Whole: t.evidence()},
	}
	if p.LargeGrid || t.evidence() {
		o.Arrange.MaxTiles = 25
	}
	if p.BlurBystanders {
		if o.Flagged, err = t.flagged(ctx); err != nil {
			return o, err
		}
	}
	return o, nil
}

// flagged are the users because of whom the call was flagged in this session.
func (t *task) flagged(ctx context.Context) ([]string, error) {
	info := raw.SessionInfo{CID: t.run.CID, SessionID: t.run.SessionID, StartedAt: t.run.StartedAt.Time}
	rows, err := t.r.flagsOf(ctx, t.r.cfg.DB, info, t.run.StoppedAt.Time)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, a := range rows {
		if !slices.Contains(out, a.UserID) {
			out = append(out, a.UserID)
		}
	}
	return out, nil
}

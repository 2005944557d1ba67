package recorder

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"stillwatch/internal/db"
	"stillwatch/internal/evidence"
	"stillwatch/internal/storage"
	"stillwatch/recording"
	"stillwatch/recording/archive"
	"stillwatch/recording/composite"
)

// collect lists what the steps have made, and the mixed sound where it is a
// file of its own.
func (t *task) collect(rows []db.RecordingJobRow) ([]output, error) {
	files, err := t.made(rows)
	if err != nil {
		return nil, err
	}
	merged := false
	for _, f := range files {
		merged = merged || f.Kind == kindMovie
	}
	if merged && !t.evidence() || t.run.Type == recording.TypeRaw {
		return files, nil
	}
	for _, row := range rows {
		if row.Kind != stepSound {
			continue
		}
		var p piece
		var res soundResult
		if err := json.Unmarshal(row.Payload.V, &p); err != nil {
			return nil, fmt.Errorf("%w: read step: %w", errHopeless, err)
		}
		if err := json.Unmarshal(row.Result.V, &res); err != nil {
			return nil, fmt.Errorf("%w: read sound: %w", errHopeless, err)
		}
		if res.Silent {
			continue
		}
		files = append(files, output{
			Parts: []string{filepath.Join(fmt.Sprintf("movie%d", p.Movie), soundName)}, Kind: kindAudio, Format: t.soundFormat(),
			From: res.From, To: res.To, N: p.Movie,
		})
	}
	return files, nil
}

// readStart reads when the session began where its packets are another
// machine's.
func (t *task) readStart(ctx context.Context) error {
	if !t.start.IsZero() {
		return nil
	}
	reader, err := t.r.openPackets(ctx, t.run.SessionID)
	switch {
	case err == nil:
		t.start = reader.Session().StartedAt
	case t.r.away(err), errors.Is(err, errNotHere), ctx.Err() != nil:
		return err
	}
	return nil
}

// sessionStart is the wall clock at the session's beginning.
func (t *task) sessionStart() time.Time {
	if t.start.IsZero() {
		t.start = t.run.StartedAt.Time
		if reader, err := t.r.openRaw(t.run.SessionID); err == nil {
			t.start = reader.Session().StartedAt
		}
	}
	return t.start
}

// playName is the playlist whose segments are links: what a player opens. The
// one beside it names its segments as files, for who takes all of them away.
const playName = recording.PlayName

// playlist adds, beside an HLS index and the playlists it names, ones that
// link to what they consist of.
func (t *task) playlist(ctx context.Context, store *archive.Store, s stored) (stored, error) {
	until := t.r.cfg.Now().Add(linkFor)
	if !s.row.ExpiresAt.IsZero() && s.row.ExpiresAt.Before(until) {
		until = s.row.ExpiresAt.Time
	}
	link := func(p archive.Stored) string {
		return t.r.cfg.Objects.SignGet(storage.Ref(p.Storage, p.Key), until)
	}
	links := map[string]string{}
	var lists []string
	for i, part := range s.Parts {
		links[filepath.Base(part)] = link(s.parts[i])
		if i > 0 && strings.HasSuffix(part, ".m3u8") {
			lists = append(lists, part)
		}
	}
	for _, part := range append(lists, s.Parts[0]) { // the index last: it links to the others
		text, err := os.ReadFile(filepath.Join(t.dir, part))
		if err != nil {
			return s, fmt.Errorf("read playlist: %w", err)
		}
		base := "play-" + filepath.Base(part)
		if part == s.Parts[0] {
			base = playName
		}
		name := filepath.Join(filepath.Dir(part), base)
		if err := os.WriteFile(filepath.Join(t.dir, name), []byte(linked(string(text), links)), 0o600); err != nil {
			return s, fmt.Errorf("write playlist: %w", err)
		}
		key := strings.TrimSuffix(s.row.ObjectKey, filepath.Base(s.row.ObjectKey)) + base
		put, err := store.Put(ctx, archive.File{Path: filepath.Join(t.dir, name), Key: key, Replace: true, ContentType: "application/vnd.apple.mpegurl"})
		if err != nil {
			return s, err
		}
		links[filepath.Base(part)] = link(put)
		s.row.Items.V = append(s.row.Items.V, put.Item())
	}
	return s, nil
}

// linked puts links in the place of names in a playlist (RFC 8216): lines that
// are URIs, and the URI attributes of tags.
func linked(text string, links map[string]string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		bare := strings.TrimRight(line, "\r\n")
		switch {
		case bare != "" && !strings.HasPrefix(bare, "#") && links[bare] != "":
			line = links[bare] + "\n"
		case strings.HasPrefix(bare, "#"):
			if before, rest, ok := strings.Cut(bare, `URI="`); ok {
				if name, after, ok := strings.Cut(rest, `"`); ok && links[name] != "" {
					line = before + `URI="` + links[name] + `"` + after + "\n"
				}
			}
		}
		b.WriteString(line)
	}
	return b.String()
}

// blurred is the track of pictures that nobody can be made out on.
const blurred = "blurred"

// describe makes what belongs beside the files: metadata, and the pictures of
// the first movie.
func (t *task) describe(ctx context.Context, all []stored) ([]output, error) {
	var out []output
	from, to := span(all)
	if t.run.Type == recording.TypeRaw {
		side, err := t.rawSidecar(ctx, all, from, to)
		return []output{{Parts: []string{side}, Kind: kindMetadata, Format: "json", From: from, To: to}}, err
	}
	side, err := t.sidecar(ctx, all, from, to)
	if err != nil {
		return nil, err
	}
	out = append(out, output{Parts: []string{side}, Kind: kindMetadata, Format: "json", From: from, To: to})
	// A file is read faster than the segments of HLS.
	movies := slices.Clone(all)
	slices.SortStableFunc(movies, func(a, b stored) int { return cmp.Compare(min(len(a.Parts), 2), min(len(b.Parts), 2)) })
	for _, s := range movies {
		if s.row.Kind != kindMovie {
			continue
		}
		dir, err := t.pictures(ctx, s)
		if err != nil {
			t.log.Warn("a movie has no contact sheet", "file", s.row.Filename, "err", err)
			break
		}
		for n, p := range []struct{ name, kind, track string }{
			{"thumbnail-blurred.jpg", kindPicture, blurred},
			{"sheet-blurred.jpg", kindSheet, blurred},
			{"thumbnail.jpg", kindPicture, "plain"},
			{"sheet.jpg", kindSheet, "plain"},
		} {
			out = append(out, output{Parts: []string{filepath.Join(dir, p.name)}, Kind: p.kind, Format: "jpg", Track: p.track, From: from, To: to, N: n})
		}
		break
	}
	return out, nil
}

// pictures makes the pictures of a movie, or finds them made: what is made
// again is another file to the store. It returns the name of their folder.
func (t *task) pictures(ctx context.Context, s stored) (string, error) {
	const name = "pictures"
	dir := filepath.Join(t.dir, name)
	if _, err := os.Stat(dir); err == nil {
		return name, nil
	}
	part := dir + ".part"
	if err := errors.Join(os.RemoveAll(part), os.Mkdir(part, 0o700)); err != nil {
		return "", fmt.Errorf("make work folder: %w", err)
	}
	movie := filepath.Join(t.dir, s.Parts[0])
	if s.Format == composite.HLS {
		joined := filepath.Join(part, "joined.mp4")
		if err := joinSegments(filepath.Join(filepath.Dir(movie), "video.m3u8"), joined); err != nil {
			return "", err
		}
		movie = joined
	}
	if _, err := archive.ContactSheet(ctx, movie, part, s.row.Media.V); err != nil {
		return "", err
	}
	if s.Format == composite.HLS {
		if err := os.Remove(movie); err != nil {
			return "", fmt.Errorf("remove joined segments: %w", err)
		}
	}
	if err := os.Rename(part, dir); err != nil {
		return "", fmt.Errorf("keep pictures: %w", err)
	}
	return name, nil
}

// joinSegments makes one file of the segments of a playlist of ours: behind one
// another they are fragmented MP4 (ISO/IEC 14496-12, section 8.8), in which
// there can be sought.
func joinSegments(list, path string) error {
	text, err := os.ReadFile(list)
	if err != nil {
		return fmt.Errorf("read playlist: %w", err)
	}
	out, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("join segments: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		name := strings.TrimSpace(line)
		if uri, ok := strings.CutPrefix(name, `#EXT-X-MAP:URI="`); ok {
			name, _, _ = strings.Cut(uri, `"`)
		}
		if name == "" || strings.HasPrefix(name, "#") {
			continue
		}
		if err := appendFile(out, filepath.Join(filepath.Dir(list), name)); err != nil {
			return errors.Join(fmt.Errorf("join segments: %w", err), out.Close())
		}
	}
	return out.Close()
}

func appendFile(out io.Writer, path string) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	_, err = io.Copy(out, in)
	return err
}

// write writes a file into the work folder, unless it says the same already.
func (t *task) write(name string, text []byte) error {
	path := filepath.Join(t.dir, name)
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, text) {
		return nil
	}
	return os.WriteFile(path, text, 0o600)
}

// wasSent is what the plan step found; nothing of a recording that was made of
// others.
func (t *task) wasSent(ctx context.Context) ([]sent, error) {
	rows, err := t.r.queue.Of(ctx, t.r.cfg.DB, t.run.ID, stepEdit)
	if err != nil || len(rows) > 0 {
		return nil, err
	}
	all, err := t.movies(ctx)
	return all.Sent, err
}

// span is from the first beginning of the files to their last end.
func span(all []stored) (from, to time.Duration) {
	from = all[0].From
	for _, s := range all {
		from, to = min(from, s.From), max(to, s.To)
	}
	return from, to
}

// sidecar writes the JSON that says which file is whose, and when.
func (t *task) sidecar(ctx context.Context, all []stored, from, to time.Duration) (string, error) {
	start := t.sessionStart()
	flagged, err := t.flaggedIfBlurred(ctx)
	if err != nil {
		return "", err
	}
	side := archive.NewSidecar(t.run.ID, start.Add(from), start.Add(to), !t.plan.VideoOnly, !t.plan.AudioOnly)
	side.Notes = t.noted
	sent, err := t.wasSent(ctx)
	if err != nil {
		return "", err
	}
	side.CallCID, side.SessionID = t.run.CID, t.run.SessionID
	for _, track := range sent {
		for _, span := range track.Spans {
			side.AddSegment(track.UserID, string(track.Type), start.Add(span.From), start.Add(span.To))
		}
	}
	for _, s := range all {
		switch {
		case s.row.Kind == kindVideo:
			v := side.AddVideo(s.UserID, s.row.ObjectKey, s.row.StartedAt.Time, s.row.EndedAt.Time, s.row.Size)
			v.Encoded, v.Changes, v.LeftOut, v.Unblurred = s.Encoded, s.Changes, s.LeftOut, t.unblurred(s, flagged)
		case s.row.Kind == kindMovie:
			side.AddVideo("", s.row.ObjectKey, s.row.StartedAt.Time, s.row.EndedAt.Time, s.row.Size)
		case s.row.Kind == kindAudio:
			side.AddAudio(s.UserID, s.row.ObjectKey, s.row.StartedAt.Time, s.row.EndedAt.Time, s.row.Size)
		}
	}
	text, err := json.MarshalIndent(side, "", "  ")
	if err != nil {
		return "", fmt.Errorf("write metadata: %w", err)
	}
	const name = "metadata.json"
	if err := t.write(name, append(text, '\n')); err != nil {
		return "", fmt.Errorf("write metadata: %w", err)
	}
	return name, nil
}

// flaggedIfBlurred are the users who are not blurred in the movie, where the
// others are.
func (t *task) flaggedIfBlurred(ctx context.Context) ([]string, error) {
	if !t.plan.BlurBystanders {
		return nil, nil
	}
	return t.flagged(ctx)
}

// unblurred tells whether a file shows somebody plainly whom the movie blurs:
// evidence has a file of everybody, as it was sent.
func (t *task) unblurred(s stored, flagged []string) bool {
	return t.plan.BlurBystanders && s.row.Kind == kindVideo && s.UserID != "" && !slices.Contains(flagged, s.UserID)
}

// push sends the files to the plan's endpoint besides.
func (t *task) push(ctx context.Context, all []stored) error {
	if t.r.cfg.Client == nil {
		return fmt.Errorf("%w: there is no way out to the destination", errHopeless)
	}
	var files []archive.PushFile
	for _, s := range all {
		for i, part := range s.Parts {
			put := s.parts[i]
			f := archive.PushFile{
				Path: filepath.Join(t.dir, part), Name: filepath.Base(put.Key), ContentType: "",
				Meta: map[string]any{
					"kind": s.row.Kind, "format": s.row.Format, "user_id": s.UserID, "track_type": s.Track,
					"start_time": s.row.StartedAt.UTC(), "end_time": s.row.EndedAt.UTC(), "encrypted": put.Encrypted,
				},
			}
			if put.Encrypted { // nobody gets what the key was given to hide
				f.Path, f.Size = "", put.Size
				f.Open = func(ctx context.Context) (io.ReadCloser, error) { return t.r.cfg.Objects.Open(ctx, put.Ref) }
			}
			files = append(files, f)
		}
	}
	about := map[string]any{
		"call_cid": t.run.CID, "session_id": t.run.SessionID, "egress_id": t.run.ID, "recording_type": t.run.Type,
		"start_time": t.run.StartedAt.UTC(), "end_time": t.run.StoppedAt.UTC(), "custom": custom(t.run),
	}
	return archive.Push(ctx, t.r.cfg.Client, t.r.cfg.Signer, t.plan.Destination, t.run.ID, about, files)
}

// manifest chains and signs what was stored: every object with its size and
// hash, and by which plan it was made.
func (t *task) manifest(ctx context.Context, all []stored) (string, error) {
	// The time of the step's order, so that another try makes the same.
	m := evidence.New("recording:"+t.run.ID, "recorder", t.job.CreatedAt.Time)
	note, err := json.Marshal(map[string]any{
		"cid": t.run.CID, "session_id": t.run.SessionID, "type": t.run.Type, "lane": t.run.Lane, "flagged": bool(t.run.Flagged), "plan": recording.Public(t.run.Plan.V),
	})
	if err != nil {
		return "", fmt.Errorf("write manifest: %w", err)
	}
	stop := t.run.StoppedAt.Time
	err = m.Add(evidence.Entry{Kind: "recording", ID: t.run.ID, At: t.run.StartedAt.Time, Until: &stop, Clock: evidence.ClockServer, Note: note})
	if err != nil {
		return "", fmt.Errorf("write manifest: %w", err)
	}
	flagged, err := t.flaggedIfBlurred(ctx)
	if err != nil {
		return "", err
	}
	for _, s := range all {
		until := s.row.EndedAt.Time
		about := map[string]any{}
		if s.Encoded != "" || s.LeftOut > 0 { // not all as it was sent
			about = map[string]any{"encoded": s.Encoded, "changes": s.Changes, "left_out": s.LeftOut}
		}
		if t.unblurred(s, flagged) {
			about["unblurred"] = true
		}
		var note json.RawMessage
		if len(about) > 0 {
			if note, err = json.Marshal(about); err != nil {
				return "", fmt.Errorf("write manifest: %w", err)
			}
		}
		for _, item := range s.row.Items.V {
			err := m.Add(evidence.Entry{
				Kind: "file", ID: s.row.ID, Name: item.Key, Key: item.Key, Size: item.Size, SHA256: item.Checksum.SHA256,
				At: s.row.StartedAt.Time, Until: &until, Clock: evidence.ClockServer, Actor: s.UserID, Note: note,
			})
			if err != nil {
				return "", fmt.Errorf("write manifest: %w", err)
			}
		}
	}
	if err := m.Sign(t.r.cfg.Evidence); err != nil {
		return "", fmt.Errorf("sign manifest: %w", err)
	}
	text, err := m.Encode()
	if err != nil {
		return "", fmt.Errorf("write manifest: %w", err)
	}
	const name = "manifest.json"
	if err := t.write(name, text); err != nil {
		return "", fmt.Errorf("write manifest: %w", err)
	}
	return name, nil
}

package recorder

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/blob"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/jail"
	"stillwatch/internal/storage"
	"stillwatch/recording"
	"stillwatch/recording/archive"
	"stillwatch/recording/composite"
)

// edit is the payload of an edit step: files to join in order, or one to cut.
type edit struct {
	Files []string `json:"files"`
	// From and To cut a single file, from its beginning; To 0 does not.
	From     time.Duration `json:"from"`
	To       time.Duration `json:"to"`
	Filename string        `json:"filename"`
}

// length of what is made: of the clip, or of all files together.
func (e edit) length(files []db.RecordingFileRow) (sum time.Duration) {
	for _, f := range files {
		sum += f.EndedAt.Sub(f.StartedAt.Time)
	}
	if e.To > 0 {
		sum = min(sum, e.To)
	}
	return max(sum-e.From, 0)
}

func (r *Recorder) splice(ctx context.Context, o recording.SpliceOrder) (string, error) {
	return r.orderEdit(ctx, o.CID, edit{Files: o.Files, Filename: o.Filename}, o.Storage, o.By, o.Custom)
}

func (r *Recorder) trim(ctx context.Context, o recording.TrimOrder) (string, error) {
	return r.orderEdit(ctx, "", edit{Files: []string{o.File}, From: o.From, To: o.To, Filename: o.Filename}, o.Storage, o.By, o.Custom)
}

// orderEdit writes the recording that an edit will be, and its step.
func (r *Recorder) orderEdit(ctx context.Context, cid string, e edit, where, by string, through map[string]any) (id string, err error) {
	err = r.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		files, err := readFiles(ctx, tx, e.Files)
		if err != nil {
			return err
		}
		first := files[0]
		for _, f := range files {
			switch {
			case cid != "" && f.CID != cid, f.CID != first.CID:
				return &recording.FieldError{Field: "files", Want: "must all be of the call " + first.CID}
			case !editable(f):
				return &recording.FieldError{Field: "files", Want: "must be movies, video or sound in files of one piece that are not encrypted"}
			case (f.Kind == kindAudio) != (first.Kind == kindAudio):
				return &recording.FieldError{Field: "files", Want: "must all have pictures, or none"}
			}
		}
		if length := first.EndedAt.Sub(first.StartedAt.Time); e.To > 0 && e.From >= length {
			return &recording.FieldError{Field: "from_seconds", Want: fmt.Sprintf("must be below the file's length of %.3f seconds", length.Seconds())}
		}
		plan := recording.DefaultPlan()
		var old db.RecordingRow
		if err := tx.NewSelect().Model(&old).Where("id = ?", first.RecordingID).Scan(ctx); err == nil {
			_ = json.Unmarshal(old.Plan.V, &plan)
		}
		plan.CompositeFormats, plan.Destination = []string{first.Format}, ""
		id = event.NewID()
		lane := first.Lane
		for _, f := range files {
			if f.Lane == db.LaneEvidence {
				lane = f.Lane // who may see the whole may see all of its parts
			}
		}
		run, err := newRun(id, first.CID, first.SessionID, r.cfg.Node, first.Type, lane, plan, first.StartedAt.Add(e.From))
		if err != nil {
			return err
		}
		now := db.At(r.cfg.Now())
		run.State, run.Storage, run.RequestedBy, run.CreatedAt, run.UpdatedAt = db.RecordingProcessing, where, by, now, now
		run.StoppedAt = db.At(run.StartedAt.Add(e.length(files)))
		if through != nil {
			run.Custom.V = through
		}
		if _, err := tx.NewInsert().Model(&run).Returning("NULL").Exec(ctx); err != nil {
			return fmt.Errorf("write recording %s: %w", id, err)
		}
		return r.queue.Add(ctx, tx, id, stepEdit, 0, e)
	})
	r.poke()
	return id, err
}

// editable tells whether a file can be joined or cut.
func editable(f db.RecordingFileRow) bool {
	return slices.Contains([]string{kindMovie, kindVideo, kindAudio}, f.Kind) && len(f.Items.V) == 1 && !bool(f.Encrypted)
}

// readFiles reads files in the order of their ids.
func readFiles(ctx context.Context, tx bun.IDB, ids []string) ([]db.RecordingFileRow, error) {
	var rows []db.RecordingFileRow
	if err := tx.NewSelect().Model(&rows).Where("id IN (?)", bun.List(ids)).Where("deleted_at = 0").Scan(ctx); err != nil {
		return nil, fmt.Errorf("read files: %w", err)
	}
	out := make([]db.RecordingFileRow, 0, len(ids))
	for _, id := range ids {
		i := slices.IndexFunc(rows, func(r db.RecordingFileRow) bool { return r.ID == id })
		if i < 0 {
			return nil, recording.ErrUnknown
		}
		out = append(out, rows[i])
	}
	if len(out) == 0 {
		return nil, recording.ErrUnknown
	}
	return out, nil
}

// editStep fetches the files, joins or cuts them, and has the result stored.
func (r *Recorder) editStep(ctx context.Context, t *task) error {
	var e edit
	if err := t.job.Read(&e); err != nil {
		return err
	}
	files, err := readFiles(ctx, r.cfg.DB, e.Files)
	if err != nil {
		return fmt.Errorf("%w: %w", errHopeless, err)
	}
	var names []string
	for i, f := range files {
		name := fmt.Sprintf("in%d.%s", i, extension(output{Format: f.Format}))
		if err := t.fetch(ctx, f, name); err != nil {
			return err
		}
		names = append(names, name)
	}
	first := files[0]
	out := output{Kind: first.Kind, Format: first.Format, UserID: first.UserID, Track: first.TrackType, From: 0, To: e.length(files)}
	name := "out." + extension(out)
	if len(files) == 1 {
		err = t.cut(ctx, names[0], name, e.From, e.To, first)
	} else {
		err = t.concat(ctx, names, name, files)
	}
	if err == nil {
		err = t.whole(ctx, name, names, out)
	}
	if err != nil {
		return err
	}
	out.Parts, out.Name = []string{name}, e.Filename
	return t.done(ctx, outputs{Files: []output{out}}, out.Parts, func(ctx context.Context, tx bun.Tx) error { return t.storeNext(ctx, tx) })
}

// fetch brings a stored file here.
func (t *task) fetch(ctx context.Context, f db.RecordingFileRow, name string) error {
	in, err := t.r.cfg.Objects.Open(ctx, storage.Ref(f.Storage, f.ObjectKey))
	if errors.Is(err, blob.ErrNotFound) || blob.Permanent(err) {
		return fmt.Errorf("%w: fetch %s: %w", errHopeless, f.Filename, err)
	}
	if err != nil {
		return fmt.Errorf("%w: fetch %s: %w", archive.ErrStoreDown, f.Filename, err)
	}
	defer in.Close()
	out, err := os.Create(filepath.Join(t.dir, name))
	if err != nil {
		return fmt.Errorf("fetch %s: %w", f.Filename, err)
	}
	sum := sha256.New()
	_, err = io.Copy(io.MultiWriter(out, sum), in)
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("fetch %s: %w", f.Filename, err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); f.SHA256 != "" && got != f.SHA256 {
		// What was changed in the store gets no manifest that says it is ours.
		return fmt.Errorf("%w: %s has the hash %s, and had %s when it was stored", errHopeless, f.Filename, got, f.SHA256)
	}
	return nil
}

// cut makes a clip to the picture, which has to be encoded again: a copy could
// begin at keyframes alone.
func (t *task) cut(ctx context.Context, in, out string, from, to time.Duration, f db.RecordingFileRow) error {
	args := []string{"-i", "file:" + in, "-ss", seconds(from), "-to", seconds(to)}
	return t.ffmpeg(ctx, append(append(args, encoders(f)...), "file:"+out))
}

// concat joins files: as they are where their parameters agree, else encoded
// again at the size of the first.
func (t *task) concat(ctx context.Context, in []string, out string, files []db.RecordingFileRow) error {
	copied, err := t.same(ctx, in, files)
	if err != nil {
		return err
	}
	if copied {
		var list strings.Builder
		for _, name := range in {
			fmt.Fprintf(&list, "file '%s'\n", name)
		}
		if err := os.WriteFile(filepath.Join(t.dir, "list.txt"), []byte(list.String()), 0o600); err != nil {
			return fmt.Errorf("write list: %w", err)
		}
		args := []string{"-f", "concat", "-safe", "1", "-i", "file:list.txt", "-c", "copy"}
		if files[0].Format == composite.MP4 {
			args = append(args, "-movflags", "+faststart")
		}
		return t.ffmpeg(ctx, append(args, "file:"+out))
	}
	var args []string
	for _, name := range in {
		args = append(args, "-i", "file:"+name)
	}
	args = append(args, "-filter_complex", spliceGraph(files))
	if files[0].Kind != kindAudio {
		args = append(args, "-map", "[v]")
	}
	args = append(args, "-map", "[a]")
	return t.ffmpeg(ctx, append(append(args, encoders(files[0])...), "file:"+out))
}

// spliceGraph scales each picture to the first one's size, and gives silence
// to files without sound.
func spliceGraph(files []db.RecordingFileRow) string {
	var b strings.Builder
	w, h := size(files[0])
	pairs := ""
	for i, f := range files {
		if files[0].Kind != kindAudio {
			fmt.Fprintf(&b, "[%d:v]scale=%d:%d:force_original_aspect_ratio=decrease,pad=%d:%d:-1:-1,setsar=1,fps=25,format=yuv420p[v%d];", i, w, h, w, h, i)
			pairs += fmt.Sprintf("[v%d]", i)
		}
		if hasStream(f, "audio") {
			fmt.Fprintf(&b, "[%d:a]aresample=48000,aformat=channel_layouts=stereo[a%d];", i, i)
		} else {
			fmt.Fprintf(&b, "anullsrc=r=48000:cl=stereo:d=%s[a%d];", seconds(f.EndedAt.Sub(f.StartedAt.Time)), i)
		}
		pairs += fmt.Sprintf("[a%d]", i)
	}
	if files[0].Kind == kindAudio {
		fmt.Fprintf(&b, "%sconcat=n=%d:v=0:a=1[a]", pairs, len(files))
	} else {
		fmt.Fprintf(&b, "%sconcat=n=%d:v=1:a=1[v][a]", pairs, len(files))
	}
	return b.String()
}

// same tells whether files can be joined without encoding again: when their
// streams are coded with the same parameters, on the same clock. Decoders are
// told the parameters once, at the beginning, and so is the clock.
func (t *task) same(ctx context.Context, in []string, files []db.RecordingFileRow) (bool, error) {
	first := ""
	for i, f := range files {
		// What a browser sent may change within one file; ours does not.
		if f.Format != files[0].Format || f.Kind == kindVideo {
			return false, nil
		}
		text, err := t.ffprobe(ctx, in[i], "-show_data_hash", "SHA256", "-show_entries",
			"stream=codec_type,codec_name,profile,width,height,pix_fmt,color_range,color_space,sample_rate,channels,time_base,extradata_hash")
		if err != nil {
			return false, fmt.Errorf("look at %s: %w", f.Filename, err)
		}
		if i == 0 {
			first = text
		}
		if text != first {
			return false, nil
		}
	}
	return true, nil
}

// whole checks that what was made of files lasts as long as it has to: nobody is
// to get a signed movie that is not what was ordered.
func (t *task) whole(ctx context.Context, made string, in []string, out output) error {
	// ADTS has no length, what is told is a guess; and what a browser sent ends
	// with its last picture, whenever that came.
	if out.Format == "aac" || out.Kind == kindVideo {
		return nil
	}
	want := out.To - out.From
	if len(in) > 1 {
		want = 0
		for _, name := range in {
			d, err := t.lasts(ctx, name)
			if err != nil {
				return err
			}
			want += d
		}
	}
	got, err := t.lasts(ctx, made)
	if err != nil {
		return err
	}
	if slack := time.Second/2 + time.Duration(len(in))*100*time.Millisecond; got < want-slack || got > want+slack {
		return fmt.Errorf("%w: what was made lasts %s, not %s", errHopeless, got.Round(time.Millisecond), want.Round(time.Millisecond))
	}
	return nil
}

// lasts is the length of a file in the work folder.
func (t *task) lasts(ctx context.Context, name string) (time.Duration, error) {
	text, err := t.ffprobe(ctx, name, "-show_entries", "format=duration")
	if err != nil {
		return 0, fmt.Errorf("look at %s: %w", name, err)
	}
	s, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil {
		return 0, fmt.Errorf("look at %s: its length is not known", name)
	}
	return time.Duration(s * float64(time.Second)), nil
}

// ffprobe looks at a file in the work folder, and returns what it says in lines
// of values.
func (t *task) ffprobe(ctx context.Context, name string, args ...string) (string, error) {
	var out bytes.Buffer
	base := []string{"-v", "error", "-protocol_whitelist", "file", "-of", "csv=p=0"}
	err := jail.Run(ctx, jail.Command{Name: "ffprobe", Args: append(append(base, args...), "-i", "file:"+name), Dir: t.dir, Stdout: &out, Timeout: 10 * time.Minute, Nice: 10})
	return out.String(), err
}

func hasStream(f db.RecordingFileRow, kind string) bool {
	return slices.ContainsFunc(f.Media.V.Streams, func(s event.MediaStream) bool { return s.CodecType == kind })
}

func size(f db.RecordingFileRow) (w, h int) {
	for _, s := range f.Media.V.Streams {
		if s.Width > 0 {
			return s.Width &^ 1, s.Height &^ 1
		}
	}
	return 1280, 720
}

// encoders encode to what a file's format takes.
func encoders(f db.RecordingFileRow) []string {
	switch f.Format {
	case composite.WebM:
		return []string{"-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-row-mt", "1", "-crf", "33", "-b:v", "0", "-c:a", "libopus", "-b:a", "96k"}
	case "ogg", opus:
		return []string{"-c:a", "libopus", "-b:a", "96k"}
	case "wav":
		return []string{"-c:a", "pcm_s16le"}
	case "wav-8bit":
		return []string{"-c:a", "pcm_u8", "-ar", "16000", "-ac", "1"}
	case "aac":
		return []string{"-c:a", "aac", "-b:a", "128k"}
	case "flv":
		return []string{"-c:v", "libx264", "-preset", "veryfast", "-crf", "23", "-c:a", "aac", "-b:a", "128k"}
	}
	return []string{"-c:v", "libx264", "-preset", "veryfast", "-crf", "23", "-pix_fmt", "yuv420p", "-c:a", "aac", "-b:a", "128k", "-movflags", "+faststart"}
}

// editTimeout bounds one run of ffmpeg.
const editTimeout = 12 * time.Hour

// ffmpeg runs in the recording's work folder, locked in, and gets out of the way
// of live calls.
func (t *task) ffmpeg(ctx context.Context, args []string) error {
	base := []string{"-nostdin", "-hide_banner", "-loglevel", "error", "-y", "-threads", "2"}
	return jail.Run(ctx, jail.Command{Name: "ffmpeg", Args: append(base, args...), Dir: t.dir, Timeout: editTimeout, Nice: 10})
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.6f", d.Seconds()) }

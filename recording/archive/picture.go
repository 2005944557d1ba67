package archive

import (
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/disintegration/imaging"

	"stillwatch/internal/event"
	"stillwatch/internal/jail"
)

// Sizes of the pictures, in pixels.
const (
	sheetColumns = 3
	sheetTiles   = 9
	tileWidth    = 320
	tileHeight   = 180
	sheetGap     = 4
	// blurSigma makes bodies and faces of a tile into patches of colour.
	blurSigma   = 12
	jpegQuality = 80
	// stillTimeout bounds the cutting of pictures out of a movie.
	stillTimeout = 5 * time.Minute
)

// ErrNoPicture is returned for media without a picture.
var ErrNoPicture = errors.New("there is no picture in it")

// Pictures are the pictures of a movie, as JPEG files. What a person sees
// first is the blurred ones: the movie was kept because of harm in it.
type Pictures struct {
	// Thumbnail is of the movie's middle, Sheet nine moments spread over it.
	Thumbnail, ThumbnailBlurred string
	Sheet, SheetBlurred         string
	// Moments are those of the sheet's tiles, row by row.
	Moments []time.Duration
}

// ContactSheet makes the pictures of a movie in dir, which has to exist, and
// knows how long the movie is by info, which Probe gave. Decoding is done in
// the jail; the pictures it made are small and read with limits.
func ContactSheet(ctx context.Context, movie, dir string, info event.MediaInfo) (Pictures, error) {
	length, ok := pictureLength(info)
	if !ok {
		return Pictures{}, fmt.Errorf("picture of %s: %w", filepath.Base(movie), ErrNoPicture)
	}
	work, err := os.MkdirTemp(dir, "stills-")
	if err != nil {
		return Pictures{}, fmt.Errorf("make folder for stills: %w", err)
	}
	defer os.RemoveAll(work)
	p := Pictures{
		Thumbnail: filepath.Join(dir, "thumbnail.jpg"), ThumbnailBlurred: filepath.Join(dir, "thumbnail-blurred.jpg"),
		Sheet: filepath.Join(dir, "sheet.jpg"), SheetBlurred: filepath.Join(dir, "sheet-blurred.jpg"),
	}
	for i := range sheetTiles {
		p.Moments = append(p.Moments, length*time.Duration(2*i+1)/(2*sheetTiles))
	}
	stills, err := cut(ctx, movie, work, p.Moments)
	if err != nil {
		return Pictures{}, fmt.Errorf("picture of %s: %w", filepath.Base(movie), err)
	}
	sheet, blurred := newSheet(), newSheet()
	for i, still := range stills {
		soft := imaging.Blur(still, blurSigma)
		sheet, blurred = place(sheet, still, i), place(blurred, soft, i)
		if i == sheetTiles/2 {
			if err := errors.Join(saveJPEG(p.Thumbnail, still), saveJPEG(p.ThumbnailBlurred, soft)); err != nil {
				return Pictures{}, err
			}
		}
	}
	return p, errors.Join(saveJPEG(p.Sheet, sheet), saveJPEG(p.SheetBlurred, blurred))
}

func pictureLength(info event.MediaInfo) (time.Duration, bool) {
	seconds, err := strconv.ParseFloat(info.Format.Duration, 64)
	if err != nil || seconds < 0 || seconds > 1e7 {
		return 0, false
	}
	for _, s := range info.Streams {
		if s.CodecType == "video" {
			return time.Duration(seconds * float64(time.Second)), true
		}
	}
	return 0, false
}

// cut takes pictures out of a movie, each scaled into a tile. Where the movie
// has none so late, one from before is taken.
func cut(ctx context.Context, movie, work string, moments []time.Duration) ([]image.Image, error) {
	stills := make([]image.Image, len(moments))
	for _, back := range []time.Duration{0, 2 * time.Second, 1 << 60} {
		want := map[int]time.Duration{}
		for i, at := range moments {
			if stills[i] == nil {
				want[i] = max(0, at-back)
			}
		}
		if len(want) == 0 {
			break
		}
		if err := cutOnce(ctx, movie, work, want); err != nil {
			return nil, err
		}
		for i := range want {
			still, err := readStill(stillName(work, i))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
			if err == nil {
				stills[i] = still
			}
		}
	}
	if slices.Contains(stills, nil) {
		return nil, ErrNoPicture
	}
	return stills, nil
}

func stillName(work string, i int) string { return filepath.Join(work, fmt.Sprintf("still%d.png", i)) }

// cutOnce opens the movie once for each moment, in one process: to start one
// costs more than to seek.
func cutOnce(ctx context.Context, movie, work string, want map[int]time.Duration) error {
	abs, err := filepath.Abs(movie)
	if err != nil {
		return err
	}
	readable := abs
	if isPlaylist(abs) {
		readable = filepath.Dir(abs)
	}
	args := []string{"-v", "error", "-nostdin"}
	var outputs []string
	n := 0
	for i, at := range want {
		args = append(args, "-threads", "1", "-protocol_whitelist", "file", "-ss", strconv.FormatFloat(at.Seconds(), 'f', 3, 64), "-i", abs)
		outputs = append(
			outputs, "-map", fmt.Sprintf("%d:v:0", n), "-frames:v", "1",
			"-vf", fmt.Sprintf("scale=%d:%d:force_original_aspect_ratio=decrease", tileWidth, tileHeight), "-pix_fmt", "rgb24", "-update", "1", stillName(work, i),
		)
		n++
	}
	return jail.Run(ctx, jail.Command{
		Name: "ffmpeg", Args: append(args, outputs...), Dir: work, ReadOnly: []string{readable},
		Timeout: stillTimeout, MaxFileSize: 4 << 20, Nice: 10,
	})
}

// readStill reads a picture that came out of the jail: its size is looked at
// before anything is made of it.
func readStill(path string) (image.Image, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open still: %w", err)
	}
	defer f.Close()
	cfg, _, err := image.DecodeConfig(f)
	if err != nil {
		return nil, fmt.Errorf("read still: %w", err)
	}
	if cfg.Width < 1 || cfg.Height < 1 || cfg.Width > tileWidth || cfg.Height > tileHeight {
		return nil, fmt.Errorf("read still: it has %d x %d pixels", cfg.Width, cfg.Height)
	}
	if _, err := f.Seek(0, 0); err != nil {
		return nil, fmt.Errorf("read still: %w", err)
	}
	img, err := imaging.Decode(f)
	if err != nil {
		return nil, fmt.Errorf("read still: %w", err)
	}
	return img, nil
}

func newSheet() *image.NRGBA {
	rows := (sheetTiles + sheetColumns - 1) / sheetColumns
	return imaging.New(sheetColumns*(tileWidth+sheetGap)-sheetGap, rows*(tileHeight+sheetGap)-sheetGap, color.NRGBA{A: 255})
}

// place puts a picture into the middle of the sheet's tile i.
func place(sheet *image.NRGBA, img image.Image, i int) *image.NRGBA {
	size := img.Bounds().Size()
	x := i%sheetColumns*(tileWidth+sheetGap) + (tileWidth-size.X)/2
	y := i/sheetColumns*(tileHeight+sheetGap) + (tileHeight-size.Y)/2
	return imaging.Paste(sheet, img, image.Pt(x, y))
}

func saveJPEG(path string, img image.Image) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("write picture: %w", err)
	}
	if err := errors.Join(jpeg.Encode(f, img, &jpeg.Options{Quality: jpegQuality}), f.Close()); err != nil {
		return fmt.Errorf("write picture: %w", err)
	}
	return nil
}

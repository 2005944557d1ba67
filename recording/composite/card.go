package composite

import (
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"os"
	"sync"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
)

// typeface is parsed once: it is part of the program.
var typeface = sync.OnceValues(func() (*opentype.Font, error) { return opentype.Parse(goregular.TTF) })

func face(size float64) (font.Face, error) {
	f, err := typeface()
	if err != nil {
		return nil, fmt.Errorf("read typeface: %w", err)
	}
	return opentype.NewFace(f, &opentype.FaceOptions{Size: max(size, 6), DPI: 72})
}

// shorten cuts a text to at most width pixels, with an ellipsis.
func shorten(f font.Face, text string, width int) string {
	if font.MeasureString(f, text).Ceil() <= width {
		return text
	}
	letters := []rune(text)
	for len(letters) > 0 && font.MeasureString(f, string(letters)+"…").Ceil() > width {
		letters = letters[:len(letters)-1]
	}
	return string(letters) + "…"
}

// write draws a text whose left end and baseline are at x and y.
func write(img draw.Image, f font.Face, text string, x, y int, c color.Color) {
	d := font.Drawer{Dst: img, Src: image.NewUniform(c), Face: f, Dot: fixed.P(x, y)}
	d.DrawString(text)
}

// card draws a name on a ground a little lighter than the movie's.
func card(name string, w, h int, ground color.RGBA) (image.Image, error) {
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	c := color.RGBA{lighter(ground.R), lighter(ground.G), lighter(ground.B), 255}
	draw.Draw(img, img.Bounds(), image.NewUniform(c), image.Point{}, draw.Src)
	if name == "" {
		return img, nil
	}
	f, err := face(float64(min(h, w)) / 9)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	name = shorten(f, name, w*9/10)
	m := f.Metrics()
	x := (w - font.MeasureString(f, name).Ceil()) / 2
	y := (h + (m.Ascent - m.Descent).Ceil()) / 2
	write(img, f, name, x, y, ink(c))
	return img, nil
}

func lighter(v byte) byte { return v + (255-v)/10 }

// ink is what can be read on a colour (luma of BT.601).
func ink(c color.RGBA) color.Color {
	if 299*int(c.R)+587*int(c.G)+114*int(c.B) > 140_000 {
		return color.RGBA{16, 16, 16, 255}
	}
	return color.RGBA{235, 235, 235, 255}
}

// label draws a text on a strip through which the picture shines.
func label(text string, size float64, width int) (image.Image, error) {
	f, err := face(size)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	m := f.Metrics()
	edge := int(size / 3)
	text = shorten(f, text, width-2*edge)
	w := min(font.MeasureString(f, text).Ceil()+2*edge, width)
	h := (m.Ascent + m.Descent).Ceil() + edge
	img := image.NewNRGBA(image.Rect(0, 0, max((w+1)&^1, 2), (h+1)&^1))
	draw.Draw(img, img.Bounds(), image.NewUniform(color.NRGBA{0, 0, 0, 128}), image.Point{}, draw.Src)
	write(img, f, text, edge, edge/2+m.Ascent.Ceil(), color.White)
	return img, nil
}

func savePNG(path string, img image.Image) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("create card: %w", err)
	}
	enc := png.Encoder{CompressionLevel: png.BestSpeed}
	if err := enc.Encode(f, img); err != nil {
		f.Close()
		return fmt.Errorf("draw card: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("close card: %w", err)
	}
	return nil
}

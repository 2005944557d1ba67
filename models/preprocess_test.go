package models_test

import (
	"image"
	"image/color"
	"testing"

	"stillwatch/models"
)

func TestSqueezeKeepsAPictureOfTheRightSize(t *testing.T) {
	t.Parallel()
	img := image.NewRGBA(image.Rect(5, 7, 13, 15)) // not at the origin
	var want []byte
	for y := range 8 {
		for x := range 8 {
			c := color.RGBA{uint8(x * 31), uint8(y * 29), uint8(x*y + 100), 255}
			img.SetRGBA(5+x, 7+y, c)
			want = append(want, c.R, c.G, c.B)
		}
	}
	if got := models.Squeeze(img, 8); string(got) != string(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestSqueezeAlignsCorners(t *testing.T) {
	t.Parallel()
	img := image.NewGray(image.Rect(0, 0, 2, 1))
	img.SetGray(1, 0, color.Gray{Y: 200})
	got := models.Squeeze(img, 5)
	for y := range 5 {
		for x, want := range []byte{0, 50, 100, 150, 200} {
			for c := range 3 {
				if v := got[(y*5+x)*3+c]; v != want {
					t.Errorf("row %d, column %d, colour %d is %d, want %d", y, x, c, v, want)
				}
			}
		}
	}
}

func TestSqueezeOfOddPictures(t *testing.T) {
	t.Parallel()
	for _, r := range []image.Rectangle{image.Rect(0, 0, 1, 1), image.Rect(0, 0, 1, 300), image.Rect(0, 0, 0, 0)} {
		img := image.NewUniform(color.White)
		got := models.Squeeze(cropped{img, r}, 8)
		want := byte(255)
		if r.Empty() {
			want = 0
		}
		for i, v := range got {
			if v != want {
				t.Fatalf("%v: byte %d is %d, want %d", r, i, v, want)
			}
		}
	}
}

// cropped gives an endless picture bounds.
type cropped struct {
	image.Image
	r image.Rectangle
}

func (c cropped) Bounds() image.Rectangle { return c.r }

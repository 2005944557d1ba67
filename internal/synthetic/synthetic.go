// Package synthetic makes participants that are not people: clips of abstract
// pictures, encoded by ffmpeg and published over real WebRTC.
package synthetic

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

//go:embed fixtures/*.png
var fixtures embed.FS

// Pictures lists the embedded pictures: "drawing", "hentai", "neutral",
// "porn" and "sexy". They are smooth colour blobs that depict nothing and
// that the default models take for the class they are named after.
func Pictures() []string {
	return []string{"drawing", "hentai", "neutral", "porn", "sexy"}
}

// ErrNoPicture is returned for a name that is not in Pictures.
var ErrNoPicture = errors.New("no such picture")

// Picture returns the 1280x720 PNG of one of Pictures.
func Picture(name string) ([]byte, error) {
	b, err := fixtures.ReadFile("fixtures/abstract_" + name + "_1.png")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %q, have %s", ErrNoPicture, name, strings.Join(Pictures(), ", "))
	}
	return b, err
}

package moderation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Bounds of an image that somebody else names.
const (
	maxImageBytes  = 10 << 20
	maxImagePixels = 16 << 20 // decoded: 64 MiB
	imageTimeout   = 10 * time.Second
)

// framePrefix begins the keys of stills in the object store.
const framePrefix = "frames/"

// Objects are our own stills; *blob.Store is one.
type Objects interface {
	Get(ctx context.Context, key string) ([]byte, error)
	// Opens returns the key of the object that a signed address of ours gives
	// to its bearer now.
	Opens(rawURL string) (key string, ok bool)
}

// Fetcher does requests to addresses of others; *netguard.Client is one.
type Fetcher interface {
	Do(req *http.Request) (*http.Response, error)
}

// images gets the images that a check names.
type images struct {
	objects Objects
	fetcher Fetcher
}

// read reads an image's bytes: of an object key of a still, a signed address of
// one, or a public address. What it says of an error goes into the task and
// holds nothing of the address.
func (i images) read(ctx context.Context, ref string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, imageTimeout)
	defer cancel()
	key, ours := i.objects.Opens(ref)
	if !ours && strings.HasPrefix(ref, framePrefix) {
		key, ours = ref, true
	}
	if !ours {
		return i.fetch(ctx, ref)
	}
	if !strings.HasPrefix(key, framePrefix) {
		return nil, errors.New("the object is no still")
	}
	body, err := i.objects.Get(ctx, key)
	if err != nil {
		return nil, errors.New("the still is not in the object store")
	}
	if len(body) > maxImageBytes {
		return nil, errTooLarge
	}
	return body, nil
}

var errTooLarge = fmt.Errorf("the image is larger than %d MiB", maxImageBytes>>20)

func (i images) fetch(ctx context.Context, ref string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, ref, nil)
	if err != nil {
		return nil, errors.New("the address cannot be read")
	}
	req.Header.Set("Accept", "image/jpeg, image/png")
	res, err := i.fetcher.Do(req)
	if err != nil {
		return nil, withoutURL(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the address answered %d", res.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxImageBytes+1))
	if err != nil {
		return nil, errors.New("the answer broke off")
	}
	if len(body) > maxImageBytes {
		return nil, errTooLarge
	}
	return body, nil
}

// withoutURL takes the address, which may hold a secret, out of an error.
func withoutURL(err error) error {
	var outer *url.Error
	if errors.As(err, &outer) {
		err = outer.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.New("the address did not answer in time")
	}
	return fmt.Errorf("fetch: %w", err)
}

// decodeImage decodes a JPEG or PNG, by what its bytes are: the header that
// came with them may lie. Other formats are refused; of an animated one, the
// first picture would speak for all.
func decodeImage(body []byte) (img image.Image, err error) {
	defer func() {
		if r := recover(); r != nil { // bytes of strangers
			img, err = nil, errors.New("the image cannot be decoded")
		}
	}()
	decode, config := jpeg.Decode, jpeg.DecodeConfig
	switch http.DetectContentType(body) {
	case "image/jpeg":
	case "image/png":
		decode, config = png.Decode, png.DecodeConfig
	default:
		return nil, errors.New("the content is neither JPEG nor PNG")
	}
	size, err := config(bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("the image cannot be decoded")
	}
	if size.Width <= 0 || size.Height <= 0 || size.Width > maxImagePixels/size.Height {
		return nil, fmt.Errorf("the image has %d×%d pixels; want %d at most", size.Width, size.Height, maxImagePixels)
	}
	if img, err = decode(bytes.NewReader(body)); err != nil {
		return nil, errors.New("the image cannot be decoded")
	}
	return img, nil
}

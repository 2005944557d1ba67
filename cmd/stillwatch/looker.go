package main

import (
	"bytes"
	"context"
	"fmt"
	"image/jpeg"

	"stillwatch/internal/event"
	"stillwatch/models"
)

// looker gives the cascade the tensors of a frame: those that the picture
// worker made, or, when they are gone or the frame is another machine's, new
// ones from the stored JPEG.
type looker struct {
	cascade *models.Cascade
	tensors *models.TensorCache
	objects interface {
		Get(ctx context.Context, key string) ([]byte, error)
	}
}

// maxPixels bounds a stored frame that is decoded here: the picture workers
// make none larger.
const maxPixels = 4096 * 2304

// Look judges one frame. Tensors stay in their cache, so that a frame that is
// handed out twice is judged on the same bytes twice.
func (l *looker) Look(ctx context.Context, f event.FrameReady) (event.Verdict, error) {
	res := l.cascade.Look(ctx, func(size int) ([]byte, error) {
		if rgb, ok := l.tensors.Get(f.FrameID, size); ok {
			return rgb, nil
		}
		return l.fromStore(ctx, f, size)
	})
	return event.Verdict{State: res.State, Reason: res.Reason, Scores: res.Scores, Models: res.Models}, nil
}

func (l *looker) fromStore(ctx context.Context, f event.FrameReady, size int) ([]byte, error) {
	body, err := l.objects.Get(ctx, f.ObjectKey)
	if err != nil {
		return nil, fmt.Errorf("fetch frame %s: %w", f.FrameID, err)
	}
	if size, err := jpeg.DecodeConfig(bytes.NewReader(body)); err != nil || size.Width*size.Height > maxPixels {
		return nil, fmt.Errorf("decode frame %s: %dx%d pixels, want %d at most: %w", f.FrameID, size.Width, size.Height, maxPixels, err)
	}
	img, err := jpeg.Decode(bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("decode frame %s: %w", f.FrameID, err)
	}
	return models.Squeeze(img, size), nil
}

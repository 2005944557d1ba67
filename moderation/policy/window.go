package policy

import (
	"slices"
	"strings"
	"time"

	"stillwatch/internal/event"
)

// frames is a window: verdicts ordered by capture, at most size of them, one
// per frame. What falls out of it could not come back: an older frame than
// all of a full window is not taken in. So late and repeated frames change
// nothing that a clean order would not have given.
type frames struct {
	size int
	list []event.Verdict
}

// add takes v in and tells whether it was new.
func (f *frames) add(v event.Verdict) bool {
	at, found := slices.BinarySearchFunc(f.list, v, byCapture)
	if found || slices.ContainsFunc(f.list, func(o event.Verdict) bool { return o.Frame.FrameID == v.Frame.FrameID }) {
		return false
	}
	if len(f.list) == f.size && at == 0 {
		return false
	}
	f.list = slices.Insert(f.list, at, v)
	if len(f.list) > f.size {
		f.list = slices.Delete(f.list, 0, len(f.list)-f.size)
	}
	return true
}

func byCapture(a, b event.Verdict) int {
	if c := a.Frame.CapturedAt.Compare(b.Frame.CapturedAt); c != 0 {
		return c
	}
	return strings.Compare(a.Frame.FrameID, b.Frame.FrameID)
}

// last returns the newest n frames that are at most maxAge older than the
// newest; a maxAge of 0 means any age.
func (f *frames) last(n int, maxAge time.Duration) []event.Verdict {
	list := f.list[max(0, len(f.list)-n):]
	if len(list) == 0 || maxAge == 0 {
		return list
	}
	oldest := list[len(list)-1].Frame.CapturedAt.Add(-maxAge)
	for len(list) > 0 && list[0].Frame.CapturedAt.Before(oldest) {
		list = list[1:]
	}
	return list
}

// score adds up the scores of the labels, at most 1. A model's labels exclude
// one another; those of a classifier from outside may not, and the highest
// stands for all.
func score(v event.Verdict, labels []string) float64 {
	sum := 0.0
	for _, s := range v.Scores {
		if !slices.Contains(labels, s.Label) {
			continue
		}
		if v.Source == event.SourceOutside {
			sum = max(sum, s.Score)
		} else {
			sum += s.Score
		}
	}
	return min(sum, 1)
}

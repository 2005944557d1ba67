package call

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtp"

	"stillwatch/capture"
	"stillwatch/internal/event"
)

// Track is a live track of a participant. It satisfies capture.Track.
type Track struct {
	r     *Registry
	info  capture.TrackInfo
	codec Codec
	video bool
	added time.Time
	wg    sync.WaitGroup
	gone  atomic.Bool // nothing is delivered any more

	silenced    atomic.Bool // by a moderator or the policy
	silentUntil time.Time   // guarded by Registry.mu; zero is for good

	mu     sync.Mutex
	layers []*layer
	muted  bool
}

func newTrack(r *Registry, info capture.TrackInfo, codec Codec, now time.Time) *Track {
	video := info.Type == event.TrackVideo || info.Type == event.TrackScreenShare
	return &Track{r: r, info: info, codec: codec, video: video, added: now}
}

func sortTracks(ts []*Track) {
	slices.SortFunc(ts, func(a, b *Track) int {
		return cmp.Or(a.added.Compare(b.added), cmp.Compare(a.info.ID, b.info.ID))
	})
}

// Info describes the track.
func (t *Track) Info() capture.TrackInfo { return t.info }

// Codec is what was negotiated for the track.
func (t *Track) Codec() Codec { return t.codec }

// Video tells whether the track is a picture.
func (t *Track) Video() bool { return t.video }

// AddLayer adds a simulcast layer, and tells those observers who are
// LayerObservers.
func (t *Track) AddLayer(l LayerConfig) {
	t.addLayer(l)
	t.r.mu.Lock()
	defer t.r.mu.Unlock()
	if t.gone.Load() {
		return
	}
	t.r.tellTrackLocked(t, func(o TrackObserver) {
		if o, ok := o.(LayerObserver); ok {
			o.LayerAdded(t.info.ID, l.RID)
		}
	})
}

func (t *Track) addLayer(cfg LayerConfig) {
	l := newLayer(t, cfg)
	t.mu.Lock()
	t.layers = append(t.layers, l)
	t.mu.Unlock()
	l.update()
	t.wg.Go(l.run)
}

// Layers lists the layers, smallest picture first, as far as is known.
func (t *Track) Layers() []capture.Layer {
	now := time.Now()
	var out []capture.Layer
	for _, l := range t.ordered() {
		out = append(out, capture.Layer{
			RID: l.cfg.RID, Active: now.Sub(l.cfg.Source.LastPacket()) < DefaultMuteAfter,
		})
	}
	return out
}

// Tap lets the packets of a layer flow to sink until stop is called. An
// unknown rid means the smallest layer. A packet is valid during the call.
func (t *Track) Tap(rid string, fn func(p *rtp.Packet, at time.Time)) (stop func()) {
	l := t.layer(rid)
	if l == nil {
		return func() {}
	}
	return addSink(l, fn, func(s *sinks) *[]*sink[func(*rtp.Packet, time.Time)] { return &s.packets })
}

// TapRaw is Tap for those who want the packet as it arrived: b is the whole
// RTP packet, decrypted, valid during the call. Where Config.Media is told of
// tracks, the first TapRaw of a layer also gets what came before it, during
// TapRaw itself, if it is opened within half a second of the layer's first
// packet: nothing of the stream is missed.
func (t *Track) TapRaw(rid string, fn func(b []byte, at time.Time)) (stop func()) {
	l := t.layer(rid)
	if l == nil {
		return func() {}
	}
	return l.tapRaw(fn)
}

// TapReports hands the RTCP sender reports of a layer (RFC 3550, section
// 6.4.1) to fn until stop is called: each report alone, with its header, valid
// during the call. They come from another goroutine than the layer's packets,
// and whether packets are tapped or not.
func (t *Track) TapReports(rid string, fn func(sr []byte, at time.Time)) (stop func()) {
	l := t.layer(rid)
	if l == nil {
		return func() {}
	}
	return addSink(l, fn, func(s *sinks) *[]*sink[func([]byte, time.Time)] { return &s.reports })
}

// Report hands a sender report of a layer to those who tap reports. The
// connection that receives it calls it.
func (t *Track) Report(rid string, sr []byte, at time.Time) {
	t.mu.Lock()
	i := slices.IndexFunc(t.layers, func(l *layer) bool { return l.cfg.RID == rid })
	var l *layer
	if i >= 0 {
		l = t.layers[i]
	}
	t.mu.Unlock()
	if l != nil {
		l.report(sr, at)
	}
}

// RIDs lists the layers of which packets came so far, in the order in which
// they were offered; one "" without simulcast. A LayerObserver is told of
// those that follow.
func (t *Track) RIDs() []string {
	t.mu.Lock()
	layers := slices.Clone(t.layers)
	t.mu.Unlock()
	slices.SortStableFunc(layers, func(a, b *layer) int { return cmp.Compare(a.cfg.Order, b.cfg.Order) })
	out := make([]string, len(layers))
	for i, l := range layers {
		out[i] = l.cfg.RID
	}
	return out
}

// Order is a layer's place in the offer, from 0; 0 without simulcast.
func (t *Track) Order(rid string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range t.layers {
		if l.cfg.RID == rid {
			return max(l.cfg.Order, 0)
		}
	}
	return 0
}

// RequestKeyframe asks the publisher for a keyframe of a layer. One request
// serves all who ask within 300 ms.
func (t *Track) RequestKeyframe(rid string) {
	if l := t.layer(rid); l != nil && !t.gone.Load() && !t.silenced.Load() {
		l.cfg.Source.RequestKeyframe()
	}
}

// RequestPackets asks the publisher to send packets of a layer again.
func (t *Track) RequestPackets(rid string, seqs []uint16) {
	if l := t.layer(rid); l != nil && !t.gone.Load() {
		l.cfg.Source.RequestPackets(seqs)
	}
}

func (t *Track) layer(rid string) *layer {
	all := t.ordered()
	for _, l := range all {
		if l.cfg.RID == rid {
			return l
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all[0]
}

// ordered returns the layers from the smallest to the largest: by their order
// once it is measured, by the names in common use before.
func (t *Track) ordered() []*layer {
	t.mu.Lock()
	out := slices.Clone(t.layers)
	t.mu.Unlock()
	if len(out) < 2 {
		return out
	}
	measured := true
	rate := make(map[*layer]float64, len(out))
	for _, l := range out {
		r, ok := l.cfg.Source.Rate()
		rate[l] = r
		measured = measured && ok
	}
	slices.SortStableFunc(out, func(a, b *layer) int {
		if measured {
			return cmp.Compare(rate[a], rate[b])
		}
		return cmp.Or(cmp.Compare(nameRank(a.cfg.RID), nameRank(b.cfg.RID)), cmp.Compare(a.cfg.Order, b.cfg.Order))
	})
	return out
}

// nameRank orders the rids that clients commonly use: q, h, f; l, m, h; 0, 1, 2.
func nameRank(rid string) int {
	switch rid {
	case "q", "l", "0", "low":
		return 0
	case "m", "1", "mid", "medium":
		return 1
	case "h", "2", "high":
		return 2
	case "f", "3", "full":
		return 3
	}
	return 1
}

func (t *Track) mutedAt(now time.Time, after time.Duration) (muted, changed bool) {
	last := t.added
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range t.layers {
		if at := l.cfg.Source.LastPacket(); at.After(last) {
			last = at
		}
	}
	muted = t.silenced.Load() || now.Sub(last) > after
	changed = muted != t.muted
	t.muted = muted
	return muted, changed
}

// Muted tells whether packets have stopped.
func (t *Track) Muted() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.muted
}

// Ended tells that nothing of the track is delivered any more.
func (t *Track) Ended() bool { return t.gone.Load() }

// flows tells whether anything of the track is delivered.
func (t *Track) flows() bool { return !t.gone.Load() && !t.silenced.Load() }

// cut stops delivery at once.
func (t *Track) cut() { t.gone.Store(true) }

// wait returns when the read loops have ended.
func (t *Track) wait() { t.wg.Wait() }

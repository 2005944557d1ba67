package models

import (
	"context"
	"errors"
	"fmt"
	"time"

	"stillwatch/internal/event"
)

// Defaults of the cascade.
const (
	DefaultSmall = "mobilenet_v2"
	DefaultLarge = "inception_v3"
	// DefaultThreshold is the small model's score above which the large one
	// looks too. No policy should act on a label's score below it.
	DefaultThreshold = 0.25
)

// DefaultWatch lists the labels that matter by default.
func DefaultWatch() []string { return []string{"Hentai", "Porn", "Sexy"} }

// Lender lends loaded models; the Registry does.
type Lender interface {
	// Get lends a model until release is called.
	Get(name string) (c Classifier, release func(), err error)
}

// CascadeConfig sets a Cascade up.
type CascadeConfig struct {
	Models Lender
	// Small looks at every frame, Large at those that Small is not sure are
	// harmless. Both empty means the defaults; Large alone empty means that
	// Small's word is final.
	Small, Large string
	// Watch lists the labels that call for the large model. Default
	// DefaultWatch.
	Watch []string
	// Threshold is the score, 0 to 1, of a watched label above which the
	// large model looks. Default DefaultThreshold.
	Threshold float64
}

// Cascade lets a small model look at every frame and a large one at those
// that need it. It keeps no state and is safe for concurrent use.
type Cascade struct {
	cfg   CascadeConfig
	watch map[string]bool
}

// Result is what a cascade made of a frame.
type Result struct {
	// Scores are the combined ones: the small model's, and where the large
	// one looked as well, the smaller of the two per label. A combined score
	// above 0.5 thus means that both are above 0.5. They need not sum to 1.
	// Empty when State is unknown.
	Scores []event.Score
	// Models are the scores of each model that answered.
	Models []event.ModelScores
	// State is unknown, never clean, when a model that was needed did not
	// answer.
	State event.VerdictState
	// Reason says why the state is unknown; Err is the error behind it.
	Reason string
	Err    error
}

// NewCascade makes a cascade.
func NewCascade(cfg CascadeConfig) *Cascade {
	if cfg.Small == "" && cfg.Large == "" {
		cfg.Small, cfg.Large = DefaultSmall, DefaultLarge
	}
	if cfg.Watch == nil {
		cfg.Watch = DefaultWatch()
	}
	if cfg.Threshold <= 0 {
		cfg.Threshold = DefaultThreshold
	}
	c := &Cascade{cfg: cfg, watch: map[string]bool{}}
	for _, l := range cfg.Watch {
		c.watch[l] = true
	}
	return c
}

// Look asks the models about one frame. Tensors gives the frame's picture,
// squeezed to size×size R, G, B bytes; it is called once per model that
// looks.
func (c *Cascade) Look(ctx context.Context, tensors func(size int) ([]byte, error)) Result {
	var res Result
	small, err := c.ask(ctx, c.cfg.Small, tensors)
	if err != nil {
		return res.unknown(err)
	}
	res.Models = append(res.Models, small)
	res.Scores, res.State = small.Scores, event.VerdictKnown
	watched, err := c.watched(small)
	if err != nil {
		return res.unknown(err)
	}
	if c.cfg.Large == "" || watched <= c.cfg.Threshold {
		return res
	}
	large, err := c.ask(ctx, c.cfg.Large, tensors)
	if err != nil {
		return res.unknown(err)
	}
	res.Models = append(res.Models, large)
	res.Scores = lower(small.Scores, large.Scores)
	return res
}

// unknown gives the result of a frame that a needed model did not judge.
func (r Result) unknown(err error) Result {
	r.State, r.Reason, r.Err, r.Scores = event.VerdictUnknown, err.Error(), err, nil
	return r
}

// ask lets one model look.
func (c *Cascade) ask(ctx context.Context, name string, tensors func(int) ([]byte, error)) (event.ModelScores, error) {
	model, release, err := c.cfg.Models.Get(name)
	if err != nil {
		return event.ModelScores{}, err
	}
	defer release()
	m := model.Manifest()
	rgb, err := tensors(m.Input.Size)
	if err != nil {
		return event.ModelScores{}, fmt.Errorf("get picture for %s: %w", name, err)
	}
	began := time.Now()
	scores, err := model.Classify(ctx, rgb)
	if err != nil {
		return event.ModelScores{}, err
	}
	return event.ModelScores{
		Model: m.Name, Version: m.Version, SHA256: m.SHA256, Scores: scores,
		TensorSHA256: digest(rgb),
		MS:           float64(time.Since(began).Microseconds()) / 1000,
	}, nil
}

// errUnwatched says that the small model knows none of the watched labels:
// then its answer could never be anything but clean.
var errUnwatched = errors.New("model knows no watched label")

// watched gives the highest score of a watched label.
func (c *Cascade) watched(s event.ModelScores) (float64, error) {
	top, known := 0.0, false
	for _, l := range s.Scores {
		if c.watch[l.Label] {
			top, known = max(top, l.Score), true
		}
	}
	if !known {
		return 0, fmt.Errorf("%s: %w %v", s.Model, errUnwatched, c.cfg.Watch)
	}
	return top, nil
}

// lower gives a's labels with the lower score of both; a label that b does
// not know keeps a's.
func lower(a, b []event.Score) []event.Score {
	other := make(map[string]float64, len(b))
	for _, s := range b {
		other[s.Label] = s.Score
	}
	out := make([]event.Score, len(a))
	for i, s := range a {
		out[i] = s
		if v, ok := other[s.Label]; ok {
			out[i].Score = min(s.Score, v)
		}
	}
	return out
}

package moderation

import (
	"context"
	"fmt"
	"image"
	"sync"

	"stillwatch/internal/event"
	"stillwatch/moderation/policy"
)

// What a check recommends besides the actions of the policy.
const (
	// RecommendKeep says that all was looked at and nothing met the policy.
	RecommendKeep = "keep"
	// RecommendReview says that some of it could not be looked at.
	RecommendReview = "review"
)

// Judge lets the models look at one picture; it fills in the verdict as a
// Looker does.
type Judge func(ctx context.Context, img image.Image) (event.Verdict, error)

// trial classifies what a check names and says what the policy makes of it. It
// has nothing to act by: no desk, no database, no bus.
type trial struct {
	images images
	judge  Judge
	policy func() policy.Config
	// one lets one decoded picture at a time be in memory.
	one *sync.Mutex
}

// outcome is what a trial found.
type outcome struct {
	// Images are the scores of what was looked at, and Failed why the rest was
	// not, both by content id.
	Images map[string]event.ImageScores `json:"images"`
	Failed map[string]string            `json:"failed"`
	// Recommended is set by a check: keep, review, flag or ban.
	Recommended string   `json:"recommended_action,omitempty"`
	Rule        string   `json:"rule,omitempty"`
	Labels      []string `json:"labels,omitempty"`
	Score       float64  `json:"score,omitempty"`
	Reason      string   `json:"reason,omitempty"`
	// PolicyVersion is of the policy that was asked.
	PolicyVersion string `json:"policy_version,omitempty"`
}

func (t trial) run(ctx context.Context, req event.CheckRequested) outcome {
	out := outcome{Images: map[string]event.ImageScores{}, Failed: map[string]string{}}
	rules := t.policy()
	if req.Decide {
		out.Recommended, out.PolicyVersion = RecommendKeep, rules.Version()
	}
	for i, ref := range req.Payload.Images {
		id := fmt.Sprintf("images[%d]", i)
		v, err := t.look(ctx, ref)
		if err == nil && v.State != event.VerdictKnown {
			err = fmt.Errorf("not judged: %s", v.Reason)
		}
		if err != nil {
			out.Failed[id] = err.Error()
			continue
		}
		out.Images[id] = scoresOf(v)
		if req.Decide {
			out.take(rules.Advise(req.ConfigKey, v))
		}
	}
	for name, list := range map[string][]string{"texts": req.Payload.Texts, "videos": req.Payload.Videos, "audios": req.Payload.Audios} {
		for i := range list {
			out.Failed[fmt.Sprintf("%s[%d]", name, i)] = "only images are looked at"
		}
	}
	if req.Decide && out.Recommended == RecommendKeep && len(out.Failed) > 0 {
		out.Recommended, out.Reason = RecommendReview, "not screened"
	}
	return out
}

func (t trial) look(ctx context.Context, ref string) (event.Verdict, error) {
	body, err := t.images.read(ctx, ref)
	if err != nil {
		return event.Verdict{}, err
	}
	t.one.Lock()
	defer t.one.Unlock()
	img, err := decodeImage(body)
	if err != nil {
		return event.Verdict{}, err
	}
	v, err := t.judge(ctx, img)
	if err != nil {
		return v, fmt.Errorf("not judged: %w", err)
	}
	return sane(v), nil
}

// take keeps the strongest advice.
func (o *outcome) take(a policy.Advice, met bool) {
	if !met || o.Recommended == string(event.ActionBan) || o.Recommended == string(a.Action) && o.Score >= a.Score {
		return
	}
	o.Recommended, o.Rule, o.Labels, o.Score, o.Reason = string(a.Action), a.Rule, a.Labels, a.Score, a.Reason
}

func scoresOf(v event.Verdict) event.ImageScores {
	out := event.ImageScores{Labels: map[string]float64{}}
	for _, s := range v.Scores {
		out.Labels[s.Label] = s.Score
	}
	return out
}

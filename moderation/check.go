package moderation

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/bus"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/service"
)

// GroupChecks is the consumer group that carries out checks.
const GroupChecks = "checks"

// checkTimeout bounds one check; what is not looked at by then is not screened.
const checkTimeout = time.Minute

// Kinds of tasks.
const (
	TaskCheck   = "moderation.check"
	TaskAnalyze = "moderation.analyze"
)

// CheckFlag asks for a review item for what a check found.
type CheckFlag struct {
	event.CheckRequested
	// Recommend is what the policy would do, Reason why.
	Recommend event.ActionKind
	Reason    string
	Labels    []string
	Score     float64
}

// CheckerConfig sets a Checker; all but Consumer and Now is needed.
type CheckerConfig struct {
	DB      *db.DB
	Bus     Bus
	Objects Objects
	Fetcher Fetcher
	Judge   Judge
	// Policy is what is in force; Service.Policy.
	Policy func() Policy
	// Flag puts something into the review queue, in the transaction of ctx, and
	// returns the item's id.
	Flag     func(ctx context.Context, f CheckFlag) (itemID string, err error)
	Consumer string
	Now      func() time.Time
}

// Checker carries out the checks that the API was asked for.
type Checker struct {
	cfg   CheckerConfig
	trial trial
	log   *slog.Logger
	tasks service.Tasks
}

// NewChecker makes a checker.
func NewChecker(cfg CheckerConfig) *Checker {
	if cfg.Consumer == "" {
		cfg.Consumer = "moderation"
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Checker{
		cfg: cfg, log: slog.With("component", "checks"),
		trial: trial{images: images{cfg.Objects, cfg.Fetcher}, judge: cfg.Judge, policy: cfg.Policy, one: &sync.Mutex{}},
	}
}

// Start implements service.Service.
func (c *Checker) Start(context.Context) error {
	c.tasks.Go(func(ctx context.Context) {
		err := c.cfg.Bus.Consume(ctx, bus.Subscription{
			Topic: event.TopicChecks, Group: GroupChecks, Consumer: c.cfg.Consumer, Concurrency: 2, Handler: c.Handle,
		})
		if err != nil {
			c.log.Error("cannot consume checks", "err", err)
		}
	})
	return nil
}

// Close implements service.Service.
func (c *Checker) Close() error { return c.tasks.Close() }

// Handle carries out one check; other events are passed over. A check that is
// done is left alone.
func (c *Checker) Handle(ctx context.Context, ev event.Envelope) error {
	if ev.Type != event.TypeCheckRequested {
		return nil
	}
	var req event.CheckRequested
	if err := ev.Decode(&req); err != nil {
		return err
	}
	open, err := openTask(c.cfg.DB.NewSelect().Model((*db.TaskRow)(nil)), req.TaskID).Exists(ctx)
	if err != nil || !open {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, checkTimeout)
	out := c.trial.run(limited, req)
	cancel()
	if ctx.Err() != nil {
		return context.Cause(ctx) // the program ends: the next one does it
	}
	err = c.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		now := c.cfg.Now().UTC()
		if first, err := finish(ctx, tx, req, out, now); err != nil || !first || req.TestMode {
			return err
		}
		return c.act(ctx, tx, req, out, now)
	})
	if err != nil {
		return fmt.Errorf("finish check %s: %w", req.TaskID, err)
	}
	return nil
}

func openTask[Q interface{ Where(string, ...any) Q }](q Q, id string) Q {
	return q.Where("id = ?", id).Where("status IN (?)", bun.List([]string{db.TaskWaiting, db.TaskRunning}))
}

// finish writes the outcome into the task and tells whether it was still open.
// A task of which nothing was looked at has failed.
func finish(ctx context.Context, tx bun.Tx, req event.CheckRequested, out outcome, now time.Time) (first bool, err error) {
	status, why := db.TaskCompleted, ""
	if len(out.Images) == 0 {
		status, why = db.TaskFailed, "nothing was screened"
	}
	text, err := json.Marshal(out)
	if err != nil {
		return false, fmt.Errorf("marshal outcome: %w", err)
	}
	var result map[string]any
	if err := json.Unmarshal(text, &result); err != nil {
		return false, fmt.Errorf("marshal outcome: %w", err)
	}
	res, err := openTask(tx.NewUpdate().Model((*db.TaskRow)(nil)).Set("status = ?", status).Set("error = ?", why).
		Set("result = ?", db.JSON[map[string]any]{V: result}).Set("updated_at = ?", db.At(now)), req.TaskID).Exec(ctx)
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	if err != nil || n == 0 {
		return false, err
	}
	return true, audit(ctx, tx, db.At(now), "check.finish", "task:"+req.TaskID, map[string]any{
		"entity_type": req.EntityType, "entity_id": req.EntityID, "recommended_action": out.Recommended, "rule": out.Rule,
		"policy_version": out.PolicyVersion, "looked_at": len(out.Images), "not_screened": len(out.Failed), "test_mode": req.TestMode,
	})
}

// act flags what met the policy and tells the backends of the outcome.
func (c *Checker) act(ctx context.Context, tx bun.Tx, req event.CheckRequested, out outcome, now time.Time) error {
	item, err := c.flag(ctx, req, out)
	if err != nil {
		return err
	}
	if len(out.Failed) > 0 {
		if err := c.tell(ctx, tx, event.AnalysisFailed, req, now, event.FailedAnalysis{
			Type: event.AnalysisFailed, CreatedAt: now, EntityID: req.EntityID, EntityType: req.EntityType, EntityCreatorID: req.EntityCreatorID,
			ConfigKey: req.ConfigKey, ContentIDs: slices.Sorted(maps.Keys(out.Failed)), Custom: req.Payload.Filled().Custom,
		}); err != nil {
			return err
		}
	}
	switch {
	case len(out.Images) == 0:
		return nil
	case req.Decide:
		return c.tell(ctx, tx, event.CheckCompleted, req, now, event.CheckDone{
			Type: event.CheckCompleted, CreatedAt: now, EntityID: req.EntityID, EntityType: req.EntityType,
			RecommendedAction: out.Recommended, ReviewQueueItemID: item,
		})
	}
	return c.tell(ctx, tx, event.ImageAnalysisComplete, req, now, event.ImageAnalysis{
		Type: event.ImageAnalysisComplete, CreatedAt: now, EntityID: req.EntityID, EntityType: req.EntityType, EntityCreatorID: req.EntityCreatorID,
		ConfigKey: req.ConfigKey, Images: out.Images, Texts: map[string]any{}, Custom: req.Payload.Filled().Custom,
	})
}

// flag makes a review item when the policy is met, or when something was not
// screened and the policy fails closed. It never does more: a check stands on
// single images.
func (c *Checker) flag(ctx context.Context, req event.CheckRequested, out outcome) (string, error) {
	f := CheckFlag{CheckRequested: req, Reason: out.Reason, Labels: out.Labels, Score: out.Score}
	switch {
	case !req.Decide || out.Recommended == RecommendKeep:
		return "", nil
	case out.Recommended == RecommendReview:
		if !c.cfg.Policy().Closed(req.ConfigKey) {
			return "", nil
		}
		f.Recommend = event.ActionFlag
	default:
		f.Recommend = event.ActionKind(out.Recommended)
	}
	item, err := c.cfg.Flag(ctx, f)
	if err != nil {
		return "", fmt.Errorf("flag %s %s: %w", req.EntityType, req.EntityID, err)
	}
	return item, nil
}

func (c *Checker) tell(ctx context.Context, tx bun.Tx, typ string, req event.CheckRequested, now time.Time, body any) error {
	ev := event.New(typ, "check/"+req.TaskID, now, body)
	ev.ID = event.DeriveID("public", typ, req.TaskID)
	return db.Enqueue(ctx, tx, event.TopicPublic, ev)
}

// CheckKey is the config key of an entity of which nothing else is said: that
// of the call type of a call, else "call".
func CheckKey(entityType, entityID string) string {
	if callType, _, ok := strings.Cut(entityID, ":"); ok && entityType == event.EntityCall {
		return event.EntityCall + ":" + callType
	}
	return event.EntityCall
}

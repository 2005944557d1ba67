package moderation

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/moderation/policy"
)

// The rules and configs of the API, as package web takes them in.
type (
	CallRule   = policy.CallRule
	CallConfig = policy.CallConfig
	Policy     = policy.Config
)

// policyMark tells one state of the API's rules and configs from another.
type policyMark string

// FilePolicy is what holds where no rule or config of the API does.
func (s *Service) FilePolicy() Policy { return s.cfg.Policy }

// Policy is the policy in force.
func (s *Service) Policy() Policy { return s.current() }

// current is the policy in force.
func (s *Service) current() policy.Config {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.policy
}

// Reload puts the rules and configs of the API in force if they have changed.
// Every process does so once a second. What is remembered of participants
// stays.
func (s *Service) Reload(ctx context.Context) error {
	mark, err := readMark(ctx, s.cfg.DB)
	if err != nil {
		return err
	}
	s.mu.Lock()
	same := mark == s.mark
	s.mu.Unlock()
	if same {
		return nil
	}
	rules, configs, err := s.stored(ctx)
	if err != nil {
		return err
	}
	next := s.cfg.Policy.With(rules, configs)
	if err := keepVersion(ctx, s.cfg.DB, next, db.At(s.cfg.Now())); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mark = mark
	if was := s.engine.Version(); was != next.Version() {
		s.engine.Swap(next)
		s.policy = next
		s.log.Info("policy changed", "was", was, "version", next.Version(), "rules", len(next.Calls), "configs", len(next.Configs))
	}
	return nil
}

// readMark reads which rules and configs there are and when each was changed:
// a newest change alone could be hidden behind that of a clock ahead.
func readMark(ctx context.Context, d *db.DB) (policyMark, error) {
	var mark strings.Builder
	for _, t := range []struct {
		model any
		key   string
	}{{(*db.RuleRow)(nil), "id"}, {(*db.ConfigRow)(nil), "key"}} {
		var rows []struct {
			Name      string
			UpdatedAt int64
		}
		err := d.NewSelect().Model(t.model).ColumnExpr("? AS name, updated_at", bun.Ident(t.key)).
			OrderExpr("?", bun.Ident(t.key)).Scan(ctx, &rows)
		if err != nil {
			return "", fmt.Errorf("look for changed rules: %w", err)
		}
		for _, r := range rows {
			fmt.Fprintf(&mark, "%s@%d ", r.Name, r.UpdatedAt)
		}
		mark.WriteByte('\n')
	}
	return policyMark(mark.String()), nil
}

// stored reads the rules and configs. One that does not pass the checks any
// more, after a change of the program, is left out with an alarm.
func (s *Service) stored(ctx context.Context) (rules []policy.CallRule, configs []policy.CallConfig, err error) {
	var ruleRows []db.RuleRow
	if err := s.cfg.DB.NewSelect().Model(&ruleRows).Scan(ctx); err != nil {
		return nil, nil, fmt.Errorf("read rules: %w", err)
	}
	var configRows []db.ConfigRow
	if err := s.cfg.DB.NewSelect().Model(&configRows).Scan(ctx); err != nil {
		return nil, nil, fmt.Errorf("read configs: %w", err)
	}
	for _, row := range ruleRows {
		var r policy.CallRule
		bad, err := map[string]string(nil), json.Unmarshal(row.Body.V, &r)
		if err == nil {
			r, bad = r.Checked()
		}
		if err != nil || bad != nil {
			s.log.Error("a rule of the API cannot be read and does not hold", "rule", row.ID, "err", err, "fields", bad)
			continue
		}
		rules = append(rules, r)
	}
	for _, row := range configRows {
		var c policy.CallConfig
		bad, err := map[string]string(nil), json.Unmarshal(row.Body.V, &c)
		if err == nil {
			c, bad = c.Checked()
		}
		if err != nil || bad != nil {
			s.log.Error("a config of the API cannot be read and does not hold", "key", row.Key, "err", err, "fields", bad)
			continue
		}
		configs = append(configs, c)
	}
	return rules, configs, nil
}

// keepVersion writes down what a version says, so that the one in a decision
// can be read later.
func keepVersion(ctx context.Context, d *db.DB, p policy.Config, at db.Time) error {
	text, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("marshal policy: %w", err)
	}
	row := db.PolicyVersionRow{Version: p.Version(), Policy: db.JSON[json.RawMessage]{V: text}, CreatedAt: at}
	if _, err := d.NewInsert().Model(&row).On("CONFLICT DO NOTHING").Returning("NULL").Exec(ctx); err != nil {
		return fmt.Errorf("keep policy %s: %w", row.Version, err)
	}
	return nil
}

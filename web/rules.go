package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/internal/db/filter"
	"stillwatch/internal/event"
	"stillwatch/moderation"
	"stillwatch/web/api"
)

// maxRules bounds the rules, and the configs, that are kept: every process
// reads all of them.
const maxRules = 100

// UpsertModerationRule makes a rule, or replaces the one of the id or the name.
func (s *Server) UpsertModerationRule(ctx context.Context, req api.UpsertModerationRuleRequestObject) (api.UpsertModerationRuleResponseObject, error) {
	in := orZero(req.Body)
	by, err := actor(request(ctx), in.UserID)
	if err != nil {
		return nil, err
	}
	rule, err := ruleOf(in)
	if err != nil {
		return nil, err
	}
	var row db.RuleRow
	err = s.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) (err error) {
		row, err = s.saveRule(ctx, tx, rule, string(req.Params.IfMatch), by)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("save rule %q: %w", rule.Name, err)
	}
	body, err := ruleBody(row)
	if err != nil {
		return nil, err
	}
	sendETag(ctx, ruleTag(row))
	return api.UpsertModerationRule200JSONResponse(api.ModerationRuleResponse{Rule: body, Warnings: s.unknownLabels(rule.Labels())}), nil
}

// ruleOf is the rule that a request describes, checked.
func ruleOf(body api.ModerationRuleRequest) (moderation.CallRule, error) {
	var rule moderation.CallRule
	if err := unmarshal(untyped(body), "", &rule); err != nil {
		return rule, err
	}
	rule.Enabled = body.Enabled == nil || *body.Enabled
	rule, bad := rule.Checked()
	if bad != nil {
		return rule, badFields(bad)
	}
	return rule, nil
}

func (s *Server) saveRule(ctx context.Context, tx bun.Tx, rule moderation.CallRule, match, by string) (db.RuleRow, error) {
	row, known, err := findRule(ctx, tx, rule)
	if err != nil {
		return row, err
	}
	if known {
		err = ifMatch(match, ruleTag(row))
	} else {
		err = s.roomForRule(ctx, tx, rule, match)
	}
	if err != nil {
		return row, err
	}
	now := s.cfg.Now().UTC()
	if !known {
		row = db.RuleRow{ID: event.NewID(), CreatedAt: db.At(now)}
	}
	rule.ID = row.ID
	row.Name, row.RuleType, row.Enabled, row.Body.V = rule.Name, rule.RuleType, db.Bool(rule.Enabled), untyped(rule)
	row.UpdatedAt = db.At(after(row.UpdatedAt.Time, now))
	if known {
		_, err = tx.NewUpdate().Model(&row).WherePK().Exec(ctx)
	} else {
		_, err = tx.NewInsert().Model(&row).Exec(ctx)
	}
	if err != nil {
		return row, err
	}
	return row, audit(ctx, tx, now, by, "rule.upsert", "moderation_rule:"+row.ID, rule)
}

// after is now, or a moment after the last change: two states of a resource
// never have one time.
func after(last, now time.Time) time.Time {
	if now.After(last) {
		return now
	}
	return last.Add(1)
}

// findRule finds the rule that is to be replaced and holds it: the one of the
// id, or without an id the one of the name.
func findRule(ctx context.Context, tx bun.Tx, rule moderation.CallRule) (row db.RuleRow, known bool, err error) {
	column, value := "name", rule.Name
	if rule.ID != "" {
		column, value = "id", rule.ID
	}
	row, err = lockedRule(ctx, tx, column, value)
	switch {
	case db.IsNotFound(err) && rule.ID != "":
		return row, false, notFound("moderation rule", rule.ID)
	case db.IsNotFound(err):
		return row, false, nil
	case err != nil:
		return row, false, err
	}
	taken, err := tx.NewSelect().Model((*db.RuleRow)(nil)).Where("name = ?", rule.Name).Where("id <> ?", row.ID).Exists(ctx)
	if err == nil && taken {
		err = fail(http.StatusConflict, CodeConflict, "another rule is called %q", rule.Name)
	}
	return row, err == nil, err
}

// lockedRule reads a rule that nobody else can change until the commit.
func lockedRule(ctx context.Context, tx bun.Tx, column, value string) (row db.RuleRow, err error) {
	_, err = tx.NewUpdate().Model((*db.RuleRow)(nil)).Set("updated_at = updated_at").Where("? = ?", bun.Ident(column), value).Exec(ctx)
	if err != nil {
		return row, err
	}
	err = tx.NewSelect().Model(&row).Where("? = ?", bun.Ident(column), value).Scan(ctx)
	return row, err
}

// roomForRule tells whether a rule may be made: there is no state that it
// could be based on, and there are not too many.
func (s *Server) roomForRule(ctx context.Context, tx bun.Tx, rule moderation.CallRule, match string) error {
	if match != "" {
		return fail(http.StatusPreconditionFailed, CodeConflict, "there is no rule %q yet", rule.Name)
	}
	n, err := tx.NewSelect().Model((*db.RuleRow)(nil)).Count(ctx)
	if err == nil && n >= maxRules {
		err = badInput("there are %d rules already; delete one first", maxRules)
	}
	return err
}

func ruleTag(row db.RuleRow) string { return etag(row.UpdatedAt.Time, row.Body.V) }

// ruleBody is a rule as answers show it.
func ruleBody(row db.RuleRow) (api.ModerationRuleBody, error) {
	var body api.ModerationRuleBody
	if err := json.Unmarshal(row.Body.V, &body); err != nil {
		return body, fmt.Errorf("read rule %s: %w", row.ID, err)
	}
	body.ID, body.CreatedAt, body.UpdatedAt = row.ID, row.CreatedAt.Time, row.UpdatedAt.Time
	return body, nil
}

// unknownLabels warns of labels that no loaded model has: verdicts that are
// pushed may have them, ours never will.
func (s *Server) unknownLabels(labels []string) []string {
	out := []string{}
	if s.cfg.Labels == nil {
		return out
	}
	known := s.cfg.Labels()
	for _, l := range labels {
		if !slices.Contains(known, l) {
			out = append(out, fmt.Sprintf("no loaded model has the label %q: only verdicts pushed by custom_check can", l))
		}
	}
	return out
}

// GetModerationRule reads one rule.
func (s *Server) GetModerationRule(ctx context.Context, req api.GetModerationRuleRequestObject) (api.GetModerationRuleResponseObject, error) {
	var row db.RuleRow
	err := s.cfg.DB.NewSelect().Model(&row).Where("id = ?", req.ID).Scan(ctx)
	if db.IsNotFound(err) {
		return nil, notFound("moderation rule", req.ID)
	}
	if err != nil {
		return nil, fmt.Errorf("read rule %s: %w", req.ID, err)
	}
	body, err := ruleBody(row)
	if err != nil {
		return nil, err
	}
	sendETag(ctx, ruleTag(row))
	return api.GetModerationRule200JSONResponse(api.ModerationRuleResponse{Rule: body, Warnings: []string{}}), nil
}

// DeleteModerationRule deletes a rule. What it has counted is kept.
func (s *Server) DeleteModerationRule(ctx context.Context, req api.DeleteModerationRuleRequestObject) (api.DeleteModerationRuleResponseObject, error) {
	err := s.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		row, err := lockedRule(ctx, tx, "id", req.ID)
		if db.IsNotFound(err) {
			return notFound("moderation rule", req.ID)
		}
		if err != nil {
			return err
		}
		if err := ifMatch(string(req.Params.IfMatch), ruleTag(row)); err != nil {
			return err
		}
		if _, err := tx.NewDelete().Model(&row).WherePK().Exec(ctx); err != nil {
			return err
		}
		return s.auditAs(request(ctx), ctx, tx, "rule.delete", "moderation_rule:"+row.ID, row.Body.V)
	})
	if err != nil {
		return nil, fmt.Errorf("delete rule %s: %w", req.ID, err)
	}
	return api.DeleteModerationRule200JSONResponse{}, nil
}

var ruleFields = filter.Fields{
	"id":         {Column: "id", Sortable: true},
	"name":       {Column: "name", Sortable: true},
	"enabled":    {Column: "enabled", Kind: filter.Bool},
	"rule_type":  {Column: "rule_type"},
	"created_at": {Column: "created_at", Kind: filter.Instant, Sortable: true},
}

// QueryModerationRules lists rules.
func (s *Server) QueryModerationRules(ctx context.Context, req api.QueryModerationRulesRequestObject) (api.QueryModerationRulesResponseObject, error) {
	q := orZero(req.Body)
	page, err := ruleFields.Page(sortOf(q.Sort), newestFirst, q.Limit, q.Next, q.Prev, "id")
	if err != nil {
		return nil, err
	}
	var rows []db.RuleRow
	sel, err := ruleFields.Where(s.cfg.DB.NewSelect().Model(&rows), q.Filter)
	if err != nil {
		return nil, filtered("filter", err)
	}
	if err := page.Apply(sel).Scan(ctx); err != nil {
		return nil, fmt.Errorf("list rules: %w", err)
	}
	out := api.ModerationRulesResponse{Rules: []api.ModerationRuleBody{}, DefaultConfig: map[string]any{}}
	rows, out.Next, out.Prev = filter.Cut(page, rows, func(r *db.RuleRow, field string) any {
		switch field {
		case "created_at":
			return r.CreatedAt
		case "name":
			return r.Name
		}
		return r.ID
	})
	for _, row := range rows {
		body, err := ruleBody(row)
		if err != nil {
			return nil, err
		}
		out.Rules = append(out.Rules, body)
	}
	if err := json.Unmarshal(untyped(s.cfg.Policy), &out.DefaultConfig); err != nil {
		return nil, fmt.Errorf("show the policy file: %w", err)
	}
	return api.QueryModerationRules200JSONResponse(out), nil
}

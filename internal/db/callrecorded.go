package db

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/uptrace/bun"
)

// recordedCall is what a call shows of its full recordings.
type recordedCall struct {
	// on are the types that are being recorded.
	on map[string]bool
	// armed is set where a recording waits for the next session.
	armed bool
	// had is set where something was recorded in the call's current session.
	had bool
}

// recorded reads which of the calls are being recorded, by cid. The evidence
// lane is left out: who is looked into is not told.
func (d *DB) recorded(ctx context.Context, calls []CallRow) (map[string]recordedCall, error) {
	out := map[string]recordedCall{}
	var cids, sessions []string
	for _, call := range calls {
		cids = append(cids, call.CID)
		out[call.CID] = recordedCall{on: map[string]bool{}}
		if call.CurrentSessionID != "" {
			sessions = append(sessions, call.CurrentSessionID)
		}
	}
	if len(cids) == 0 {
		return out, nil
	}
	var rows []RecordingRow
	q := d.reader(ctx).NewSelect().Model(&rows).Column("cid", "session_id", "type", "state", "plan", "flagged", "requested_by", "armed_until").
		Where("lane = ?", LaneBusiness).Where("cid IN (?)", bun.List(cids))
	if len(sessions) > 0 {
		q = q.Where("(state = ? OR session_id IN (?))", RecordingOn, bun.List(sessions))
	} else {
		q = q.Where("state = ?", RecordingOn)
	}
	if err := q.Scan(ctx); err != nil {
		return nil, fmt.Errorf("read recordings of calls: %w", err)
	}
	current := map[string]string{}
	for _, call := range calls {
		current[call.CID] = call.CurrentSessionID
	}
	for _, row := range rows {
		r := out[row.CID]
		r.had = r.had || row.SessionID != "" && row.SessionID == current[row.CID]
		switch {
		case row.State != RecordingOn || row.waits():
		case row.SessionID == "":
			r.armed = r.armed || row.ArmedUntil.IsZero() // else it is told of when somebody comes back
		default:
			r.on[row.Type] = true
		}
		out[row.CID] = r
	}
	return out, nil
}

// waits tells whether the run's packets only wait for a flag: nothing asked to
// keep them so far.
func (r RecordingRow) waits() bool {
	if bool(r.Flagged) || r.RequestedBy != "" {
		return false
	}
	var modes map[string]any
	if json.Unmarshal(r.Plan.V, &modes) != nil {
		return false
	}
	return modes[r.Type] == "on-flag"
}

// show puts it into the call. A call that is set to be recorded says so from
// the moment it is made, not only when somebody is in it.
func (r recordedCall) show(row CallRow, body *callBody) {
	promised := (row.RecordingDecision.V.Record && !r.had || r.armed) && row.EndedAt.IsZero()
	body.Recording = promised || len(r.on) > 0
	for typ, at := range map[string]**statusBody{
		"composite": &body.Egress.CompositeRecording, "individual": &body.Egress.IndividualRecording, "raw": &body.Egress.RawRecording,
	} {
		if r.on[typ] {
			*at = &statusBody{"running"}
		}
	}
}

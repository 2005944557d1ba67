package node

import (
	"context"
	"encoding/json"
	"fmt"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
)

// maxMutes bounds how many mutes of a participant are looked at, newest first.
const maxMutes = 50

// muteAgain carries out the mutes with an end that still hold for a user who
// comes in: the node may have been started anew since they were ordered. Doing
// so again changes nothing.
func (n *Node) muteAgain(ctx context.Context, cid, userID string) error {
	var rows []db.ActionRow
	err := n.cfg.DB.NewSelect().Model(&rows).Column("payload").Where("cid = ?", cid).Where("user_id = ?", userID).
		Where("kind = ?", string(event.ActionMute)).Where("state IN (?, ?)", db.ActionStateSent, db.ActionStateConfirmed).
		OrderExpr("requested_at DESC").Limit(maxMutes).Scan(ctx)
	if err != nil {
		return fmt.Errorf("read mutes of %s in %s: %w", userID, cid, err)
	}
	for _, row := range rows {
		var req event.ActionRequested
		if err := json.Unmarshal(row.Payload.V, &req); err != nil {
			return fmt.Errorf("read a mute of %s: %w", userID, err)
		}
		if req.ExpiresAt.After(n.cfg.Now()) {
			n.cfg.Calls.Mute(cid, userID, req.Tracks, req.ExpiresAt)
		}
	}
	return nil
}

package node

import (
	"context"
	"fmt"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
)

// storageOf names the external storage of a call's frames: the call's own,
// else its type's, else "".
func (n *Node) storageOf(ctx context.Context, tx bun.IDB, call db.CallRow) (string, error) {
	if call.FrameStorage != "" {
		return call.FrameStorage, nil
	}
	var storage string
	err := tx.NewSelect().Model((*db.CallTypeRow)(nil)).Column("external_storage").Where("name = ?", call.Type).Scan(ctx, &storage)
	if err != nil && !db.IsNotFound(err) {
		return "", fmt.Errorf("read storage of call type %s: %w", call.Type, err)
	}
	return storage, nil
}

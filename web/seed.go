package web

import (
	"context"
	"encoding/json"
	"fmt"

	"stillwatch/internal/db"
)

// DefaultCallType is the call type that always exists.
const DefaultCallType = "default"

// Seed makes the call type "default" with the given frame recording mode
// unless there is one already, which it leaves alone.
func Seed(ctx context.Context, d *db.DB, mode string) error {
	patch := fmt.Appendf(nil, `{"frame_recording":{"mode":%q}}`, mode)
	settings, err := DefaultSettings().Merge(patch, "settings")
	if err != nil {
		return fmt.Errorf("seed call type default: %w", err)
	}
	_, err = d.EnsureCallType(ctx, db.CallTypeRow{
		Name:     DefaultCallType,
		Settings: settingsColumn(settings),
		Grants:   db.JSON[map[string][]string]{V: DefaultGrants()},
	})
	return err
}

func settingsColumn(s Settings) db.JSON[json.RawMessage] {
	raw, err := json.Marshal(s)
	if err != nil {
		panic(fmt.Sprintf("web: marshal settings: %v", err)) // maps of JSON values cannot fail
	}
	return db.JSON[json.RawMessage]{V: raw}
}

func readSettings(raw json.RawMessage) (Settings, error) {
	s := DefaultSettings()
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &s); err != nil {
			return s, fmt.Errorf("read settings: %w", err)
		}
	}
	return s.filled(), nil
}

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"stillwatch/internal/auth"
)

type tokenCmd struct {
	User   string        `help:"User id of a participant or moderator." placeholder:"ID"`
	Role   string        `help:"Role in the token: user, moderator, admin or one of your own." default:"user"`
	Call   []string      `help:"Call (type:id) the token is good for; repeat for several, none for all." placeholder:"CID"`
	For    time.Duration `help:"How long a user's token is good; 0 for ever. A backend's has no end." default:"24h"`
	Server bool          `help:"Mint a backend's token, which may do everything."`
	JSON   bool          `help:"Print JSON."`
}

func (tokenCmd) Help() string {
	return "Examples:\n  stillwatch token --user alice --call default:abc\n  stillwatch token --user mo --role moderator --for 12h\n  stillwatch token --server --json"
}

// Run mints the token with the key of the settings or the data folder.
func (c tokenCmd) Run(e *env) error {
	if c.Server == (c.User != "") {
		return fmt.Errorf("%w: give either --user ID or --server", errUsage)
	}
	if c.For < 0 {
		return fmt.Errorf("%w: --for is %v: want 0 or more", errUsage, c.For)
	}
	for _, cid := range c.Call {
		if callType, id, ok := strings.Cut(cid, ":"); !ok || callType == "" || id == "" {
			return fmt.Errorf("%w: --call is %q: want type:id, such as default:abc", errUsage, cid)
		}
	}
	if err := os.MkdirAll(e.cfg.Data.Dir, 0o700); err != nil {
		return fmt.Errorf("make data folder: %w", err)
	}
	cred, err := loadCredentials(e.cfg)
	if err != nil {
		return err
	}
	a := auth.New(cred.APIKey, cred.APISecret)
	token := a.ServerToken()
	var expires time.Time
	if !c.Server {
		if c.For > 0 {
			expires = time.Now().Add(c.For)
		}
		token = a.UserToken(auth.UserClaims{UserID: c.User, Role: c.Role, CallCIDs: c.Call, ExpiresAt: expires})
	}
	if !c.JSON {
		_, err = fmt.Fprintln(e.stdout, token)
		return err
	}
	out := map[string]any{"token": token, "api_key": cred.APIKey}
	if !expires.IsZero() {
		out["expires_at"] = expires.UTC()
	}
	return json.NewEncoder(e.stdout).Encode(out)
}

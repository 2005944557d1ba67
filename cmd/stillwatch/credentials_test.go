package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stillwatch/internal/config"
)

func TestSealKeepsItsKeyInTheDataFolderUnlessTheSettingsHaveOne(t *testing.T) {
	t.Parallel()
	cfg := config.Default()
	cfg.Data.Dir = t.TempDir()
	one, err := openSeal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s, err := one.Seal("test", "owner", "hunter2")
	if err != nil {
		t.Fatal(err)
	}
	again, err := openSeal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := again.Open("test", "owner", s); err != nil || got != "hunter2" {
		t.Errorf("after a restart: %q, %v", got, err)
	}
	cfg.Auth.MasterKey = strings.Repeat("0a", 32)
	cfg.Data.Dir = t.TempDir()
	set, err := openSeal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(cfg.Data.Dir, "master.key")); !os.IsNotExist(err) {
		t.Errorf("a key file was made beside the setting: %v", err)
	}
	if _, err := set.Open("test", "owner", s); err == nil || !strings.Contains(err.Error(), "auth.master_key") {
		t.Errorf("another key: %v", err)
	}
	cfg.Auth.MasterKey = "hunter2"
	if _, err := openSeal(cfg); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a bad setting: %v", err)
	}
}

package main

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"stillwatch/internal/config"
	"stillwatch/internal/seal"
)

// credentials are the secrets of this installation.
type credentials struct {
	APIKey    string `json:"api_key"`
	APISecret string `json:"api_secret"`
	// URLKey signs the URLs of stored objects; 32 random bytes, base64.
	URLKey []byte `json:"url_key"`
	// fresh is set when they were made by this call.
	fresh bool
}

// loadCredentials takes key and secret from the settings, or from the data
// folder, or makes them there. The URL key is always kept in the data folder,
// unless key and secret are set: then it is derived from the secret, so that
// several machines with the same settings accept one another's URLs.
func loadCredentials(cfg config.Config) (credentials, error) {
	if cfg.Auth.APISecret != "" {
		return credentials{APIKey: cfg.Auth.APIKey, APISecret: cfg.Auth.APISecret, URLKey: deriveURLKey(cfg.Auth.APISecret)}, nil
	}
	path := filepath.Join(cfg.Data.Dir, "credentials.json")
	var c credentials
	b, err := os.ReadFile(path)
	switch {
	case err == nil:
		if err := json.Unmarshal(b, &c); err != nil {
			return c, fmt.Errorf("read %s: %w", path, err)
		}
		if c.APIKey == "" || len(c.APISecret) < 32 || len(c.URLKey) < 32 {
			return c, fmt.Errorf("read %s: key, secret or URL key is missing or short; delete the file to make new ones", path)
		}
		return c, nil
	case !errors.Is(err, fs.ErrNotExist):
		return c, fmt.Errorf("read credentials: %w", err)
	}
	c = credentials{APIKey: randomText(12), APISecret: randomText(36), URLKey: make([]byte, 32), fresh: true}
	_, _ = rand.Read(c.URLKey) // never fails since Go 1.24
	if b, err = json.MarshalIndent(c, "", "  "); err != nil {
		return c, err
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		return c, fmt.Errorf("keep credentials: %w", err)
	}
	return c, nil
}

func randomText(bytes int) string {
	b := make([]byte, bytes)
	_, _ = rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

// openSeal makes the box that secrets in the database are sealed with, of the
// setting auth.master_key or of the file master.key in the data folder.
func openSeal(cfg config.Config) (*seal.Box, error) {
	if cfg.Auth.MasterKey != "" {
		key, err := seal.ParseKey(cfg.Auth.MasterKey)
		if err != nil {
			return nil, fmt.Errorf("setting auth.master_key: %w", err)
		}
		return seal.New(key)
	}
	key, err := seal.LoadKey(filepath.Join(cfg.Data.Dir, "master.key"))
	if err != nil {
		return nil, err
	}
	return seal.New(key)
}

// deriveURLKey makes the URL key from the API secret with HKDF (RFC 5869).
func deriveURLKey(secret string) []byte {
	key, err := hkdf.Key(sha256.New, []byte(secret), nil, "stillwatch object urls", 32)
	if err != nil {
		panic(err) // only for lengths beyond 8160 bytes
	}
	return key
}

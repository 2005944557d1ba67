package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"stillwatch/internal/auth"
	"stillwatch/internal/config"
)

// maxAPIAnswer bounds what is read of an answer.
const maxAPIAnswer = 16 << 20

// apiClient asks a running server as its operator, with the key of the
// settings or the data folder.
type apiClient struct {
	url  string
	auth *auth.Auth
	http *http.Client
}

// newAPIClient finds the server by the settings; at, if given, is its
// address.
func newAPIClient(cfg config.Config, at string) (*apiClient, error) {
	if cfg.Auth.APISecret == "" {
		if _, err := os.Stat(filepath.Join(cfg.Data.Dir, "credentials.json")); err != nil {
			return nil, fmt.Errorf("find the server's key: %w; data.dir must be the running server's", err)
		}
	}
	cred, err := loadCredentials(cfg)
	if err != nil {
		return nil, err
	}
	if at == "" {
		if at, err = listenURL(cfg.HTTP.Listen); err != nil {
			return nil, err
		}
	}
	return &apiClient{
		url: strings.TrimSuffix(at, "/"), auth: auth.New(cred.APIKey, cred.APISecret),
		http: &http.Client{Timeout: 30 * time.Second},
	}, nil
}

// listenURL is where a server that listens at the address is reached from
// the same machine.
func listenURL(listen string) (string, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", fmt.Errorf("read http.listen: %w", err)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port), nil
}

// call makes a request and decodes the answer into out.
func (c *apiClient) call(ctx context.Context, method, path string, query url.Values, body, out any) error {
	q := url.Values{"api_key": {c.auth.Key()}}
	for name, values := range query {
		q[name] = values
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, c.url+path+"?"+q.Encode(), bytes.NewReader(raw))
	if err != nil {
		return fmt.Errorf("ask %s: %w", c.url, err)
	}
	req.Header.Set("Authorization", c.auth.ServerToken())
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		var at *url.Error
		if errors.As(err, &at) { // it would say the address again, with the key
			err = at.Err
		}
		return fmt.Errorf("ask the server at %s: %w; is `stillwatch serve` running with these settings?", c.url, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAPIAnswer))
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if resp.StatusCode/100 != 2 {
		var e struct {
			Message string `json:"message"`
		}
		_ = json.Unmarshal(answer, &e) // else the status says enough
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, e.Message)
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("read the answer of %s: %w", path, err)
	}
	return nil
}

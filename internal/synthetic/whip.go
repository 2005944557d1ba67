package synthetic

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/pion/webrtc/v4"
)

// Refusal is a server's answer to an offer that it did not take.
type Refusal struct {
	Status int
	// Text is the body, at most 4 KiB.
	Text string
}

// Error says the status and what the server wrote.
func (r *Refusal) Error() string {
	return fmt.Sprintf("offer refused: %d %s: %s", r.Status, http.StatusText(r.Status), r.Text)
}

// client talks to the operator's own server, whose address the operator gave.
var client = &http.Client{Timeout: 15 * time.Second}

// offer does the exchange of RFC 9725, section 4.2, with all candidates in
// the offer, and returns the session's resource URL.
func offer(ctx context.Context, pc *webrtc.PeerConnection, endpoint, token string) (string, error) {
	desc, err := pc.CreateOffer(nil)
	if err != nil {
		return "", fmt.Errorf("create offer: %w", err)
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(desc); err != nil {
		return "", fmt.Errorf("set offer: %w", err)
	}
	select {
	case <-gathered:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(pc.LocalDescription().SDP))
	if err != nil {
		return "", fmt.Errorf("make offer request: %w", err)
	}
	req.Header.Set("Content-Type", "application/sdp")
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := client.Do(req)
	if err != nil {
		return "", fmt.Errorf("send offer: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 256<<10))
	if err != nil {
		return "", fmt.Errorf("read answer: %w", err)
	}
	if resp.StatusCode != http.StatusCreated {
		text := string(bytes.TrimSpace(answer[:min(len(answer), 4<<10)]))
		return "", &Refusal{Status: resp.StatusCode, Text: text}
	}
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: string(answer)}); err != nil {
		return "", fmt.Errorf("set answer: %w", err)
	}
	return resolve(endpoint, resp.Header.Get("Location"))
}

func resolve(endpoint, location string) (string, error) {
	base, err := url.Parse(endpoint)
	if err != nil {
		return "", err
	}
	u, err := base.Parse(location)
	if err != nil {
		return "", fmt.Errorf("parse Location %q: %w", location, err)
	}
	return u.String(), nil
}

func leave(resource, token string) {
	req, err := http.NewRequest(http.MethodDelete, resource, nil)
	if err != nil {
		return
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if resp, err := client.Do(req); err == nil {
		resp.Body.Close() // the session may be gone already; nothing to do then
	}
}

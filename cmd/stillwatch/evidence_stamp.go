package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"

	"stillwatch/internal/evidence"
	"stillwatch/internal/storage"
)

// stampName is the time stamp's of a bulletin.
func stampName(n int) string { return strings.TrimSuffix(bulletinName(n), ".json") + ".tsr" }

// stampAll has the bulletins that have no time stamp yet stamped, in order.
func (p *headPublisher) stampAll(ctx context.Context, all []*evidence.Bulletin) error {
	if p.cfg.Evidence.TSAURL == "" {
		return nil
	}
	for _, b := range all {
		name := filepath.Join(p.dir(), stampName(b.N))
		if _, err := os.Stat(name); err == nil {
			continue
		}
		text, err := b.Encode()
		if err != nil {
			return fmt.Errorf("write bulletin: %w", err)
		}
		once, cancel := context.WithTimeout(ctx, publishTimeout)
		reply, err := p.stamp(once, text)
		cancel()
		if err != nil {
			return fmt.Errorf("stamp bulletin %d: %w", b.N, err)
		}
		if err := os.WriteFile(name+".new", reply, 0o600); err != nil {
			return fmt.Errorf("keep time stamp: %w", err)
		}
		if err := os.Rename(name+".new", name); err != nil {
			return fmt.Errorf("keep time stamp: %w", err)
		}
	}
	return nil
}

// stamp asks the authority (RFC 3161, section 3.4) and returns its reply, once
// it is known to be of the text.
func (p *headPublisher) stamp(ctx context.Context, text []byte) ([]byte, error) {
	nonce, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 63))
	if err != nil {
		return nil, fmt.Errorf("make nonce: %w", err)
	}
	ask, err := evidence.TimestampRequest(text, nonce)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.cfg.Evidence.TSAURL, bytes.NewReader(ask))
	if err != nil {
		return nil, errors.New("evidence.tsa_url is no address")
	}
	req.Header.Set("Content-Type", "application/timestamp-query")
	reply, err := p.answer(req)
	if err != nil {
		return nil, err
	}
	at, err := evidence.CheckTimestamp(reply, text, nonce)
	if err != nil {
		return nil, err
	}
	p.log.Info("a bulletin of heads is stamped", "component", "evidence", "stated", at)
	return reply, nil
}

// sendStamps brings the time stamps that there are into the storage, in order.
func (p *headPublisher) sendStamps(ctx context.Context, all []*evidence.Bulletin) error {
	if p.cfg.Evidence.TSAURL == "" || p.cfg.Evidence.PublishStorage == "" {
		return nil
	}
	for i, b := range all {
		if _, err := os.Stat(filepath.Join(p.dir(), stampName(b.N))); errors.Is(err, fs.ErrNotExist) {
			all = all[:i]
			break
		}
	}
	return p.sendTo(ctx, "stamps", all, func(ctx context.Context, n int, _ []byte) error {
		reply, err := os.ReadFile(filepath.Join(p.dir(), stampName(n)))
		if err != nil {
			return fmt.Errorf("read time stamp: %w", err)
		}
		key := path.Join(p.cfg.Evidence.PublishPrefix, stampName(n))
		return p.stores.Upload(ctx, storage.Ref(p.cfg.Evidence.PublishStorage, key), bytes.NewReader(reply), "application/timestamp-reply")
	})
}

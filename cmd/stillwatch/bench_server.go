package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"stillwatch/internal/auth"
	"stillwatch/internal/config"
)

// childServer is `stillwatch serve` in a process of its own, on embedded
// defaults. It can be started again on the same addresses and data.
type childServer struct {
	url  string
	auth *auth.Auth

	env  []string
	log  string
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
}

// freeAddress takes a port that nothing listens on now, neither by TCP nor by
// UDP. It lies below those that the kernel gives to outgoing connections
// (32768 and above), so that none of them takes it before the server does.
func freeAddress() (string, error) {
	for range 1000 {
		at := fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(12000))
		l, err := net.Listen("tcp", at)
		if err != nil {
			continue
		}
		c, err := net.ListenPacket("udp", at)
		l.Close()
		if err != nil {
			continue
		}
		c.Close()
		return at, nil
	}
	return "", errors.New("none from 20000 to 31999 is free")
}

// newServer prepares a server with its data in dir, settings taken from cfg
// where they are about models, and hookURL as webhook receiver.
func newServer(cfg config.Config, dir, hookURL string) (*childServer, error) {
	httpAt, err := freeAddress()
	if err != nil {
		return nil, fmt.Errorf("find a free port: %w", err)
	}
	mediaAt, err := freeAddress()
	if err != nil {
		return nil, fmt.Errorf("find a free port: %w", err)
	}
	key, secret := randomText(12), randomText(36)
	s := &childServer{url: "http://" + httpAt, auth: auth.New(key, secret), log: filepath.Join(dir, "server.log")}
	abs := func(path string) string { a, _ := filepath.Abs(path); return a }
	for _, kv := range environ() {
		if !strings.HasPrefix(kv, config.EnvPrefix) {
			s.env = append(s.env, kv)
		}
	}
	for name, value := range map[string]string{
		"HTTP_LISTEN": httpAt, "MEDIA_LISTEN": mediaAt, "DATA_DIR": filepath.Join(dir, "data"),
		"AUTH_API_KEY": key, "AUTH_API_SECRET": secret, "WEBHOOK_URL": hookURL, "NETGUARD_ALLOW": "127.0.0.0/8",
		"MODELS_DIR": abs(cfg.Models.Dir), "MODELS_RUNTIME": abs(cfg.Models.Runtime),
		"MODELS_SMALL": cfg.Models.Small, "MODELS_LARGE": cfg.Models.Large,
		"MODELS_REUSE": "-1", // every frame is looked at: the price without the saving
	} {
		s.env = append(s.env, config.EnvPrefix+name+"="+value)
	}
	return s, nil
}

// start runs this executable's serve command and waits until it is ready.
func (s *childServer) start(ctx context.Context) error {
	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find own executable: %w", err)
	}
	out, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open server log: %w", err)
	}
	defer out.Close()
	s.cmd = exec.Command(exe, "serve")
	s.cmd.Env, s.cmd.Stdout, s.cmd.Stderr = s.env, out, out
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := s.cmd.Start(); err != nil {
		return fmt.Errorf("start server: %w", err)
	}
	s.done = make(chan struct{})
	go func(cmd *exec.Cmd, done chan struct{}) { _ = cmd.Wait(); close(done) }(s.cmd, s.done) // why it ended stands in the log
	if err := s.awaitReady(ctx); err != nil {
		return errors.Join(err, s.stop())
	}
	return nil
}

func (s *childServer) awaitReady(ctx context.Context) error {
	for {
		if resp, err := plainClient.Get(s.url + "/readyz"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-s.done:
			return fmt.Errorf("the server ended: %s", s.tail())
		case <-ctx.Done():
			return fmt.Errorf("wait for the server: %w: %s", ctx.Err(), s.tail())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// plainClient talks to the server that this program has started itself.
var plainClient = &http.Client{Timeout: 10 * time.Second}

// tail is the end of the server's log, for errors.
func (s *childServer) tail() string {
	b, _ := os.ReadFile(s.log)
	return string(b[max(0, len(b)-2000):])
}

// stop ends the server, by force after 15 s.
func (s *childServer) stop() error {
	if s.cmd == nil || s.cmd.Process == nil {
		return nil
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.done:
		return nil
	case <-time.After(15 * time.Second):
		return errors.Join(errors.New("the server did not end within 15 s and was killed"), s.cmd.Process.Kill())
	}
}

// scrape reads the server's metrics, summed over labels, by name.
func (s *childServer) scrape() (map[string]float64, error) {
	resp, err := plainClient.Get(s.url + "/metrics")
	if err != nil {
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	defer resp.Body.Close()
	out := map[string]float64{}
	for sc := bufio.NewScanner(resp.Body); sc.Scan(); {
		// The text format: name{labels} value.
		line := sc.Text()
		at := strings.LastIndexByte(line, ' ')
		if strings.HasPrefix(line, "#") || at < 0 {
			continue
		}
		name, _, _ := strings.Cut(line[:at], "{")
		v, err := strconv.ParseFloat(line[at+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("parse metric %q: %w", line, err)
		}
		out[name] += v
	}
	return out, nil
}

// call makes one API request as the operator's backend.
func (s *childServer) call(method, path, body string) error {
	req, err := http.NewRequest(method, s.url+path+"?api_key="+s.auth.Key(), strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", s.auth.ServerToken())
	req.Header.Set("Content-Type", "application/json")
	resp, err := plainClient.Do(req)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 2000))
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, text)
	}
	return nil
}

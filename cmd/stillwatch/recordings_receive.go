package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"stillwatch/recording/stream"
)

type recordingsReceiveCmd struct {
	Listen     string        `help:"Address to listen on; by default ${default}." default:"127.0.0.1:8090" placeholder:"HOST:PORT"`
	Out        string        `help:"Folder to write; a folder for each recording is made in it." required:"" type:"path" placeholder:"DIR"`
	SecretFile string        `help:"File with the sender's API secret; without it anybody may send." type:"existingfile" placeholder:"FILE"`
	TLSCert    string        `help:"Certificate file, for https." type:"existingfile" placeholder:"FILE"`
	TLSKey     string        `help:"Its key." type:"existingfile" placeholder:"FILE"`
	MaxBytes   int64         `help:"Largest recording, in bytes; by default ${default} (64 GiB)." default:"68719476736" placeholder:"N"`
	Idle       time.Duration `help:"How long a sender may say nothing; by default ${default}." default:"30s" placeholder:"DURATION"`
	JSON       bool          `help:"Print JSON, a line each."`
}

func (recordingsReceiveCmd) Help() string {
	return "Takes recordings that a server streams to its HTTP destination while their calls run, and prints who comes, goes and speaks. `stillwatch recordings import DIR/ID` makes the movie of one. Ends on SIGTERM or interrupt. It needs no data folder. A server streams to an address of this machine only if its setting netguard.allow has a range with it, such as 127.0.0.0/8. What a connection after a break tells of the state anew is printed with no sequence number.\n\nExample:\n  stillwatch recordings receive --listen 127.0.0.1:8090 --out received --secret-file secret --json"
}

// maxSecret bounds a file with a secret, in bytes.
const maxSecret = 4 << 10

// Run receives until a signal comes.
func (c recordingsReceiveCmd) Run(e *env) error {
	if c.MaxBytes <= 0 || c.Idle <= 0 {
		return fmt.Errorf("%w: --max-bytes and --idle must be above 0", errUsage)
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return fmt.Errorf("%w: --tls-cert and --tls-key go together", errUsage)
	}
	secret, err := readSecret(c.SecretFile)
	if err != nil {
		return err
	}
	if secret == "" {
		e.log.Warn("no signature is checked: anybody who reaches this address may send")
	}
	if err := os.MkdirAll(c.Out, 0o700); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(e.ctx, "tcp", c.Listen)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", c.Listen, err)
	}
	out := &notices{w: e.stdout, json: c.JSON}
	srv := &http.Server{
		Handler:           stream.NewReceiver(stream.ReceiverConfig{Dir: c.Out, Secret: secret, Idle: c.Idle, MaxBytes: c.MaxBytes, Notice: out.take, Log: e.log}),
		ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 64 << 10,
	}
	e.log.Info("receiving", "address", l.Addr().String(), "out", c.Out)
	done := make(chan error, 1)
	go func() {
		if c.TLSCert != "" {
			done <- srv.ServeTLS(l, c.TLSCert, c.TLSKey)
			return
		}
		done <- srv.Serve(l)
	}()
	select {
	case err := <-done:
		return fmt.Errorf("receive: %w", err)
	case <-e.ctx.Done():
	}
	e.release() // a second signal now ends the program at once
	ctx, cancel := context.WithTimeout(context.WithoutCancel(e.ctx), 2*time.Second)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		_ = srv.Close() // senders go on elsewhere, or when this is back
	}
	if err := <-done; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("receive: %w", err)
	}
	return nil
}

func readSecret(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("read secret: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSecret))
	if err != nil {
		return "", fmt.Errorf("read secret: %w", err)
	}
	secret := strings.TrimSpace(string(b))
	if secret == "" {
		return "", fmt.Errorf("%w: the secret file is empty", errUsage)
	}
	return secret, nil
}

// notices prints what comes.
type notices struct {
	mu   sync.Mutex
	w    io.Writer
	json bool
}

func (n *notices) take(what stream.Notice) {
	n.mu.Lock()
	defer n.mu.Unlock()
	r := what.Report()
	if n.json {
		_ = json.NewEncoder(n.w).Encode(r)
		return
	}
	var detail string
	switch {
	case r.Event != nil:
		detail = r.Event.UserID
		if s := r.Event.Stream; s != nil {
			detail += " " + s.MimeType
		}
		if r.Sequence == 0 {
			detail += " (as it is)"
		}
	case r.Gap != nil:
		detail = fmt.Sprintf("%d packets from %v to %v", r.Gap.Packets, r.Gap.From, r.Gap.To)
	case r.End != nil:
		detail = fmt.Sprintf("%s after %v, %d packets, %d lost", r.End.Reason, r.End.At, r.End.Packets, r.End.Lost)
	}
	fmt.Fprintf(n.w, "%s  %s  connection %d  %s  %q\n", r.RecordingID, r.CallCID, r.Connection, r.Type, detail)
}

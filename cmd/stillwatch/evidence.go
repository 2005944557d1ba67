package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"stillwatch/internal/evidence"
)

type evidenceCmd struct {
	Export  evidenceExportCmd  `cmd:"" help:"Write a recording with all that is known of its call into a folder, under a signed manifest."`
	Verify  evidenceVerifyCmd  `cmd:"" help:"Tell whether an exported folder is what was signed. Needs only the folder and the public key."`
	Publish evidencePublishCmd `cmd:"" help:"Publish the heads of what was exported and stored where the settings say, without waiting for the daily time."`
	Key     evidenceKeyCmd     `cmd:"" help:"Print the public key that exports are verified with."`
}

func (evidenceCmd) Help() string {
	return "See docs/EVIDENCE.md for what this proves and what not.\n\nExamples:\n  stillwatch evidence key > evidence.pub\n  stillwatch evidence export $ID --to case-17\n  stillwatch evidence verify case-17 --key evidence.pub"
}

type evidenceExportCmd struct {
	Recording string `arg:"" help:"Id of the recording." name:"recording_id"`
	To        string `help:"Folder to write; must not exist." required:"" type:"path" placeholder:"DIR"`
	JSON      bool   `help:"Print JSON."`
}

func (evidenceExportCmd) Help() string {
	return "It reads the database and the object store of the settings, beside a running server or without one, and refuses when an object is not what was stored.\n\nExample: stillwatch evidence export $ID --to case-17 --json"
}

// evidenceReport is what export and verify print.
type evidenceReport struct {
	OK          bool       `json:"ok"`
	Case        string     `json:"case,omitempty"`
	Dir         string     `json:"dir"`
	Entries     int        `json:"entries"`
	Objects     int        `json:"objects"`
	Bytes       int64      `json:"bytes"`
	MadeAt      *time.Time `json:"made_at,omitempty"`
	MadeBy      string     `json:"made_by,omitempty"`
	Key         string     `json:"key"`
	KeyFrom     string     `json:"key_from,omitempty"`
	BadEntry    *int       `json:"bad_entry,omitempty"`
	BadName     string     `json:"bad_name,omitempty"`
	Error       string     `json:"error,omitempty"`
	Independent bool       `json:"independent_key"`
}

func newEvidenceReport(dir string, m *evidence.Manifest, key evidence.PublicKey) evidenceReport {
	r := evidenceReport{Dir: dir, Key: key.Fingerprint()}
	if m == nil {
		return r
	}
	r.Case, r.MadeAt, r.MadeBy, r.Entries = m.Head.Case, &m.Head.MadeAt, m.Head.MadeBy, len(m.Entries)
	for _, e := range m.Entries {
		if e.Name != "" {
			r.Objects++
			r.Bytes += e.Size
		}
	}
	return r
}

// Run exports.
func (c evidenceExportCmd) Run(e *env) error {
	x, err := openEvidence(e)
	if err != nil {
		return err
	}
	defer x.close()
	key, err := evidence.LoadKey(evidenceKeyPath(e))
	if err != nil {
		return err
	}
	m, err := x.export(e.ctx, c.Recording, c.To, key)
	if err != nil {
		return fmt.Errorf("export %s: %w", c.Recording, err)
	}
	if err := x.publish(e, key); err != nil {
		return fmt.Errorf("%s is written; its head is not published yet, evidence publish does so: %w", c.To, err)
	}
	r := newEvidenceReport(c.To, m, key.Public())
	r.OK = true
	if c.JSON {
		return json.NewEncoder(e.stdout).Encode(r)
	}
	_, err = fmt.Fprintf(e.stdout, "%s: %d entries, %d objects, %d bytes in %s\nsigned with the key %s\n", r.Case, r.Entries, r.Objects, r.Bytes, c.To, r.Key)
	return err
}

type evidenceVerifyCmd struct {
	Dir   string `arg:"" help:"Folder that was exported." type:"path"`
	Heads string `help:"Bulletins that were published, a folder of them or one: the export's head must be in them, and they must stand on each other." type:"path" placeholder:"DIR|FILE"`
	Key   string `help:"Public key (PEM) from whom you trust. Without it, the folder's own is used, which says nothing of who signed." type:"path" placeholder:"FILE"`
	JSON  bool   `help:"Print JSON."`
}

func (evidenceVerifyCmd) Help() string {
	return "Exit code 0: it is what was signed. 1: it is not; the first bad entry is named. 2: there is no export to verify.\n\nExamples:\n  stillwatch evidence verify case-17 --key evidence.pub\n  stillwatch evidence verify case-17 --key evidence.pub --heads published"
}

// Run verifies. It opens nothing but the folder and the key.
func (c evidenceVerifyCmd) Run(e *env) error {
	from := c.Key
	if from == "" {
		from = filepath.Join(c.Dir, evidence.KeyName)
	}
	if _, err := os.Stat(filepath.Join(c.Dir, evidence.ManifestName)); err != nil {
		return fmt.Errorf("%w: there is no export in %s: %w", errUsage, c.Dir, err)
	}
	text, err := os.ReadFile(from)
	if err != nil {
		return fmt.Errorf("read public key: %w", err)
	}
	key, err := evidence.ParsePublicKey(text)
	if err != nil {
		return fmt.Errorf("read %s: %w", from, err)
	}
	m, failed := evidence.VerifyFolder(c.Dir, key)
	bulletins := 0
	if failed == nil && c.Heads != "" {
		all, err := evidence.ReadBulletins(c.Heads)
		if err != nil {
			return fmt.Errorf("%w: %w", errUsage, err)
		}
		bulletins = len(all)
		if failed = evidence.VerifyBulletins(all, key); failed == nil {
			failed = evidence.CheckPublished(m, all)
		}
	}
	r := newEvidenceReport(c.Dir, m, key)
	r.OK, r.KeyFrom, r.Independent = failed == nil, from, c.Key != ""
	if fault := (*evidence.Fault)(nil); errors.As(failed, &fault) {
		r.BadEntry, r.BadName = &fault.Entry, fault.Name
	}
	if failed != nil {
		r.Error = failed.Error()
		failed = fmt.Errorf("%s is not what was signed: %w", c.Dir, failed)
	}
	if c.JSON {
		return errors.Join(json.NewEncoder(e.stdout).Encode(r), failed)
	}
	if failed != nil {
		return failed
	}
	fmt.Fprintf(e.stdout, "ok: %s, %d entries, %d objects, %d bytes\nmade at %s by %s\nsigned with the key %s\n",
		r.Case, r.Entries, r.Objects, r.Bytes, r.MadeAt.Format(time.RFC3339), r.MadeBy, r.Key)
	if c.Heads != "" {
		fmt.Fprintf(e.stdout, "its head was published: %d bulletins in %s\n", bulletins, c.Heads)
	}
	if !r.Independent {
		fmt.Fprintln(e.stdout, "the key is the folder's own: compare its fingerprint with one from whom you trust, or give --key")
	}
	return nil
}

type evidencePublishCmd struct{}

func (evidencePublishCmd) Help() string {
	return "A server does so at its start and daily, and each export at once. This is for what a place did not take, and for data without a server.\n\nExample: stillwatch evidence publish"
}

// Run publishes.
func (evidencePublishCmd) Run(e *env) error {
	if e.cfg.Evidence.PublishStorage == "" && e.cfg.Evidence.PublishURL == "" {
		return fmt.Errorf("%w: neither evidence.publish_storage nor evidence.publish_url is set", errUsage)
	}
	x, err := openEvidence(e)
	if err != nil {
		return err
	}
	defer x.close()
	key, err := evidence.LoadKey(evidenceKeyPath(e))
	if err != nil {
		return err
	}
	if err := x.publish(e, key); err != nil {
		return err
	}
	fmt.Fprintln(e.stdout, "published")
	return nil
}

// publish publishes new heads at once, if the settings name a place.
func (x *evidenceSource) publish(e *env, key evidence.Key) error {
	p := &headPublisher{cfg: e.cfg, db: x.db, stores: x.stores, client: x.client, key: key, log: e.log, now: time.Now}
	if !p.wanted() {
		return nil
	}
	return p.publish(e.ctx, true)
}

type evidenceKeyCmd struct{}

func (evidenceKeyCmd) Help() string { return "Example: stillwatch evidence key > evidence.pub" }

// Run prints the public key, and makes the pair at the first time.
func (evidenceKeyCmd) Run(e *env) error {
	if err := os.MkdirAll(e.cfg.Data.Dir, 0o700); err != nil {
		return fmt.Errorf("make data folder: %w", err)
	}
	key, err := evidence.LoadKey(evidenceKeyPath(e))
	if err != nil {
		return err
	}
	_, err = e.stdout.Write(key.Public().PEM())
	return err
}

func evidenceKeyPath(e *env) string { return filepath.Join(e.cfg.Data.Dir, "evidence.key") }

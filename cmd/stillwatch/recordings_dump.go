package main

import (
	"encoding/json"
	"fmt"

	"stillwatch/recording/recorder"
)

type recordingsDumpCmd struct {
	ID    string `arg:"" help:"Id of the recording." name:"recording_id"`
	To    string `help:"Folder to write; it is made." required:"" type:"path" placeholder:"DIR"`
	By    string `help:"Who takes them, for the audit." default:"operator" placeholder:"USER"`
	Whole bool   `help:"All of the session: what came before and after the recording, and what it leaves out."`
	JSON  bool   `help:"Print JSON."`
}

func (recordingsDumpCmd) Help() string {
	return "One rtpdump file each stream, decrypted: for Wireshark, and for whoever looks for why a recording failed. Without --whole it is what the recording is about: from its start to its stop, without whom and what its settings, the permissions and its publishers leave out. With --whole it is all that lies there, evidence too; the audit says which of the two. The packets are there until the files are ready, and those of a recording that failed for recording.keep_failed.\n\nExamples:\n  stillwatch recordings dump $ID --to packets\n  stillwatch recordings dump $ID --to packets --whole"
}

// Run writes the files.
func (c recordingsDumpCmd) Run(e *env) error {
	return beside(e, func(p *Program) error {
		files, err := p.recorder.Dump(e.ctx, recorder.DumpOrder{RecordingID: c.ID, Dir: c.To, By: c.By, Whole: c.Whole})
		if err != nil {
			return fmt.Errorf("dump %s: %w", c.ID, err)
		}
		if c.JSON {
			return json.NewEncoder(e.stdout).Encode(struct {
				Dir   string            `json:"dir"`
				Files []recorder.Dumped `json:"files"`
			}{c.To, files})
		}
		if len(files) == 0 {
			fmt.Fprintln(e.stdout, "the recording has no packets; the session may: --whole")
		}
		for _, f := range files {
			fmt.Fprintf(e.stdout, "%s  %s of %s, from %v\n", f.File, f.Codec, f.UserID, f.At)
		}
		return nil
	})
}

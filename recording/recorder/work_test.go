package recorder

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"

	"stillwatch/internal/db"
)

// work lists what lies in the work folder of a recording.
func (w *world) work(id string) []string {
	w.t.Helper()
	all, err := filepath.Glob(filepath.Join(w.workDir(id), "*"))
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

// TestTemporaryFilesStayWhereTheSettingsSaySo, as long as all of the recording
// is kept, and never beside what is stored encrypted.
func TestTemporaryFilesStayWhereTheSettingsSaySo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, oneMovie, func(c *Config) { c.KeepWork = true })
	w.short("kept").end(2 * time.Second)
	run := w.until("default:kept", db.RecordingReady, 6*time.Minute)
	w.idle()
	sweep := func() {
		t.Helper()
		if err := w.sweepWork(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	sweep()
	if got := w.work(run.ID); len(got) == 0 {
		t.Fatal("nothing is left of the work, against the settings")
	}
	w.plan.EncryptTo = publicKey(t)
	w.short("sealed").end(2 * time.Second)
	sealed := w.until("default:sealed", db.RecordingReady, 6*time.Minute)
	w.eventually(func() bool { return len(w.work(sealed.ID)) == 0 }, "nothing is left of what is stored encrypted")
	if err := w.deleteByID(t.Context(), w.files(run.ID)[kindMovie][0].ID, "mo"); err != nil {
		t.Fatal(err)
	}
	sweep()
	if got := w.work(run.ID); len(got) > 0 {
		t.Errorf("%v outlives the deletion of the movie", got)
	}
}

// publicKey is an armored OpenPGP key that nobody has the other half of.
func publicKey(t *testing.T) string {
	t.Helper()
	entity, err := openpgp.NewEntity("archive", "", "archive@example.test", nil)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	out, err := armor.Encode(&b, openpgp.PublicKeyType, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(entity.Serialize(out), out.Close()); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

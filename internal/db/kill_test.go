package db

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"stillwatch/internal/event"
)

// childEnv makes the test binary write to a database until it is killed.
const childEnv = "STILLWATCH_TEST_DB_WRITER"

// TestWriter is not a test of its own: it is the process that
// TestKilledWriterLosesNothing kills.
func TestWriter(t *testing.T) {
	url := os.Getenv(childEnv)
	if url == "" {
		t.Skip("run by TestKilledWriterLosesNothing in a process of its own")
	}
	d := open(t, url)
	for {
		ev := event.New("x", "k", time.Now(), 1)
		if err := d.Emit(context.Background(), event.TopicActions, ev); err != nil {
			t.Fatal(err)
		}
		fmt.Println("committed", ev.ID) // said only when it is true
	}
}

func TestKilledWriterLosesNothing(t *testing.T) {
	t.Parallel()
	url := "sqlite://" + filepath.Join(t.TempDir(), "x.db")
	cmd := exec.Command(os.Args[0], "-test.run", "^TestWriter$", "-test.v")
	cmd.Env = append(os.Environ(), childEnv+"="+url)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var want []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if id, ok := strings.CutPrefix(lines.Text(), "committed "); ok {
			if want = append(want, id); len(want) == 100 {
				_ = cmd.Process.Kill() // what comes after is read, too
			}
		}
	}
	_ = cmd.Wait()
	if len(want) < 100 {
		t.Fatalf("the writer ended after %d commits", len(want))
	}
	d := open(t, url)
	var got []string
	if err := d.NewSelect().Table("outbox").Column("event_id").Order("seq").Scan(t.Context(), &got); err != nil {
		t.Fatal(err)
	}
	// One more may have been committed and not been said.
	if len(got) > len(want)+1 || !slices.Equal(got[:min(len(got), len(want))], want) {
		t.Errorf("%d events are left of %d", len(got), len(want))
	}
	var sound string
	if err := d.QueryRowContext(t.Context(), "PRAGMA integrity_check").Scan(&sound); err != nil || sound != "ok" {
		t.Errorf("the file is damaged: %s, %v", sound, err)
	}
}

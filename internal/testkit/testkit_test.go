package testkit

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) { Main(m) }

func TestServersStartAndLeaveNothing(t *testing.T) {
	t.Parallel()
	var sock, pg string
	t.Run("run", func(t *testing.T) {
		sock = strings.TrimPrefix(Redis(t), "unix://")
		if c, err := net.Dial("unix", sock); err != nil {
			t.Fatalf("Redis does not listen: %v", err)
		} else {
			c.Close()
		}
		pg = Postgres(t)
		if !strings.HasPrefix(pg, "postgres://") {
			t.Fatalf("address %q", pg)
		}
	})
	if _, err := os.Stat(filepath.Dir(sock)); !os.IsNotExist(err) {
		t.Errorf("Redis left its folder behind: %v", err)
	}
}

func TestMinIOListens(t *testing.T) {
	t.Parallel()
	s := MinIO(t)
	c, err := net.Dial("tcp", strings.TrimPrefix(s.Endpoint, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

func TestClockMovesOnlyWhenTold(t *testing.T) {
	t.Parallel()
	c := NewClock()
	at := c.Now()
	if !c.Now().Equal(at) {
		t.Error("it moved by itself")
	}
	c.Advance(time.Hour)
	if got := c.Now().Sub(at); got != time.Hour {
		t.Errorf("it moved by %s", got)
	}
}

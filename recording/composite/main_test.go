package composite

import (
	"os"
	"testing"
	"time"

	"stillwatch/internal/jail"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	jail.Init()
	stall = 8 * time.Second
	if os.Getenv("STILLWATCH_NO_LEAK_CHECK") != "" {
		os.Exit(m.Run())
	}
	goleak.VerifyTestMain(m)
}

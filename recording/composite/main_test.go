package composite

import (
	"os"
	"testing"

	"stillwatch/internal/jail"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	jail.Init()
	if os.Getenv("STILLWATCH_NO_LEAK_CHECK") != "" {
		os.Exit(m.Run())
	}
	goleak.VerifyTestMain(m)
}

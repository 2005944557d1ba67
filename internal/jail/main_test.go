package jail

import (
	"context"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// asParent in the environment makes the test binary a program that runs a
// command in this folder without end.
const asParent = "JAIL_TEST_PARENT"

func TestMain(m *testing.M) {
	Init()
	if dir := os.Getenv(asParent); dir != "" {
		_ = Run(context.Background(), Command{Name: "yes", Dir: dir, Stdout: os.Stdout})
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

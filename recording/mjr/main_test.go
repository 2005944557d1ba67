package mjr

import (
	"testing"

	"go.uber.org/goleak"

	"stillwatch/internal/jail"
)

func TestMain(m *testing.M) {
	jail.Init()
	goleak.VerifyTestMain(m)
}

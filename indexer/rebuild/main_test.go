package rebuild_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if as := os.Getenv(childVariable); as != "" {
		os.Exit(beKilled(as))
	}
	goleak.VerifyTestMain(m)
}

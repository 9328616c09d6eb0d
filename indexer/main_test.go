package indexer_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if listen := os.Getenv(childServer); listen != "" {
		os.Exit(beServer(os.Getenv(childDir), listen))
	}
	if dir := os.Getenv(childDir); dir != "" {
		os.Exit(beKilled(dir))
	}
	if as := os.Getenv(childPoint); as != "" {
		os.Exit(beKilledAtPoint(as))
	}
	goleak.VerifyTestMain(m)
}

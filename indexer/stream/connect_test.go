package stream_test

import (
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/indexer/stream"
)

func TestFailedConnectionsTellNoPassword(t *testing.T) {
	for _, url := range []string{"nats://svc:SuperSecret@127.0.0.1:1", "nats://SuperSecret@127.0.0.1:1,nats://svc:p@SuperSecret@127.0.0.1:2"} {
		_, err := stream.Connect(url, "", "test", zerolog.Nop())
		if err == nil || strings.Contains(err.Error(), "SuperSecret") || !strings.Contains(err.Error(), "127.0.0.1:1") {
			t.Errorf("%v", err)
		}
	}
}

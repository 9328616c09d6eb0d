package indexer_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/indexer"
	"github.com/assigndex/assigndex/indexer/fault"
	"github.com/assigndex/assigndex/indexer/stream"
)

// building is to build an index of all that the stream has, with so little memory that
// there are many runs.
const building act = "building"

// buildTimes are how often a build of the tests' stream comes by each point at least.
var buildTimes = map[fault.Point]int{
	fault.BuildRun: 8, fault.BuildMerge: 2, fault.BuildTables: 1, fault.BuildManifest: 1, fault.BuildMark: 1,
	fault.Fetch: 60, fault.Decode: 60, fault.Fold: 60,
}

// eachBuildPoint visits every point of a build, before and after its step.
func eachBuildPoint(t *testing.T, rng *rand.Rand, visit func(t *testing.T, at fault.Point, done bool, nth int)) {
	t.Helper()
	for _, at := range append([]fault.Point{fault.Decode, fault.Fold}, fault.Build...) {
		times, known := buildTimes[at]
		if !known {
			t.Errorf("nothing is known of the point %q", at)
			continue
		}
		for _, done := range []bool{false, true} {
			nth := 1 + rng.IntN(times)
			t.Run(fmt.Sprintf("%s/%v/%d", at, done, nth), func(t *testing.T) { visit(t, at, done, nth) })
		}
	}
}

func builtFrom(nc *nats.Conn, js jetstream.JetStream, dir string, hook fault.Hook) error {
	_, err := indexer.Build(context.Background(), stream.NewReader(nc, js, streamName, zerolog.Nop()),
		indexer.BuildOptions{Dir: dir, Memory: 1, Fault: hook, Logger: zerolog.Nop()})
	return err
}

// afterwards checks what a build left that did not come to its end, and builds again.
func (s *source) afterwards(dir string, marked bool, want string, last uint64) {
	s.Helper()
	if marked { // only the answer was lost
		n := s.nodeIn(s.T, dir)
		n.sound(last)
		if got := n.digest(last); got != want {
			s.Fatalf("the digest is %s, want %s", got, want)
		}
		n.close()
	} else {
		s.isNone(dir)
	}
	if err := os.RemoveAll(dir); err != nil {
		s.Fatal(err)
	}
	if err := builtFrom(s.nc, s.js, dir, nil); err != nil {
		s.Fatal(err)
	}
	n := s.nodeIn(s.T, dir)
	n.sound(last)
	if got := n.digest(last); got != want {
		s.Fatalf("built again, the digest is %s, want %s", got, want)
	}
}

// on gives the source to a subtest.
func (s *source) on(t *testing.T) *source {
	t.Helper()
	of := *s
	of.T = t
	return &of
}

// Whichever step of a build fails, it tells, what it leaves is no index, and the next
// build is whole.
func TestBuildFaults(t *testing.T) {
	t.Parallel()
	seed, rng := random(t)
	s := newSource(t)
	last := s.publish(randomMessages(seed, 400)...)
	n, _ := s.build(indexer.BuildOptions{})
	want := n.digest(last)
	eachBuildPoint(t, rng, func(t *testing.T, at fault.Point, done bool, nth int) {
		dir := filepath.Join(t.TempDir(), "index")
		hits := 0
		if err := builtFrom(s.nc, s.js, dir, failing(at, done, nth, &hits)); !errors.Is(err, errFault) || hits != 1 {
			t.Fatalf("failed %d times: %v", hits, err)
		}
		s.on(t).afterwards(dir, at == fault.BuildMark && done, want, last)
	})
}

// A build that is killed at any step leaves what is no index, and the next one is whole.
func TestBuildKilledAtPoints(t *testing.T) {
	t.Parallel()
	seed, rng := random(t)
	s := newSource(t)
	last := s.publish(randomMessages(seed, 400)...)
	n, _ := s.build(indexer.BuildOptions{})
	want := n.digest(last)
	eachBuildPoint(t, rng, func(t *testing.T, at fault.Point, done bool, nth int) {
		dir := filepath.Join(t.TempDir(), "index")
		c := pointChild{Dir: dir, URL: s.server.ClientURL(), Doing: building, Last: last, At: at, Done: done, Nth: nth}
		c.run(t)
		s.on(t).afterwards(dir, at == fault.BuildMark && done, want, last)
	})
}

package indexer_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/indexer/fault"
)

var pointKillsFlag = flag.Int("pointkills", 0, "how often TestKillAtPoints goes through all points, before and after their steps; 0: once, one of both")

// childPoint says that this process is the child of TestKillAtPoints, as a
// pointChild.
const childPoint = "ASSIGNDEX_TEST_CHILD_POINT"

// pointChild is what the child does, and where it kills itself.
type pointChild struct {
	Dir, URL string
	Doing    act
	Last     uint64
	At       fault.Point
	Done     bool
	Nth      int
}

// lineHere is what the child says before it kills itself.
const lineHere = "here"

// beKilledAtPoint runs the child. It returns only when it was not killed.
func beKilledAtPoint(as string) int {
	if err := childAtPoint(as); err != nil {
		fmt.Fprintln(os.Stderr, "child:", err)
	}
	return 1
}

func childAtPoint(as string) error {
	var c pointChild
	if err := json.Unmarshal([]byte(as), &c); err != nil {
		return err
	}
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		return err
	}
	nc, err := nats.Connect(c.URL)
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	hook := onPoint(c.At, c.Done, c.Nth, func() error {
		fmt.Println(lineHere)
		if err := self.Kill(); err != nil {
			return err
		}
		select {} // it does not come at once
	})
	if c.Doing == building {
		return builtFrom(nc, js, c.Dir, hook)
	}
	l := processLife{dir: c.Dir, nc: nc, js: js, doing: c.Doing, last: c.Last, hook: hook, log: zerolog.Nop()}
	return l.live(context.Background())
}

// TestKillAtPoints kills the index with SIGKILL at every point of the one list,
// before and after its step. The next process finds an index that is whole, and goes
// on to the one that is built afresh. It fails when a point is not come by.
//
//	go test ./indexer -run TestKillAtPoints -pointkills 20
func TestKillAtPoints(t *testing.T) {
	t.Parallel()
	seed, rng := random(t)
	th := newTheatre(t, seed)
	for range max(1, *pointKillsFlag) {
		eachPoint(t, rng, *pointKillsFlag > 0, func(t *testing.T, at fault.Point, done bool, nth int) {
			scene := scenes[at]
			st := th.of(scene.from)
			c := pointChild{
				Dir: st.copyOf(t, scene.from), URL: st.server.ClientURL(), Doing: scene.doing, Last: st.last, At: at, Done: done, Nth: nth,
			}
			c.run(t)
			st.healthy(t, rng, c.Dir)
		})
	}
}

// run runs the child until it has killed itself.
func (c pointChild) run(t *testing.T) {
	t.Helper()
	as, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), bounded)
	defer cancel()
	child := exec.CommandContext(ctx, os.Args[0], "-test.run=^$")
	child.Env = append(os.Environ(), childPoint+"="+string(as))
	var out, errs bytes.Buffer
	child.Stdout, child.Stderr = &out, &errs
	forks.Lock()
	err = child.Start()
	forks.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	err = child.Wait()
	if out.String() != lineHere+"\n" || child.ProcessState.ExitCode() != -1 {
		t.Fatalf("the %dth time was not come by: %v, the child said %q %s", c.Nth, err, out.String(), errs.String())
	}
}

package rebuild_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/assigndex/assigndex/indexer/fault"
	"github.com/assigndex/assigndex/indexer/rebuild"
)

var killsFlag = flag.Int("kills", 1, "how often TestKillAtPoints goes through all points")

// points are those that a rebuild comes by.
var points = slices.Concat(fault.Build, fault.Swaps)

// childVariable says that this process is the child of TestKillAtPoints, and what it is
// to do.
const childVariable = "ASSIGNDEX_TEST_CHILD_REBUILD"

// child rebuilds the index of a data directory and kills itself on the way.
type child struct {
	Data, URL string
	Live      bool // while the index is served
	At        fault.Point
	Done      bool
}

// lineHere is what the child says before it kills itself.
const lineHere = "here"

// beKilled runs the child. It returns only when it was not killed.
func beKilled(as string) int {
	var c child
	err := json.Unmarshal([]byte(as), &c)
	if err == nil {
		err = c.live()
	}
	fmt.Fprintln(os.Stderr, "child:", err)
	return 1
}

func (c child) live() error {
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		return err
	}
	o := options(c.URL, c.Data)
	o.Fault = func(at fault.Point, done bool) error {
		if at != c.At || done != c.Done {
			return nil
		}
		fmt.Println(lineHere)
		if err := self.Kill(); err != nil {
			return err
		}
		select {} // it does not come at once
	}
	if !c.Live {
		_, err := rebuild.Offline(context.Background(), o, rebuild.Request{}, nil)
		return err
	}
	h, err := serve(c.URL, c.Data)
	if err != nil {
		return err
	}
	_, err = rebuild.New(h.Host, o).Rebuild(context.Background(), rebuild.Request{}, nil)
	return errors.Join(err, h.stop())
}

// run runs the child until it has killed itself.
func (c child) run(t *testing.T) {
	t.Helper()
	as, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), bounded)
	defer cancel()
	process := exec.CommandContext(ctx, os.Args[0], "-test.run=^$")
	process.Env = append(os.Environ(), childVariable+"="+string(as))
	var out, errs bytes.Buffer
	process.Stdout, process.Stderr = &out, &errs
	err = process.Run()
	if out.String() != lineHere+"\n" || process.ProcessState.ExitCode() != -1 {
		t.Fatalf("the point was not come by: %v, the child said %q %s", err, out.String(), errs.String())
	}
}

// TestKillAtPoints kills rebuilds with SIGKILL at every point, before and after its
// step, of a stopped server and of one that serves. What is current afterwards is an
// index that is whole and says what the stream does, and the next rebuild ends.
//
//	go test ./indexer/rebuild -run TestKillAtPoints -kills 20
func TestKillAtPoints(t *testing.T) {
	seed, _ := random(t)
	s := newSource(t, seed)
	s.publish(400)
	data := s.filled()
	want := s.digest(data)
	for round := range *killsFlag {
		for i, at := range points {
			for _, done := range []bool{false, true} {
				live := (i+round)%2 == 0
				t.Run(fmt.Sprintf("%s done %v live %v", at, done, live), func(t *testing.T) {
					child{Data: data, URL: s.url, Live: live, At: at, Done: done}.run(t)
					of := *s
					of.T = t
					if got := of.digest(data); got != want {
						t.Fatalf("after the kill the digest is %s, want %s", got, want)
					}
					// As a start does, and whatever was left.
					report, err := rebuild.Offline(t.Context(), options(s.url, data), rebuild.Request{RequireEqual: true}, nil)
					if err != nil || !report.Swapped || report.Digest != want {
						t.Fatalf("the next rebuild: %+v, %v", report, err)
					}
					if got := of.digest(data); got != want || len(generations(t, data)) != 1 {
						t.Fatalf("the digest is %s, want %s; generations are %v", got, want, generations(t, data))
					}
				})
			}
		}
	}
}

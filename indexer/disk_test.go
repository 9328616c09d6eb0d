package indexer_test

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer"
)

// gate is a disk that has room while it is open.
type gate struct {
	waits atomic.Int64 // how often Wait was called

	mu     sync.Mutex
	opened chan struct{} // closed: there is room
}

func newGate() *gate {
	g := &gate{}
	g.set(true)
	return g
}

func (g *gate) set(room bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !room {
		g.opened = make(chan struct{})
		return
	}
	if g.opened == nil {
		g.opened = make(chan struct{})
	}
	close(g.opened)
}

func (g *gate) Wait(ctx context.Context) error {
	g.waits.Add(1)
	g.mu.Lock()
	opened := g.opened
	g.mu.Unlock()
	select {
	case <-opened:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g *gate) Low(string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-g.opened:
		return false
	default:
		return true
	}
}

func (g *gate) Room(int64) bool { return !g.Low("") }

// TestNothingIsAppliedWithoutRoom stops the index for want of room: it serves what
// it has, its lag is seen to grow past what it was sent, and it goes on by itself.
func TestNothingIsAppliedWithoutRoom(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	n := s.node()
	disk := newGate()
	n.start(indexer.Options{Disk: disk})
	before := s.publish(say(events.AssignmentUpserted, `{"usr_id":"u","ent_id":"e"}`))
	n.wait(before)

	disk.set(false)
	var all []events.Message
	for i := range 3000 { // more than what may wait to be folded
		all = append(all, say(events.AssignmentUpserted, `{"usr_id":"u","ent_id":"e%d"}`, i))
	}
	last := s.publish(all...)
	timeout := time.After(bounded)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for n.index.Lag(time.Now()).Head < last {
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("the lag stands at %+v, the stream ends at %d", n.index.Lag(time.Now()), last)
		}
	}
	if l := n.index.Lag(time.Now()); l.Applied != before || l.Sequences != last-before {
		t.Errorf("without room the lag is %+v", l)
	}
	n.digest(before)

	disk.set(true)
	n.wait(last)
	n.stop()
}

// TestALongEventLooksAtTheDisk: one event may write any number of rows, so the disk
// is looked at while it is applied as well.
func TestALongEventLooksAtTheDisk(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	n := s.node()
	disk := newGate()
	n.start(indexer.Options{Disk: disk})
	const rows = 3000 // of which each takes at least four writes
	all := []events.Message{say(events.EntitlementUpserted, `{"ent_id":"e","app_id":"a"}`)}
	for i := range rows {
		all = append(all, say(events.AssignmentUpserted, `{"usr_id":"u%d","ent_id":"e"}`, i))
	}
	n.wait(s.publish(all...))
	before := disk.waits.Load()
	n.wait(s.publish(say(events.EntitlementDeleted, `{"ent_id":"e"}`)))
	if waits := disk.waits.Load() - before; waits < 2 {
		t.Errorf("the disk was looked at %d times while %d rows were removed", waits, rows)
	}
}

// TestRunEndsWhileTheDiskHasNoRoom: who stops the server does not wait for room.
func TestRunEndsWhileTheDiskHasNoRoom(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	n := s.node()
	disk := newGate()
	disk.set(false)
	n.start(indexer.Options{Disk: disk})
	s.publish(say(events.AssignmentUpserted, `{"usr_id":"u","ent_id":"e"}`))
	for deadline := time.Now().Add(bounded); disk.waits.Load() == 0; {
		if time.Now().After(deadline) {
			t.Fatal("nobody asks for room")
		}
		runtime.Gosched()
	}
	n.stop()
}

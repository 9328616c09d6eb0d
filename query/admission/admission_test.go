package admission

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestPool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(2, 1, time.Second)
		for range 2 {
			if err := p.Enter(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		// One waits, until its patience is over or its context ends.
		began := time.Now()
		if err := p.Enter(t.Context()); !errors.Is(err, ErrFull) || time.Since(began) != time.Second {
			t.Fatalf("%v after %s", err, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if err := p.Enter(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		// While one waits another is turned away at once, and the one that waits gets
		// the place that becomes free.
		entered := make(chan error)
		go func() { entered <- p.Enter(t.Context()) }()
		synctest.Wait()
		if began = time.Now(); p.Waiting() != 1 {
			t.Fatalf("%d wait", p.Waiting())
		}
		if err := p.Enter(t.Context()); !errors.Is(err, ErrFull) || time.Since(began) != 0 {
			t.Fatalf("%v after %s", err, time.Since(began))
		}
		p.Leave()
		if err := <-entered; err != nil {
			t.Fatal(err)
		}
		if p.Running() != 2 || p.Refused() != 2 || p.Waiting() != 0 {
			t.Errorf("%d run, %d wait, %d were refused", p.Running(), p.Waiting(), p.Refused())
		}
		// Who pauses makes room, and comes back whatever there is.
		paused, goOn := make(chan struct{}), make(chan struct{})
		failed := errors.New("failed")
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := p.Pause(func() error { close(paused); <-goOn; return failed }); !errors.Is(err, failed) {
				t.Error(err)
			}
		})
		<-paused
		if err := p.Enter(t.Context()); err != nil {
			t.Fatal(err)
		}
		close(goOn)
		synctest.Wait()
		p.Leave()
		wg.Wait()
		if p.Running() != 2 {
			t.Errorf("%d run", p.Running())
		}
	})
}

func TestCallersRate(t *testing.T) {
	c := NewCallers(Limits{PerSecond: 10, Burst: 3})
	now := time.Unix(0, 0)
	for i := range 3 {
		if _, ok := c.Enter("a", now); !ok {
			t.Fatalf("request %d of the burst was refused", i)
		}
	}
	retry, ok := c.Enter("a", now)
	if ok || retry <= 90*time.Millisecond || retry > 100*time.Millisecond {
		t.Fatalf("%v, again after %s", ok, retry)
	}
	if _, ok := c.Enter("b", now); !ok {
		t.Fatal("another caller was refused")
	}
	if _, ok := c.Enter("a", now.Add(retry)); !ok {
		t.Fatal("refused at the time that was told")
	}
	if _, ok := c.Enter("a", now.Add(retry)); ok {
		t.Fatal("two came of one")
	}
}

func TestCallersAtOnce(t *testing.T) {
	c := NewCallers(Limits{AtOnce: 2})
	now := time.Unix(0, 0)
	for range 2 {
		if _, ok := c.Enter("a", now); !ok {
			t.Fatal("refused")
		}
	}
	if retry, ok := c.Enter("a", now); ok || retry <= 0 {
		t.Fatalf("a third: %v, %s", ok, retry)
	}
	if _, ok := c.Enter("b", now); !ok {
		t.Fatal("another caller was refused")
	}
	c.Leave("a")
	if _, ok := c.Enter("a", now); !ok {
		t.Fatal("refused after one has left")
	}
}

func TestCallersWithoutLimits(t *testing.T) {
	c := NewCallers(Limits{})
	for range 1000 {
		if _, ok := c.Enter("a", time.Unix(0, 0)); !ok {
			t.Fatal("refused")
		}
	}
	if len(c.callers) != 0 {
		t.Error("it remembers callers for nothing")
	}
}

// Who is remembered is bounded, and nobody gets more than a new burst out of being
// forgotten.
func TestCallersAreForgotten(t *testing.T) {
	c := NewCallers(Limits{PerSecond: 1, Burst: 1, AtOnce: 1})
	now := time.Unix(0, 0)
	if _, ok := c.Enter("busy", now); !ok {
		t.Fatal("refused")
	}
	for i := range 3 * maxIdle {
		name := strconv.Itoa(i)
		if _, ok := c.Enter(name, now); !ok {
			t.Fatal("refused")
		}
		c.Leave(name)
		if len(c.callers) > maxIdle {
			t.Fatalf("%d callers are remembered", len(c.callers))
		}
	}
	if _, ok := c.Enter("busy", now.Add(time.Hour)); ok {
		t.Error("a caller with a request under way was forgotten")
	}
}

// A slow client's request gives its place back, and as few of them as may.
func TestAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(1, 0, 0)
		goOn := make(chan struct{})
		var wg sync.WaitGroup
		slow := func() {
			if err := p.Enter(t.Context()); err != nil {
				t.Error(err)
			}
			wg.Go(func() {
				defer p.Leave()
				_ = p.Aside(time.Second, func() error { <-goOn; return nil })
			})
			synctest.Wait()
		}
		slow()
		if p.Running() != 1 {
			t.Fatal("it gave its place back at once")
		}
		<-time.After(time.Second) // of the test's own clock
		synctest.Wait()
		if p.Running() != 0 {
			t.Fatal("it keeps its place")
		}
		slow()
		<-time.After(time.Hour)
		synctest.Wait()
		if p.Running() != 1 {
			t.Fatal("more of them are aside than the pool has places")
		}
		close(goOn)
		wg.Wait()
		if p.Running() != 0 || p.aside.Load() != 0 {
			t.Fatalf("%d run, %d are aside", p.Running(), p.aside.Load())
		}
		// Nothing is left behind by what is quick, fails or panics.
		if err := p.Enter(t.Context()); err != nil {
			t.Fatal(err)
		}
		failed := errors.New("failed")
		if err := p.Aside(time.Second, func() error { return failed }); !errors.Is(err, failed) {
			t.Fatal(err)
		}
		func() {
			defer func() { _ = recover() }()
			_ = p.Aside(time.Second, func() error { <-time.After(time.Minute); panic("in f") })
		}()
		if p.Running() != 1 || p.aside.Load() != 0 {
			t.Fatalf("%d run, %d are aside", p.Running(), p.aside.Load())
		}
	})
}

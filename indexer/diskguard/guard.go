package diskguard

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// Place is a directory that is written to.
type Place struct {
	Name string // what operators and metrics are told, such as "index"
	Dir  string // need not exist yet: then its parent is looked at
}

// Options make a Guard.
type Options struct {
	Places []Place
	// Reserve is how much has to stay free on each place's file system, in bytes; 0 or
	// less: nothing is guarded.
	Reserve int64
	// Free gives what is free for us on the file system of a directory, in bytes; nil:
	// FreeBytes.
	Free   func(dir string) (int64, error)
	Logger zerolog.Logger
}

// every is how often Run looks. Two looks apart the stream and the index together
// write less than 100 MB on the fastest disks that we measured.
const every = 500 * time.Millisecond

// Guard knows where there is room.
type Guard struct {
	opts Options

	mu     sync.Mutex // guards what follows
	places []state
	enough chan struct{} // closed and replaced when a place has become well again
}

// state is what is known of a place.
type state struct {
	Place
	free int64 // at the last look that told
	low  bool
	err  error // of the last look
}

// New makes a guard and takes the first look.
func New(o Options) *Guard {
	if o.Free == nil {
		o.Free = FreeBytes
	}
	g := &Guard{opts: o, enough: make(chan struct{})}
	for _, p := range o.Places {
		g.places = append(g.places, state{Place: p})
	}
	g.Look()
	return g
}

// Run looks again and again until the context ends, which it returns.
func (g *Guard) Run(ctx context.Context) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			g.Look()
		}
	}
}

// Look looks at every place now. It costs a system call each.
func (g *Guard) Look() {
	g.mu.Lock()
	defer g.mu.Unlock()
	well := false
	for i := range g.places {
		p := &g.places[i]
		was := p.low
		g.look(p)
		well = well || was && !p.low
	}
	if well {
		close(g.enough)
		g.enough = make(chan struct{})
	}
}

// look brings a place up to date. After a look that told nothing it stays as it
// was: what was low stays low.
func (g *Guard) look(p *state) {
	free, err := g.opts.Free(p.Dir)
	if err != nil {
		if p.err == nil {
			g.opts.Logger.Warn().Err(err).Str("place", p.Name).Str("dir", p.Dir).Msg("it is not known how much is free on the disk")
		}
		p.err = err
		return
	}
	p.free, p.err = free, nil
	switch {
	case g.opts.Reserve <= 0:
	case !p.low && free < g.opts.Reserve:
		p.low = true
		g.opts.Logger.Error().Str("place", p.Name).Str("dir", p.Dir).Int64("free_bytes", free).Int64("min_free_bytes", g.opts.Reserve).
			Msg("the disk is almost full: no event is taken until there is room")
	case p.low && free >= g.again():
		p.low = false
		g.opts.Logger.Info().Str("place", p.Name).Str("dir", p.Dir).Int64("free_bytes", free).Msg("there is room on the disk again")
	}
}

// again is how much has to be free for a place that was low to be well, in bytes.
func (g *Guard) again() int64 { return g.opts.Reserve + g.opts.Reserve/4 }

// Low reports whether a place, or with no name any place, was low at the last look.
func (g *Guard) Low(name string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.low(name)
}

func (g *Guard) low(name string) bool {
	for i := range g.places {
		if p := &g.places[i]; p.low && (name == "" || name == p.Name) {
			return true
		}
	}
	return false
}

// Free gives the bytes that were free at a place at the last look that told, 0 before.
func (g *Guard) Free(name string) int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range g.places {
		if p := &g.places[i]; p.Name == name {
			return p.free
		}
	}
	return 0
}

// Wait looks, and returns when no place is low, or with the context's error.
func (g *Guard) Wait(ctx context.Context) error {
	g.Look()
	for {
		g.mu.Lock()
		low, enough := g.low(""), g.enough
		g.mu.Unlock()
		if !low {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-enough:
		}
	}
}

// Room looks, and reports whether so many more bytes could be written to every
// place without touching the reserve. Where nothing is guarded or known there is.
func (g *Guard) Room(bytes int64) bool {
	g.Look()
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range g.places {
		p := &g.places[i]
		if g.opts.Reserve > 0 && p.err == nil && (p.low || p.free-g.opts.Reserve < bytes) {
			return false
		}
	}
	return true
}

// Troubles tells operators what is wrong, nothing when all is well.
func (g *Guard) Troubles() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var all []string
	for i := range g.places {
		p := &g.places[i]
		if p.low {
			all = append(all, fmt.Sprintf("the disk of the %s is almost full, %s are free: no event is taken until it is %s (min-free-bytes is %s)",
				p.Name, size(p.free), size(g.again()), size(g.opts.Reserve)))
		}
		if p.err != nil && g.opts.Reserve > 0 {
			all = append(all, fmt.Sprintf("it is not known how much is free on the disk of the %s: %v", p.Name, p.err))
		}
	}
	return all
}

// size writes bytes as a person reads them.
func size(n int64) string {
	if n < 1<<20 {
		return fmt.Sprintf("%d bytes", n)
	}
	return fmt.Sprintf("%d MiB", n>>20)
}

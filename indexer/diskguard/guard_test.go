package diskguard_test

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/indexer/diskguard"
)

// disk is a file system that says what the test wants.
type disk struct {
	free   atomic.Int64
	broken atomic.Bool
}

var errBroken = errors.New("no answer")

func (d *disk) told(string) (int64, error) {
	if d.broken.Load() {
		return 0, errBroken
	}
	return d.free.Load(), nil
}

func (d *disk) guard(log *bytes.Buffer, reserve int64) *diskguard.Guard {
	return diskguard.New(diskguard.Options{
		Places: []diskguard.Place{{Name: "index", Dir: "x"}}, Reserve: reserve, Free: d.told, Logger: zerolog.New(log),
	})
}

func TestAPlaceIsLowBelowTheReserveAndWellAboveMore(t *testing.T) {
	var d disk
	var log bytes.Buffer
	d.free.Store(400)
	g := d.guard(&log, 400)
	for _, c := range []struct {
		free    int64
		broken  bool
		low     bool
		changes bool
	}{
		{free: 400},
		{free: 399, low: true, changes: true},
		{free: 0, low: true},
		{free: 499, low: true}, // not before a quarter more is free
		{free: 500, changes: true},
		{free: 400},
		{free: 100, broken: true, changes: true}, // not known: as it was
		{free: 100, low: true, changes: true},
		{free: 900, broken: true, low: true, changes: true},
		{free: 900, changes: true},
	} {
		d.free.Store(c.free)
		d.broken.Store(c.broken)
		log.Reset()
		g.Look()
		g.Look()
		lines := 0
		if c.changes {
			lines = 1
		}
		if g.Low("index") != c.low || g.Low("") != c.low || strings.Count(log.String(), "\n") != lines {
			t.Errorf("%+v: low %v, logged %q", c, g.Low("index"), log.String())
		}
		if g.Low("stream") {
			t.Errorf("%+v: a place that is not watched is low", c)
		}
		if wrong := c.low || c.broken; (len(g.Troubles()) > 0) != wrong {
			t.Errorf("%+v: the troubles are %q", c, g.Troubles())
		}
	}
}

func TestWaitUntilThereIsRoom(t *testing.T) {
	var d disk
	d.free.Store(500)
	g := d.guard(new(bytes.Buffer), 400)
	if err := g.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.free.Store(100) // Wait looks itself
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := g.Wait(ended); !errors.Is(err, context.Canceled) {
		t.Fatalf("Wait on a full disk: %v", err)
	}
	waited := make(chan error, 1)
	go func() { waited <- g.Wait(t.Context()) }()
	run, stop := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- g.Run(run) }()
	d.free.Store(1000)
	if err := <-waited; err != nil {
		t.Fatal(err)
	}
	stop()
	if err := <-ran; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

func TestRoomLeavesTheReserve(t *testing.T) {
	var d disk
	d.free.Store(1000)
	g := d.guard(new(bytes.Buffer), 400)
	if g.Free("index") != 1000 || g.Free("stream") != 0 {
		t.Errorf("free are %d and %d", g.Free("index"), g.Free("stream"))
	}
	if !g.Room(600) || g.Room(601) {
		t.Error("of 1000 with a reserve of 400 there is room for 600")
	}
	d.free.Store(399)
	if g.Room(0) {
		t.Error("there is room on a low disk")
	}
	d.broken.Store(true)
	if !d.guard(new(bytes.Buffer), 400).Room(1 << 40) {
		t.Error("a file system that does not tell is guarded")
	}
	d.broken.Store(false)
	off := d.guard(new(bytes.Buffer), 0)
	if !off.Room(1<<40) || off.Low("") || off.Wait(t.Context()) != nil {
		t.Error("without a reserve something is guarded")
	}
}

func TestMetrics(t *testing.T) {
	var d disk
	d.free.Store(7)
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(d.guard(new(bytes.Buffer), 400))
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			values[f.GetName()+" "+m.GetLabel()[0].GetValue()] = m.GetGauge().GetValue()
		}
	}
	if want := map[string]float64{"assigndex_disk_free_bytes index": 7, "assigndex_disk_low index": 1}; !maps.Equal(values, want) {
		t.Errorf("the metrics are %v, want %v", values, want)
	}
}

func TestFreeBytes(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Join(dir, "not", "yet")} {
		free, err := diskguard.FreeBytes(d)
		if errors.Is(err, errors.ErrUnsupported) {
			t.Skip("this system does not tell what is free")
		}
		if err != nil || free <= 0 {
			t.Errorf("%s: %d, %v", d, free, err)
		}
	}
}

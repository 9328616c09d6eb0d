package config

import (
	"fmt"
	"time"
)

// Snapshots say when snapshots of the index go to the JetStream object store, which
// ones are kept there, and whether a new index begins with one.
type Snapshots struct {
	Every     time.Duration // the age of the newest at which another one is taken; 0: none is taken by itself
	Keep      int           // how many are kept
	MaxAge    time.Duration // at which they are removed, but for the newest; 0: any
	Bootstrap bool          // a new index begins with the newest one that suits
}

const (
	minSnapshotEvery = time.Minute
	maxSnapshots     = 1000

	settingSnapshotEvery  = "snapshot-every"
	settingSnapshotKeep   = "snapshot-keep"
	settingSnapshotMaxAge = "snapshot-max-age"
)

// snapshotSettings are the rows of serveSettings about snapshots.
var snapshotSettings = []setting[Serve]{
	{
		name: settingSnapshotEvery, preset: "0", form: formDuration,
		help: "how old the newest snapshot in the JetStream object store becomes before another one is taken, at least 1m; 0: none is taken by itself",
		set:  into(func(s *Serve) *time.Duration { return &s.Snapshots.Every }, parseSnapshotEvery),
	},
	{
		name: settingSnapshotKeep, preset: "3", form: formCount,
		help: "how many snapshots are kept in the object store",
		set:  into(func(s *Serve) *int { return &s.Snapshots.Keep }, parseCount(1, maxSnapshots)),
	},
	{
		name: settingSnapshotMaxAge, preset: "0", form: formDuration,
		help: "age at which snapshots are removed from the object store, but for the newest; 0: any",
		set:  into(func(s *Serve) *time.Duration { return &s.Snapshots.MaxAge }, parseDuration),
	},
	{
		name: "bootstrap", preset: "false", form: formSwitch,
		help: "begin a new index with the newest snapshot in the object store that the stream still reaches; an index that is there is left alone",
		set:  into(func(s *Serve) *bool { return &s.Snapshots.Bootstrap }, parseSwitch),
	},
}

func parseSnapshotEvery(text string) (time.Duration, error) {
	d, err := parseDuration(text)
	if err == nil && d > 0 && d < minSnapshotEvery {
		return 0, bad("is shorter than snapshots are of use", "write at least 1m, or 0 to take none")
	}
	return d, err
}

// warnings tells of snapshots that do not go with the stream's limit of age.
func (s Snapshots) warnings(streamMaxAge time.Duration, from map[string]string) []Warning {
	var all []Warning
	switch {
	case streamMaxAge > 0 && s.Every == 0:
		all = append(all, Warning{Name: settingSnapshotEvery, Text: fmt.Sprintf(
			"stream-max-age is %s and snapshot-every is 0: when the stream has dropped its first events, a new replica or a rebuild has nothing to "+
				"begin with; set snapshot-every to less than stream-max-age", streamMaxAge)})
	case streamMaxAge > 0 && s.Every >= streamMaxAge:
		all = append(all, Warning{Name: settingSnapshotEvery, Text: fmt.Sprintf(
			"snapshot-every is %s and stream-max-age is %s: the stream drops events before the next snapshot holds them, so that a new replica or a rebuild "+
				"cannot reach the stream; set snapshot-every to less than stream-max-age", s.Every, streamMaxAge)})
	}
	if s.Every == 0 {
		for _, name := range []string{settingSnapshotKeep, settingSnapshotMaxAge} {
			if source, given := from[name]; given {
				all = append(all, idleWarning(name, source, "snapshot-every is 0, and only a server with a schedule removes snapshots"))
			}
		}
	}
	return all
}

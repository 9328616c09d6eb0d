package store

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/assigndex/assigndex/indexer/fold"
)

// Format is the version of keys and stored values. Every change of either takes
// a new version and a line here.
//
//	1: the first
//	2: families x (entitlement attributes) and c (change log); the ladder became a
//	   timeline with a rung for each batch
const Format = 2

// ErrFormat is returned by Open for a directory that another version wrote, or
// that is not an index.
var ErrFormat = errors.New("not an index of this version")

const markerFile = "ASSIGNDEX"

// marker is the content of the marker file.
type marker struct {
	Format int `json:"format"`
	Fold   int `json:"fold"`
}

// checkMarker makes sure that dir is empty or an index of this version, and
// marks an empty one.
func checkMarker(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	path := filepath.Join(dir, markerFile)
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := refuseUnfinished(dir); err != nil {
			return err
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if e.Name() != markerFile+".tmp" { // left by a crash during the first start
				return fmt.Errorf("%w: %s holds %q but no file %s; name an empty directory or one that assigndex made", ErrFormat, dir, e.Name(), markerFile)
			}
		}
		return writeMarker(path)
	}
	if err != nil {
		return err
	}
	if err := checkMarked(dir, path, content); err != nil {
		return err
	}
	// Of an import that came to its end but for this.
	if err := os.Remove(filepath.Join(dir, unfinishedFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// readMarker makes sure that dir is an index of this version, and changes nothing.
func readMarker(dir string) error {
	path := filepath.Join(dir, markerFile)
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := refuseUnfinished(dir); err != nil {
			return err
		}
		return fmt.Errorf("%w: %s has no file %s", ErrFormat, dir, markerFile)
	}
	if err != nil {
		return err
	}
	return checkMarked(dir, path, content)
}

func checkMarked(dir, path string, content []byte) error {
	m, err := parseMarker(path, content)
	if err != nil {
		return err
	}
	if m.Format != Format || m.Fold != fold.Version {
		return fmt.Errorf("%w: %s has format %d and fold %d, this program has format %d and fold %d; "+
			"use the program that wrote it, or have the index made again from the stream with rebuild --data-dir",
			ErrFormat, dir, m.Format, m.Fold, Format, fold.Version)
	}
	return nil
}

func parseMarker(path string, content []byte) (m marker, err error) {
	if err := json.Unmarshal(content, &m); err != nil {
		return m, fmt.Errorf("%w: %s cannot be read (%w); have the index made again from the stream with rebuild --data-dir", ErrFormat, path, err)
	}
	return m, nil
}

// Age tells how the version of an index compares with this program's.
type Age int

// The ages of an index.
const (
	Current  Age = iota // this program's, or there is none
	OldRules            // of older rules of the fold in the same format: Options.OldRules opens it
	Older               // of an older format, which this program cannot read
	Newer               // of a newer format or newer rules
)

// AgeOf reads the age of the index in a directory. It returns ErrFormat for a marker
// that cannot be read.
func AgeOf(dir string) (Age, error) {
	path := filepath.Join(dir, markerFile)
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Current, nil // Open says what else there may be
	}
	if err != nil {
		return Current, err
	}
	m, err := parseMarker(path, content)
	switch {
	case err != nil:
		return Current, err
	case m.Format > Format, m.Fold > fold.Version:
		return Newer, nil
	case m.Format < Format:
		return Older, nil
	case m.Fold < fold.Version:
		return OldRules, nil
	default:
		return Current, nil
	}
}

func writeMarker(path string) error {
	content, err := json.Marshal(marker{Format: Format, Fold: fold.Version}, jsontext.WithIndent("  "))
	if err != nil {
		return err
	}
	tmp := path + ".tmp"
	if err := writeSynced(tmp, append(content, '\n')); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func writeSynced(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Sync(), f.Close())
}

// ErrBusy is returned by Idle for an index that a process has open.
var ErrBusy = errors.New("the index is open in another process")

// Idle makes sure that a directory holds an index of this version that no process
// has open. It changes nothing. For an index of another version it is ErrBusy or
// ErrFormat.
func Idle(dir string) error {
	other := readMarker(dir)
	if other != nil && !errors.Is(other, ErrFormat) {
		return other
	}
	open, err := busy(dir)
	if err == nil && open {
		err = fmt.Errorf("%w: %s", ErrBusy, dir)
	}
	return cmp.Or(err, other)
}

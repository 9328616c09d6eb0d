package snapshotbucket

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/assigndex/assigndex/indexer/position"
)

// Meta describes a snapshot.
type Meta struct {
	// At is the position of the index in its stream. Its times are not kept here, only
	// in the snapshot.
	At     position.Position
	Floor  uint64    // the lowest sequence that can be read
	Taken  time.Time // when it was begun, by the clock of who took it
	Format int       // of the index
	Fold   int       // of the index
}

// Stored is a snapshot in the bucket.
type Stored struct {
	Meta
	Name  string // of the object
	Bytes int64  // as stored

	object jetstream.ObjectInfo
}

// The headers of an object.
const (
	headerSeq         = "Assigndex-Seq"
	headerFloor       = "Assigndex-Floor"
	headerStream      = "Assigndex-Stream-Name"
	headerCreated     = "Assigndex-Stream-Created"
	headerIncarnation = "Assigndex-Stream"
	headerPartings    = "Assigndex-Partings"
	headerFingerprint = "Assigndex-Fingerprint"
	headerTaken       = "Assigndex-Taken"
	headerFormat      = "Assigndex-Format"
	headerFold        = "Assigndex-Fold"
)

// name is the name of the object: names sort by sequence, and then by time.
func (m *Meta) name() string {
	return fmt.Sprintf("%020d-%s", m.At.Seq, m.Taken.UTC().Format("20060102T150405.000000000Z"))
}

func (m *Meta) headers() nats.Header {
	h := nats.Header{}
	for name, value := range map[string]string{
		headerSeq: strconv.FormatUint(m.At.Seq, 10), headerFloor: strconv.FormatUint(m.Floor, 10),
		headerStream: m.At.Stream.Name, headerCreated: m.At.Stream.Created.UTC().Format(time.RFC3339Nano),
		headerIncarnation: m.At.Stream.Incarnation, headerPartings: strconv.FormatUint(m.At.Stream.Partings, 10),
		headerFingerprint: hex.EncodeToString(m.At.Fingerprint), headerTaken: m.Taken.UTC().Format(time.RFC3339Nano),
		headerFormat: strconv.Itoa(m.Format), headerFold: strconv.Itoa(m.Fold),
	} {
		h[name] = []string{value}
	}
	return h
}

// parseMeta reads the headers of an object. Every one must be there.
func parseMeta(h nats.Header) (Meta, error) {
	var m Meta
	var errs []error
	field := func(name string, parse func(string) error) {
		values := h[name]
		if len(values) != 1 {
			errs = append(errs, fmt.Errorf("header %s is not there once", name))
			return
		}
		if err := parse(values[0]); err != nil {
			errs = append(errs, fmt.Errorf("header %s: %w", name, err))
		}
	}
	number := func(into *uint64) func(string) error {
		return func(text string) (err error) {
			*into, err = strconv.ParseUint(text, 10, 64)
			return err
		}
	}
	version := func(into *int) func(string) error {
		return func(text string) (err error) {
			*into, err = strconv.Atoi(text)
			return err
		}
	}
	instant := func(into *time.Time) func(string) error {
		return func(text string) (err error) {
			*into, err = time.Parse(time.RFC3339Nano, text)
			return err
		}
	}
	word := func(into *string) func(string) error {
		return func(text string) error {
			*into = text
			return nil
		}
	}
	field(headerSeq, number(&m.At.Seq))
	field(headerFloor, number(&m.Floor))
	field(headerStream, word(&m.At.Stream.Name))
	field(headerCreated, instant(&m.At.Stream.Created))
	field(headerIncarnation, word(&m.At.Stream.Incarnation))
	field(headerPartings, number(&m.At.Stream.Partings))
	field(headerFingerprint, func(text string) (err error) {
		m.At.Fingerprint, err = hex.DecodeString(text)
		return err
	})
	field(headerTaken, instant(&m.Taken))
	field(headerFormat, version(&m.Format))
	field(headerFold, version(&m.Fold))
	return m, errors.Join(errs...)
}

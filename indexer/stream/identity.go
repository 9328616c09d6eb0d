package stream

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/assigndex/assigndex/indexer/position"
)

// Errors of a stream that cannot be read on from the index's position.
var (
	// ErrMismatch is returned when the stream is not the one that the index was
	// built from, or no longer holds what the index has read.
	ErrMismatch = errors.New("the stream is not the one that this index was built from")
	// ErrTrimmed is returned when the stream no longer holds the message after
	// the index's position, so that events would be passed over.
	ErrTrimmed = errors.New("the stream no longer holds the next message")
	// ErrLadder is returned when a Ladder failed: a fault of the index' own storage,
	// which does not pass.
	ErrLadder = errors.New("read what the index has kept of the stream")
)

// identityOf tells a stream by its name and creation time, for an index that has
// parted so many times from what it had read. The incarnation depends on nothing
// else, so that replicas that have the same history take each other's cursors.
func identityOf(info *jetstream.StreamInfo, partings uint64) position.Identity {
	return identity(info.Config.Name, info.Created.UTC(), partings)
}

// After gives the identity of a stream for an index that has parted once more from what
// it had read.
func After(id position.Identity) position.Identity {
	return identity(id.Name, id.Created.UTC(), id.Partings+1)
}

func identity(name string, created time.Time, partings uint64) position.Identity {
	text := name + "\x00" + created.Format(time.RFC3339Nano)
	if partings > 0 {
		text += "\x00" + strconv.FormatUint(partings, 10)
	}
	sum := sha256.Sum256([]byte(text))
	return position.Identity{Name: name, Created: created, Incarnation: hex.EncodeToString(sum[:8]), Partings: partings}
}

// Fingerprint tells a message from every other one that a stream could hold at
// its sequence: 16 bytes of a hash over its time, subject, headers and body.
func (m *Message) Fingerprint() []byte {
	h := sha256.New()
	number := func(n int64) {
		var b [8]byte
		binary.BigEndian.PutUint64(b[:], uint64(n))
		h.Write(b[:])
	}
	field := func(text string) {
		number(int64(len(text)))
		h.Write([]byte(text))
	}
	number(m.Time.UnixNano())
	// A message that is read by its sequence comes as JSON, where the server
	// replaces what is not UTF-8, byte by byte as this conversion does.
	field(string([]rune(m.Subject)))
	names := make([]string, 0, len(m.Header))
	for name := range m.Header {
		names = append(names, name)
	}
	slices.Sort(names)
	number(int64(len(names)))
	for _, name := range names {
		field(name)
		number(int64(len(m.Header[name])))
		for _, v := range m.Header[name] {
			// The server may pad a value; the client trims what it parses.
			field(strings.TrimSpace(v))
		}
	}
	field(string(m.Data))
	return h.Sum(nil)[:16]
}

// is reports whether the message is the one of a rung at its sequence.
func (m *Message) is(r Rung) bool { return bytes.Equal(m.Fingerprint(), r.Fingerprint) }

// check compares the stream with what the index remembers of it. The error is a
// Parting when it is another one.
func (r *Reader) check(ctx context.Context, info *jetstream.StreamInfo, at position.Position, older Ladder) error {
	switch {
	case info.Config.Name != at.Stream.Name:
		return partingOf(OtherName, info, at)
	case !info.Created.Equal(at.Stream.Created):
		return partingOf(Recreated, info, at)
	case info.State.LastSeq < at.Seq:
		return partingOf(RolledBack, info, at)
	case info.State.FirstSeq > at.Seq+1:
		return partingOf(Trimmed, info, at)
	}
	return r.compare(ctx, info, at, older)
}

// compare looks at the message that was applied last. Where that was erased, the one
// before it that the stream still holds tells as much: a sequence is given to another
// message only with all that follow it.
func (r *Reader) compare(ctx context.Context, info *jetstream.StreamInfo, at position.Position, older Ladder) error {
	rung, ok := Rung{Seq: at.Seq, Fingerprint: at.Fingerprint}, at.Seq > 0
	for ok && rung.Seq >= info.State.FirstSeq {
		if len(rung.Fingerprint) > 0 {
			m, err := r.message(ctx, rung.Seq)
			if err == nil {
				if m.is(rung) {
					return nil
				}
				parting := partingOf(Reused, info, at)
				parting.Differs = rung.Seq
				return parting
			}
			if !errors.Is(err, errNoMessage) {
				return err
			}
		}
		var err error
		if rung, ok, err = older.below(rung.Seq); err != nil {
			return err
		}
	}
	// An index that was restored has read nothing of a stream that begins behind it.
	if at.Seq > 0 && (len(at.Fingerprint) > 0 || info.State.FirstSeq <= at.Seq) {
		r.log.Warn().Uint64("seq", at.Seq).Msg("none of the applied messages is in the stream any more, no fingerprint was checked")
	}
	return nil
}

var errNoMessage = errors.New("no message")

// rawMessage is an answer of the stream's leader. The direct get that the client
// library prefers may be answered by a follower that lags.
type rawMessage struct {
	Message *struct {
		Subject string    `json:"subject"`
		Seq     uint64    `json:"seq"`
		Header  string    `json:"hdrs"` // base64
		Data    string    `json:"data"` // base64
		Time    time.Time `json:"time"`
	} `json:"message"`
	Error *jetstream.APIError `json:"error"`
}

// message reads the message at seq.
func (r *Reader) message(ctx context.Context, seq uint64) (*Message, error) {
	return r.get(ctx, fmt.Appendf(nil, `{"seq":%d}`, seq))
}

// messageFrom reads the first message at or after seq.
func (r *Reader) messageFrom(ctx context.Context, seq uint64) (*Message, error) {
	return r.get(ctx, fmt.Appendf(nil, `{"seq":%d,"next_by_subj":">"}`, seq))
}

func (r *Reader) get(ctx context.Context, request []byte) (*Message, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	reply, err := r.nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+r.stream, request)
	if err != nil {
		return nil, fmt.Errorf("read a message of stream %s: %w", r.stream, err)
	}
	var raw rawMessage
	if err := json.Unmarshal(reply.Data, &raw); err != nil {
		return nil, fmt.Errorf("read a message of stream %s: %w", r.stream, err)
	}
	if raw.Error != nil {
		if raw.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound {
			return nil, errNoMessage
		}
		return nil, fmt.Errorf("read a message of stream %s: %w", r.stream, raw.Error)
	}
	if raw.Message == nil {
		return nil, fmt.Errorf("read a message of stream %s: an answer without a message", r.stream)
	}
	m := &Message{Seq: raw.Message.Seq, Time: raw.Message.Time}
	m.Subject = raw.Message.Subject
	if m.Data, err = base64.StdEncoding.DecodeString(raw.Message.Data); err != nil {
		return nil, fmt.Errorf("read a message of stream %s: %w", r.stream, err)
	}
	header, err := base64.StdEncoding.DecodeString(raw.Message.Header)
	if err != nil {
		return nil, fmt.Errorf("read a message of stream %s: %w", r.stream, err)
	}
	// Whoever may publish may send headers that nobody can read. The client
	// delivers such a message without headers, so that is what it is here, too.
	if h, err := nats.DecodeHeadersMsg(header); err == nil {
		m.Header = h
	}
	return m, nil
}

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
)

// identityOf tells a stream by its name and creation time.
func identityOf(info *jetstream.StreamInfo) position.Identity {
	created := info.Created.UTC()
	sum := sha256.Sum256([]byte(info.Config.Name + "\x00" + created.Format(time.RFC3339Nano)))
	return position.Identity{Name: info.Config.Name, Created: created, Incarnation: hex.EncodeToString(sum[:8])}
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

// check compares the stream with what the index remembers of it.
func (r *Reader) check(ctx context.Context, info *jetstream.StreamInfo, at position.Position) error {
	id := identityOf(info)
	if id.Name != at.Stream.Name || !id.Created.Equal(at.Stream.Created) {
		return fmt.Errorf("%w: it is %s, created %s; the index was built from %s, created %s; "+
			"point assigndex at the right stream, or build a new index in another data directory",
			ErrMismatch, id.Name, id.Created.Format(time.RFC3339Nano), at.Stream.Name, at.Stream.Created.Format(time.RFC3339Nano))
	}
	if info.State.LastSeq < at.Seq {
		return fmt.Errorf("%w: it ends at sequence %d, the index has applied %d; messages were lost after they were read; "+
			"build a new index in another data directory", ErrMismatch, info.State.LastSeq, at.Seq)
	}
	if info.State.FirstSeq > at.Seq+1 {
		return fmt.Errorf("%w: it begins at sequence %d, the index has applied %d; restore an index that has read further, or build a new one",
			ErrTrimmed, info.State.FirstSeq, at.Seq)
	}
	if at.Seq == 0 || len(at.Fingerprint) == 0 {
		return nil
	}
	m, err := r.message(ctx, at.Seq)
	if errors.Is(err, errNoMessage) {
		r.log.Warn().Uint64("seq", at.Seq).Msg("the last applied message is no longer in the stream, its fingerprint was not checked")
		return nil
	}
	if err != nil {
		return err
	}
	if !bytes.Equal(m.Fingerprint(), at.Fingerprint) {
		return fmt.Errorf("%w: the message at sequence %d is another one than the index has applied; "+
			"messages were lost and their sequences given to new ones; "+
			"build a new index in another data directory", ErrMismatch, at.Seq)
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

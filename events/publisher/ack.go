package publisher

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
)

// deniedPoll is how often a wait looks whether the server has refused a permission.
const deniedPoll = 100 * time.Millisecond

const (
	headerStatus       = "Status"
	statusNoResponders = "503"
)

// pubAck is JetStream's answer to a published message.
type pubAck struct {
	Stream    string    `json:"stream"`
	Sequence  uint64    `json:"seq"` // of the last message; of a duplicate: of the message it repeats
	Duplicate bool      `json:"duplicate"`
	Batch     string    `json:"batch"`
	Count     int       `json:"count"` // of messages in the batch
	Error     *apiError `json:"error"`
}

type apiError struct {
	Code        int    `json:"code"` // as of HTTP
	ErrCode     int    `json:"err_code"`
	Description string `json:"description"`
}

// nextReply gives the subject on which the next attempt expects its answer, and
// forgets what earlier attempts may still have received.
func (p *Publisher) nextReply() string {
	for {
		select {
		case <-p.acks:
			continue
		case <-p.status:
			continue
		default:
		}
		break
	}
	p.number++
	return p.inbox + "." + strconv.FormatUint(p.number, 10)
}

// cutIndex reads the index from "<reply>.<index>".
func cutIndex(subject, reply string) (int, bool) {
	rest, ok := strings.CutPrefix(subject, reply+".")
	if !ok {
		return 0, false
	}
	i, err := strconv.Atoi(rest)
	return i, err == nil && i >= 0
}

// patient gives how long to wait for an answer now.
func (p *Publisher) patient() time.Duration {
	if p.stream.retryFor > 0 {
		return min(p.patience, p.stream.retryFor/2) // leave time for another attempt
	}
	return p.patience
}

// await waits for a reply that is wanted. A failure leaves in doubt whether the
// server has what was sent. The connection's last error was before when it was sent.
func (p *Publisher) await(ctx context.Context, before error, wanted func(subject string) bool) (*nats.Msg, *failure) {
	patience := p.patient()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	poll := time.NewTicker(deniedPoll)
	defer poll.Stop()
	for {
		select {
		case msg := <-p.acks:
			if wanted(msg.Subject) && (p.dropAck == nil || !p.dropAck(msg)) {
				return msg, nil
			}
		case <-poll.C:
			if denial := p.deniedSince(before); denial != nil {
				return nil, denial
			}
		case <-p.status:
			return nil, &failure{err: errors.New("the connection was lost before the acknowledgement came"), doubt: true}
		case <-timeout.C:
			p.patience = 2 * patience
			return nil, &failure{err: fmt.Errorf("no acknowledgement within %v", patience), doubt: true}
		case <-ctx.Done():
			return nil, &failure{err: ctx.Err(), doubt: true}
		}
	}
}

// readAck reads an answer; one that is an error is a failure without doubt.
func (p *Publisher) readAck(msg *nats.Msg) (pubAck, *failure) {
	if len(msg.Data) == 0 && msg.Header.Get(headerStatus) == statusNoResponders {
		return pubAck{}, &failure{err: fmt.Errorf("%w: nothing answers on %s", ErrNoStream, p.subject)}
	}
	var ack pubAck
	if err := json.Unmarshal(msg.Data, &ack); err != nil {
		return ack, &failure{err: fmt.Errorf("the server's answer is not an acknowledgement: %w", err), doubt: true, final: true}
	}
	if ack.Error != nil {
		return ack, refusal(p.opts.Stream, ack.Error)
	}
	if ack.Stream != p.opts.Stream || ack.Sequence == 0 {
		return ack, &failure{err: fmt.Errorf("%w: stream %q answered, not %s", ErrNoStream, ack.Stream, p.opts.Stream), doubt: true, final: true}
	}
	return ack, nil
}

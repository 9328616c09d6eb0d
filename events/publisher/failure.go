package publisher

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Error codes of JetStream, from the server's errors.json.
const (
	codeAccountResources     = 10002 // the account's limits are reached
	codeNotAvailable         = 10008 // a cluster without a leader, as far as the server knows
	codeInsufficient         = 10023 // the server's storage is used up
	codeMemoryResources      = 10028
	codeStorageResources     = 10047
	codeMessageTooLarge      = 10054
	codeWrongLastID          = 10070
	codeStoreFailed          = 10077 // with "maximum … exceeded": discard new at a limit
	codeHeaderTooLarge       = 10097
	codeDuplicateInProcess   = 10158 // replicated streams: the same id is being stored
	codeBatchDisabled        = 10174 // since we last read the stream's configuration
	codeBatchIncomplete      = 10176 // a message of it was lost, or it took too long
	codeBatchTooLarge        = 10199 // the server's limit is below ours
	codeBatchHoldsDuplicate  = 10201
	codeBatchTooManyInflight = 10210
)

var errDisconnected = errors.New("there is no connection to the server")

// failure is why an attempt did not store everything that it sent.
type failure struct {
	err   error
	doubt bool // the server may have stored what was sent, or may still do so
	final bool // trying again does not help
	code  int  // of JetStream's answer; 0: there was none
}

// refusal judges an answer that is an error: nothing of the attempt was stored.
func refusal(stream string, answer *apiError) *failure {
	said := fmt.Errorf("stream %s: %s (JetStream error %d)", stream, answer.Description, answer.ErrCode)
	f := &failure{err: said, code: answer.ErrCode}
	switch answer.ErrCode {
	case codeStoreFailed:
		f.final = true
		if strings.HasPrefix(answer.Description, "maximum") {
			f.err = fmt.Errorf("%w: %w", ErrStreamFull, said)
		}
	case codeAccountResources, codeInsufficient, codeMemoryResources, codeStorageResources:
		f.final, f.err = true, fmt.Errorf("%w: %w", ErrStreamFull, said)
	case codeMessageTooLarge, codeHeaderTooLarge:
		f.final, f.err = true, fmt.Errorf("%w: %w", ErrTooLarge, said)
	case codeDuplicateInProcess, codeBatchIncomplete, codeBatchTooManyInflight,
		codeBatchDisabled, codeBatchTooLarge, codeBatchHoldsDuplicate:
	default:
		f.final = answer.Code < http.StatusInternalServerError && answer.Code != http.StatusTooManyRequests
	}
	return f
}

// unsent judges an error of the client when it was given a message. It may have
// been in the midst of writing.
func unsent(err error) *failure {
	switch {
	case errors.Is(err, nats.ErrReconnectBufExceeded): // as it is called when nothing is kept
		return &failure{err: errDisconnected}
	case errors.Is(err, nats.ErrMaxPayload):
		return &failure{err: fmt.Errorf("%w: %w", ErrTooLarge, err), final: true}
	case errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrConnectionDraining),
		errors.Is(err, nats.ErrHeadersNotSupported):
		return &failure{err: err, final: true}
	default:
		return &failure{err: err, doubt: true}
	}
}

// streamError judges an error of asking for the stream's configuration.
func streamError(stream string, err error) *failure {
	switch {
	case errors.Is(err, nats.ErrReconnectBufExceeded):
		return &failure{err: errDisconnected}
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return &failure{err: fmt.Errorf("%w: there is no stream %s", ErrNoStream, stream), final: true}
	case errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount), errors.Is(err, jetstream.ErrInvalidStreamName):
		return &failure{err: fmt.Errorf("%w: %w", ErrNoStream, err), final: true}
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrJetStreamNotEnabled):
		return &failure{err: fmt.Errorf("%w: JetStream does not answer: %w", ErrNoStream, err)}
	case errors.Is(err, context.DeadlineExceeded):
		return &failure{err: fmt.Errorf("no answer about stream %s: %w", stream, err)}
	default:
		return &failure{err: fmt.Errorf("stream %s: %w", stream, err)}
	}
}

// deniedSince gives the failure of a permission that the server refused us after
// the connection's last error was before, or nil. The server answers a forbidden
// message with nothing else.
func (p *Publisher) deniedSince(before error) *failure {
	now := p.nc.LastError()
	if !errors.Is(now, nats.ErrPermissionViolation) || errors.Is(now, before) {
		return nil
	}
	said := now.Error()
	for _, ours := range []string{p.subject, p.inbox, "STREAM.INFO." + p.opts.Stream, "_INBOX", p.nc.Opts.InboxPrefix} {
		if ours != "" && strings.Contains(said, ours) {
			// Where only the answer is forbidden, the message is stored.
			return &failure{err: fmt.Errorf("%w: %w", ErrDenied, now), final: true, doubt: ours != p.subject}
		}
	}
	return nil
}

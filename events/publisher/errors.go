package publisher

import "errors"

// Errors of New, Publisher and Writer. They are wrapped with what the server
// said; test for them with errors.Is.
var (
	// ErrUnknownOutcome is returned when some of the messages may or may not be
	// in the stream: they were sent, no acknowledgement came, and either the
	// context ended or sending them again would have come too late for the stream
	// to recognise them. Messages with an id of their own may be published again
	// by hand after a look at the stream; bare records without one would be
	// stored a second time.
	ErrUnknownOutcome = errors.New("it is unknown whether the messages were stored")

	// ErrStreamFull is returned when the stream or its server is at a limit of
	// size or number and refuses new messages. Nothing of the batch was stored.
	ErrStreamFull = errors.New("the stream is full")

	// ErrNoStream is returned when no stream of the given name exists, when it
	// does not take the tenant's subject, or when nothing answered on the subject
	// for as long as Options.RetryFor.
	ErrNoStream = errors.New("no stream takes the messages")

	// ErrDenied is returned when the connection's user lacks a permission. The
	// publisher needs to publish to assignments.<tenant>.events and to
	// $JS.API.STREAM.INFO.<stream>, and to subscribe to its own inboxes.
	ErrDenied = errors.New("permission denied")

	// ErrTooLarge is returned for a message that the server or the stream would
	// refuse for its size. It was not sent.
	ErrTooLarge = errors.New("the message is too large")

	// ErrStreamReplaced is returned when the stream was deleted and created again
	// while messages were being published: what was acknowledged before is gone.
	ErrStreamReplaced = errors.New("the stream was recreated during publishing")

	// ErrBuffering is returned by New for a connection that keeps messages while
	// it is disconnected. Connect with ConnectOptions.
	ErrBuffering = errors.New("the connection buffers while disconnected; connect with nats.ReconnectBufSize(-1)")

	// ErrInvalidMessage is returned for a Message that was not made by NewRecord,
	// NewEvent or ParseLine.
	ErrInvalidMessage = errors.New("the message was not made by NewRecord, NewEvent or ParseLine")

	// ErrClosed is returned by every method after Publisher.Close.
	ErrClosed = errors.New("the publisher is closed")
)

package stream

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
)

const (
	// prefetch and prefetchBytes bound what the server may send ahead.
	prefetch, prefetchBytes = 4096, 16 << 20
	// pullExpiry is how long the server keeps a request for messages.
	pullExpiry = 30 * time.Second
)

// puller asks a consumer for messages, one request at a time. The client
// library's own iterator takes a message without a body for the server's word
// when it has a header "Status", so that anybody who may publish could stop it.
// Here only what has no reply subject is the server's word: the server gives one
// to every message of a stream, and nobody else knows the inbox.
//
// It belongs to one goroutine.
type puller struct {
	nc      *nats.Conn
	subject string // where requests go
	inbox   string // requests are answered on inbox.<number>
	number  uint64 // of the last request
	sub     *nats.Subscription
	came    chan *nats.Msg
	awaited int  // messages that the last request may still bring
	took    bool // the last request brought a message
	whole   bool // the next request is for one message of any size
}

func newPuller(nc *nats.Conn, stream, consumer string) (*puller, error) {
	p := &puller{
		nc: nc, subject: "$JS.API.CONSUMER.MSG.NEXT." + stream + "." + consumer, inbox: nc.NewInbox(),
		came: make(chan *nats.Msg, prefetch+256), // a request's messages, and the server's words between them
	}
	var err error
	p.sub, err = nc.ChanSubscribe(p.inbox+".*", p.came)
	return p, err
}

func (p *puller) close() { _ = p.sub.Unsubscribe() } // it fails when the connection is gone, and the subscription with it

// pullRequest is defined by JetStream. Durations are in nanoseconds.
type pullRequest struct {
	Batch     int   `json:"batch"`
	MaxBytes  int   `json:"max_bytes,omitzero"`
	Expires   int64 `json:"expires"`
	Heartbeat int64 `json:"idle_heartbeat"`
}

// ask makes a request unless one is under way.
func (p *puller) ask() error {
	if p.awaited > 0 {
		return nil
	}
	request := pullRequest{Batch: prefetch, MaxBytes: prefetchBytes, Expires: int64(pullExpiry), Heartbeat: int64(headEvery / 2)}
	if p.whole {
		request.Batch, request.MaxBytes = 1, 0
	}
	body, err := json.Marshal(&request)
	if err != nil {
		return err
	}
	p.number++
	p.awaited, p.took, p.whole = request.Batch, false, false
	if err := p.nc.PublishRequest(p.subject, p.inbox+"."+strconv.FormatUint(p.number, 10), body); err != nil {
		return fmt.Errorf("pull messages: %w", err)
	}
	return nil
}

// message reports whether what came is a message of the stream, and takes note
// of it. Otherwise it was the server's word, which is an error when the consumer
// serves no more.
func (p *puller) message(msg *nats.Msg) (bool, error) {
	if msg.Reply != "" {
		p.awaited--
		p.took = true
		return true, nil
	}
	status, description := msg.Header.Get("Status"), msg.Header.Get("Description")
	if status == "100" || msg.Subject != p.inbox+"."+strconv.FormatUint(p.number, 10) {
		return false, nil // a sign of life, or about a request that is over
	}
	p.awaited = 0
	switch {
	case status == "408": // it expired
		return false, nil
	case status == "409" && strings.HasPrefix(description, "Message Size Exceeds"):
		p.whole = !p.took
		return false, nil
	case status == "409" && strings.HasPrefix(description, "Batch Completed"):
		return false, nil
	}
	return false, fmt.Errorf("pull messages: the server says %s %s", status, description)
}

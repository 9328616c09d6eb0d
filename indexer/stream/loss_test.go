package stream_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
)

// lossy is a dialer of connections that lose some of the stream's messages on
// their way from the server.
type lossy struct {
	mu    sync.Mutex
	lose  map[string]bool // bodies of messages that are lost, once each
	deny  int             // so many answers with a message of the stream say that there is none
	pumps sync.WaitGroup
}

func (l *lossy) Dial(network, address string) (net.Conn, error) {
	conn, err := net.Dial(network, address)
	if err != nil {
		return nil, err
	}
	r, w := io.Pipe()
	l.pumps.Add(1)
	go func() {
		defer l.pumps.Done()
		w.CloseWithError(l.pump(bufio.NewReader(conn), w))
	}()
	return &lossyConn{conn, r}, nil
}

type lossyConn struct {
	net.Conn
	r *io.PipeReader
}

func (c *lossyConn) Read(b []byte) (int, error) { return c.r.Read(b) }

func (c *lossyConn) Close() error { return errors.Join(c.r.Close(), c.Conn.Close()) }

// pump passes on what comes, but for the messages that are to be lost.
func (l *lossy) pump(from *bufio.Reader, to io.Writer) error {
	for {
		line, err := from.ReadBytes('\n')
		if err != nil {
			return err
		}
		frame := line
		fields := strings.Fields(string(line))
		isMessage := len(fields) > 2 && (fields[0] == "MSG" || fields[0] == "HMSG")
		if isMessage {
			size, err := strconv.Atoi(fields[len(fields)-1])
			if err != nil {
				return err
			}
			payload := make([]byte, size+2)
			if _, err := io.ReadFull(from, payload); err != nil {
				return err
			}
			frame = append(frame, payload...)
		}
		if isMessage && strings.HasPrefix(fields[1], "assignments.") && l.loses(frame) {
			continue
		}
		if isMessage && bytes.Contains(frame, []byte("stream_msg_get_response")) && l.denies() {
			frame = slices.Concat([]byte(strings.Join(fields[:len(fields)-1], " ")), []byte(" "+strconv.Itoa(len(noMessage))+"\r\n"+noMessage+"\r\n"))
		}
		if _, err := to.Write(frame); err != nil {
			return err
		}
	}
}

// noMessage is the answer of a server that does not hold the message.
const noMessage = `{"type":"io.nats.jetstream.api.v1.stream_msg_get_response",` +
	`"error":{"code":404,"err_code":10037,"description":"no message found"}}`

func (l *lossy) denies() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deny--
	return l.deny >= 0
}

func (l *lossy) loses(frame []byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for body := range l.lose {
		if bytes.HasSuffix(frame, []byte(body+"\r\n")) {
			delete(l.lose, body)
			return true
		}
	}
	return false
}

// A message that the server has sent, and that does not arrive, is not taken for
// an erased one, nor waited for in vain.
func TestLostMessagesAreReadAgain(t *testing.T) {
	for name, lost := range map[string][]string{
		"beside an erased one": {"body 3.", "body 4.", "body 9."},
		"first":                {"body 1."},
		"last":                 {"body 12."},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			at := w.begin()
			for i := range 12 {
				if _, err := w.js.PublishMsg(t.Context(), message("body "+strconv.Itoa(i+1)+".")); err != nil {
					t.Fatal(err)
				}
			}
			w.erase(5)
			l := &lossy{lose: make(map[string]bool)}
			for _, body := range lost {
				l.lose[body] = true
			}
			f := w.follow(at, nats.SetCustomDialer(l))
			f.complete(12, [2]uint64{5, 5})
			f.stop()
			f.nc.Close()
			l.pumps.Wait()
			if len(l.lose) > 0 {
				t.Errorf("these were not lost: %v", l.lose)
			}
		})
	}
}

// A server that lags holds nothing after a sequence. That nothing is there is not
// believed before a server that has got past it says so.
func TestAServerThatLagsIsNotTakenForAnErasure(t *testing.T) {
	for name, lost := range map[string]string{"in between": "body 7.", "last": "body 12."} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			at := w.begin()
			for i := range 12 {
				if _, err := w.js.PublishMsg(t.Context(), message("body "+strconv.Itoa(i+1)+".")); err != nil {
					t.Fatal(err)
				}
			}
			l := &lossy{lose: map[string]bool{lost: true}, deny: 2}
			f := w.follow(at, nats.SetCustomDialer(l))
			f.complete(12)
			f.stop()
			f.nc.Close()
			l.pumps.Wait()
			if len(l.lose) > 0 || l.deny > 1 {
				t.Errorf("these were not lost: %v, and %d answers were not changed", l.lose, l.deny)
			}
		})
	}
}

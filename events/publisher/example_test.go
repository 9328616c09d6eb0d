package publisher_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"

	"github.com/nats-io/nats.go"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/events/publisher"
)

// publishLines publishes records or events, one a line.
func publishLines(ctx context.Context, in io.Reader) (last uint64, err error) {
	nc, err := nats.Connect(nats.DefaultURL, publisher.ConnectOptions()...)
	if err != nil {
		return 0, err
	}
	defer nc.Close()
	p, err := publisher.New(ctx, nc, publisher.Options{Tenant: "acme"})
	if err != nil {
		return 0, err
	}
	defer p.Close()

	w := p.NewWriter()
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		m, err := publisher.ParseLine(lines.Bytes(), events.AssignmentUpserted)
		if err != nil {
			return 0, err
		}
		if err := w.Add(ctx, m); err != nil {
			return 0, fmt.Errorf("the first %d lines are published: %w", w.Acked().Count, err)
		}
	}
	if err := lines.Err(); err != nil {
		return 0, err
	}
	return w.Flush(ctx)
}

func ExampleWriter() {
	last, err := publishLines(context.Background(), os.Stdin)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("published up to sequence", last)
}

// One change, which a reader sees who asks for at least its sequence. With an id of
// its own it may be published again by hand when the outcome is unknown, as long as
// the stream's duplicate window lasts.
func ExamplePublisher_Publish() {
	var p *publisher.Publisher // of publisher.New
	m, err := publisher.NewRecord(events.AssignmentRevoked, []byte(`{"usr_id":"cgrave","ent_id":"vpn"}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	ack, err := p.Publish(context.Background(), m.WithID("hr", "change-4711"))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("stored at", ack.LastSeq)
}

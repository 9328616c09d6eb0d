package publisher

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/assigndex/assigndex/events"
)

// BenchmarkPublish measures acknowledged messages against a server that syncs
// every write: by a Writer in atomic batches, and as single asynchronous publishes
// of nats.go, with as many under way.
func BenchmarkPublish(b *testing.B) {
	b.Run("batches", func(b *testing.B) {
		nc := connect(b, startServer(b).url())
		addStream(b, nc)
		w := newPublisher(b, nc, Options{}).NewWriter()
		ctx := b.Context()
		messages := recordsFrom(b, 0, MaxBatch)
		b.ResetTimer()
		for i := range b.N {
			if err := w.Add(ctx, messages[i%MaxBatch]); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := w.Flush(ctx); err != nil {
			b.Fatal(err)
		}
		rate(b, b.N)
	})
	b.Run("parsed", func(b *testing.B) {
		nc := connect(b, startServer(b).url())
		addStream(b, nc)
		w := newPublisher(b, nc, Options{}).NewWriter()
		ctx := b.Context()
		b.ResetTimer()
		for i := range b.N {
			m, err := ParseLine(assignment(i), events.AssignmentUpserted)
			if err != nil {
				b.Fatal(err)
			}
			if err := w.Add(ctx, m); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := w.Flush(ctx); err != nil {
			b.Fatal(err)
		}
		rate(b, b.N)
	})
	b.Run("repeated", func(b *testing.B) {
		nc := connect(b, startServer(b).url())
		addStream(b, nc)
		p := newPublisher(b, nc, Options{})
		ctx := b.Context()
		messages := make([]Message, MaxBatch)
		for i := range messages {
			messages[i] = record(b, i).WithID("bench", string(assignment(i)))
		}
		if _, err := p.Publish(ctx, messages...); err != nil {
			b.Fatal(err)
		}
		b.ResetTimer()
		n := 0
		for ; n < b.N; n += MaxBatch {
			if _, err := p.Publish(ctx, messages...); err != nil {
				b.Fatal(err)
			}
		}
		rate(b, n)
	})
	b.Run("one-by-one", func(b *testing.B) {
		nc := connect(b, startServer(b).url())
		addStream(b, nc, func(c *jetstream.StreamConfig) { c.AllowAtomicPublish = false })
		w := newPublisher(b, nc, Options{}).NewWriter()
		ctx := b.Context()
		messages := recordsFrom(b, 0, MaxBatch)
		b.ResetTimer()
		for i := range b.N {
			if err := w.Add(ctx, messages[i%MaxBatch]); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := w.Flush(ctx); err != nil {
			b.Fatal(err)
		}
		rate(b, b.N)
	})
	b.Run("async", func(b *testing.B) {
		nc := connect(b, startServer(b).url())
		addStream(b, nc)
		js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(MaxBatch))
		if err != nil {
			b.Fatal(err)
		}
		body, header := assignment(0), nats.Header{events.TypeHeader: {string(events.AssignmentUpserted)}}
		b.ResetTimer()
		for range b.N {
			msg := &nats.Msg{Subject: events.Subject(defaultTenant), Header: header, Data: body}
			if _, err := js.PublishMsgAsync(msg, jetstream.WithStallWait(time.Minute)); err != nil {
				b.Fatal(err)
			}
		}
		<-js.PublishAsyncComplete()
		rate(b, b.N)
	})
}

func rate(b *testing.B, n int) {
	b.StopTimer()
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "msg/s")
}

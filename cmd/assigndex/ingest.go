package main

import (
	"context"
	"errors"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/assigndex/assigndex/events/publisher"
	"github.com/assigndex/assigndex/query/ingest"
)

// ingestPublisher publishes what comes in over HTTP: one publisher a tenant, made
// when it is first needed. Requests of a tenant take turns, so that its events
// stay in the order in which they were acknowledged.
type ingestPublisher struct {
	nc     *nats.Conn // made with publisher.ConnectOptions
	stream string

	mu       sync.Mutex // guards byTenant
	byTenant map[string]*publisher.Publisher
}

func newIngestPublisher(nc *nats.Conn, stream string) *ingestPublisher {
	return &ingestPublisher{nc: nc, stream: stream, byTenant: make(map[string]*publisher.Publisher)}
}

// Publish is part of httpapi.Publisher.
func (p *ingestPublisher) Publish(ctx context.Context, tenant string, records []ingest.Record) (last uint64, acknowledged int, err error) {
	msgs := make([]publisher.Message, len(records))
	for i, r := range records {
		if msgs[i], err = publisher.NewRecord(r.Type, r.Data); err != nil {
			return 0, 0, err
		}
	}
	ack, err := p.publish(ctx, tenant, msgs)
	return ack.LastSeq, ack.Count, err
}

func (p *ingestPublisher) publish(ctx context.Context, tenant string, msgs []publisher.Message) (publisher.Ack, error) {
	pub, err := p.of(ctx, tenant)
	if err != nil {
		return publisher.Ack{}, err
	}
	ack, err := pub.Publish(ctx, msgs...)
	if errors.Is(err, publisher.ErrStreamReplaced) {
		p.forget(tenant, pub)
	}
	return ack, err
}

// forget drops a publisher that will never publish again: it is bound to a stream
// that is gone.
func (p *ingestPublisher) forget(tenant string, pub *publisher.Publisher) {
	p.mu.Lock()
	if p.byTenant[tenant] == pub {
		delete(p.byTenant, tenant)
	}
	p.mu.Unlock()
	_ = pub.Close() // it has nothing left to say
}

// of gives the publisher of a tenant. Making one asks the server, so it is done
// without the lock: other tenants do not wait for it.
func (p *ingestPublisher) of(ctx context.Context, tenant string) (*publisher.Publisher, error) {
	p.mu.Lock()
	known := p.byTenant[tenant]
	p.mu.Unlock()
	if known != nil {
		return known, nil
	}
	made, err := publisher.New(ctx, p.nc, publisher.Options{Stream: p.stream, Tenant: tenant})
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if known := p.byTenant[tenant]; known != nil { // another request was faster
		return known, made.Close()
	}
	if p.byTenant == nil || len(p.byTenant) >= maxIngestTenants {
		return nil, errors.Join(errTooManyTenants, made.Close())
	}
	p.byTenant[tenant] = made
	return made, nil
}

// maxIngestTenants bounds the publishers of one process: a key for all tenants
// may name any.
const maxIngestTenants = 10_000

var errTooManyTenants = errors.New("too many tenants have published through this server")

// close gives the publishers back and then the connection.
func (p *ingestPublisher) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for _, pub := range p.byTenant {
		errs = append(errs, pub.Close())
	}
	p.byTenant = nil
	p.nc.Close()
	return errors.Join(errs...)
}

package bearer

import (
	"net/http"
	"testing"
)

// BenchmarkAuthenticate is the cost of a token, first seen and remembered.
func BenchmarkAuthenticate(b *testing.B) {
	for _, alg := range []string{"RS256", "PS256", "ES256", "ES384", "EdDSA"} {
		k := newKey("k", alg)
		e := newRunning(b, k)
		header := bearing(k.token(map[string]any{"role": []string{"reader", "writer"}, "scope": "openid profile"}))
		for _, c := range []struct {
			name   string
			before func()
		}{
			{"first", func() { e.keys.current().passes.forget() }},
			{"remembered", func() {}},
		} {
			b.Run(alg+"/"+c.name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					c.before()
					if _, err := e.Authenticate(b.Context(), header); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkRefuse is what garbage costs.
func BenchmarkRefuse(b *testing.B) {
	k, other := newKey("k", "ES256"), newKey("k", "ES256")
	e := newRunning(b, k)
	for name, header := range map[string]http.Header{
		"signature": bearing(other.token(nil)),
		"key":       bearing(k.sign(k.header(map[string]any{"kid": "x"}), claimsAt(begin, nil))),
		"form":      bearing("x"),
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := e.Authenticate(b.Context(), header); err == nil {
					b.Fatal("accepted")
				}
			}
		})
	}
}

func (p *passes) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.younger)
	clear(p.older)
}

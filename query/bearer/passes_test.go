package bearer

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/assigndex/assigndex/query/httpapi"
)

func TestARememberedTokenStillExpires(t *testing.T) {
	k := newKey("k", "EdDSA")
	e := newRunning(t, k)
	token := k.token(map[string]any{"role": "writer"})
	first := e.check("the first time", token, accepted)
	if p, found := e.keys.current().passes.get(digestOf(token)); !found || !p.until.Equal(begin.Add(time.Hour+leeway)) {
		t.Errorf("an accepted token is remembered as %+v, %v", p, found)
	}
	if again := e.check("again", token, accepted); again != first {
		t.Errorf("got %+v, then %+v", first, again)
	}
	e.clock.advance(time.Hour + leeway - time.Second)
	e.check("in the last second", token, accepted)
	e.clock.advance(time.Second)
	e.check("at its end", token, expired)

	// A clock that was set back: what is not valid yet is not valid.
	late := k.sign(k.header(nil), claimsAt(e.clock.now(), nil))
	e.check("later", late, accepted)
	e.clock.advance(-leeway)
	e.check("at its beginning", late, accepted)
	e.clock.advance(-time.Second)
	e.check("before its beginning", late, notYetValid)
	issued := k.sign(k.header(nil), claimsAt(e.clock.now(), map[string]any{"nbf": nil}))
	e.check("with a time of issue alone", issued, accepted)
	e.clock.advance(-leeway - time.Second)
	e.check("before it was issued", issued, notYetValid)
}

func TestRefusedTokensAreNotRemembered(t *testing.T) {
	k, other := newKey("k", "EdDSA"), newKey("k", "EdDSA")
	e := newRunning(t, k)
	for _, token := range []string{
		other.token(nil), k.token(map[string]any{"aud": "x"}), k.token(map[string]any{"tenant": nil}),
		k.sign(k.header(map[string]any{"kid": "x"}), claimsAt(begin, nil)),
	} {
		if _, err := e.Authenticate(t.Context(), bearing(token)); err != httpapi.ErrBadCredentials {
			t.Errorf("got %v", err)
		}
	}
	if n := e.keys.current().passes.size(); n != 0 {
		t.Errorf("%d tokens are remembered", n)
	}
}

// An answer that says the same keeps what is remembered; another one does not.
func TestPassesGoWithTheirKeys(t *testing.T) {
	k, next := newKey("k", "EdDSA"), newKey("next", "EdDSA")
	e := newRunning(t, k)
	token := k.sign(k.header(nil), claimsAt(begin.Add(refreshEvery), nil)) // valid soon
	set := publish(k)
	e.issuer.publish(set)
	if _, err := e.tick(); err != nil {
		t.Fatal(err)
	}
	e.check("at first", token, accepted)
	for _, c := range []struct {
		set  string
		want int
	}{{set, 1}, {publish(k, next), 0}} {
		e.issuer.publish(c.set)
		if _, err := e.tick(); err != nil {
			t.Fatal(err)
		}
		if n := e.keys.current().passes.size(); n != c.want {
			t.Errorf("%s: %d tokens are remembered, want %d", c.set, n, c.want)
		}
	}
	e.check("by the new set", token, accepted)
}

func TestPassesAreBounded(t *testing.T) {
	var p passes
	at := func(i int) (d digest) {
		binary.LittleEndian.PutUint64(d[:], uint64(i))
		return d
	}
	until := begin.Add(time.Hour)
	p.put(at(0), pass{until: until})
	for i := 1; i < 5*maxPasses; i++ {
		p.put(at(i), pass{until: until})
		if n := p.size(); n > maxPasses {
			t.Fatalf("%d tokens are remembered", n)
		}
		if _, found := p.get(at(0)); !found {
			t.Fatalf("a token that is always in use was forgotten after %d others", i)
		}
	}
	for i, want := range map[int]bool{1: false, 4 * maxPasses: false, 5*maxPasses - 1: true, 5*maxPasses - maxPasses/4: true} {
		if _, found := p.get(at(i)); found != want {
			t.Errorf("token %d: %v, want %v", i, found, want)
		}
	}
}

func (p *passes) size() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.younger) + len(p.older)
}

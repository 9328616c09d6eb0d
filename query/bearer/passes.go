package bearer

import (
	"crypto/sha256"
	"sync"
	"time"

	"github.com/assigndex/assigndex/query/httpapi"
)

// maxPasses bounds the tokens that are remembered for one set of keys.
const maxPasses = 4096

// digest stands for a token, so that none is kept.
type digest [sha256.Size]byte

func digestOf(token string) digest { return sha256.Sum256([]byte(token)) }

// pass is what is kept of a token that was accepted.
type pass struct {
	caller httpapi.Caller
	from   time.Time // zero: always
	until  time.Time // not any more at this time
}

func (p pass) holds(now time.Time) bool { return !now.Before(p.from) && now.Before(p.until) }

// passes remembers the tokens that one set of keys has accepted, since a
// signature costs more to check than a page to read (BenchmarkAuthenticate). It
// belongs to the set and goes with it. Refused tokens are not kept: only the
// issuer can fill it.
//
// It keeps two generations. The younger takes what is used; when it is full it
// becomes the older, and what was not used meanwhile is gone.
type passes struct {
	mu             sync.Mutex // guards what follows
	younger, older map[digest]pass
}

func (p *passes) get(d digest) (pass, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if found, ok := p.younger[d]; ok {
		return found, true
	}
	found, ok := p.older[d]
	if ok {
		p.add(d, found)
	}
	return found, ok
}

func (p *passes) put(d digest, one pass) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.add(d, one)
}

// add puts one into the younger generation. The lock is held.
func (p *passes) add(d digest, one pass) {
	if p.younger == nil || len(p.younger) >= maxPasses/2 {
		p.older, p.younger = p.younger, make(map[digest]pass)
	}
	p.younger[d] = one
}

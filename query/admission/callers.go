package admission

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// maxIdle is how many callers are remembered who have nothing under way.
const maxIdle = 10_000

// Limits are those of each caller. Zero is no limit.
type Limits struct {
	PerSecond float64 // requests, in the long run
	Burst     int     // requests that may come together; 0: those of one second
	AtOnce    int     // requests under way
}

// Callers hold callers to their limits.
type Callers struct {
	limits  Limits
	refused atomic.Uint64
	mu      sync.Mutex // guards what follows
	callers map[string]*caller
}

type caller struct {
	bucket  *rate.Limiter
	running int
}

// NewCallers makes the limits of each caller.
func NewCallers(l Limits) *Callers {
	if l.Burst <= 0 {
		l.Burst = max(1, int(math.Ceil(l.PerSecond)))
	}
	return &Callers{limits: l, callers: make(map[string]*caller)}
}

// Enter takes a request of a caller. Each one that is taken is followed by one
// Leave. For one that is not, it gives the time after which another try makes
// sense.
func (c *Callers) Enter(name string, now time.Time) (retryAfter time.Duration, taken bool) {
	if c.limits.PerSecond <= 0 && c.limits.AtOnce <= 0 {
		return 0, true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	who := c.callers[name]
	if who == nil {
		if len(c.callers) >= maxIdle {
			c.forgetIdle(now)
		}
		who = &caller{}
		if c.limits.PerSecond > 0 {
			who.bucket = rate.NewLimiter(rate.Limit(c.limits.PerSecond), c.limits.Burst)
		}
		c.callers[name] = who
	}
	if c.limits.AtOnce > 0 && who.running >= c.limits.AtOnce {
		c.refused.Add(1)
		return time.Second, false
	}
	if who.bucket != nil && !who.bucket.AllowN(now, 1) {
		c.refused.Add(1)
		missing := 1 - who.bucket.TokensAt(now)
		return time.Duration(missing / c.limits.PerSecond * float64(time.Second)), false
	}
	who.running++
	return 0, true
}

// Leave ends a request that Enter took.
func (c *Callers) Leave(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if who := c.callers[name]; who != nil {
		who.running--
	}
}

// Refused gives the number of requests that were turned away so far.
func (c *Callers) Refused() uint64 { return c.refused.Load() }

// forgetIdle forgets those whom a new entry would treat the same. When that is
// nobody, it forgets all who have nothing under way.
func (c *Callers) forgetIdle(now time.Time) {
	before := len(c.callers)
	for name, who := range c.callers {
		if who.running == 0 && (who.bucket == nil || who.bucket.TokensAt(now) >= float64(c.limits.Burst)) {
			delete(c.callers, name)
		}
	}
	if len(c.callers) < before {
		return
	}
	for name, who := range c.callers {
		if who.running == 0 {
			delete(c.callers, name)
		}
	}
}

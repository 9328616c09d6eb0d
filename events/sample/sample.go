// Package sample makes the records of an invented company: applications, their
// entitlements, users, groups, and who holds what, in a heavy-tailed
// distribution like that of a real one. The same size and seed always give the
// same records in the same order.
//
// It serves the demo, benchmarks and tests. Functions hold no state.
package sample

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"

	"github.com/assigndex/assigndex/events"
)

// Record is the data of one event.
type Record struct {
	Type events.Type
	Data []byte // JSON
}

// Company says how large the invented company is.
type Company struct {
	Assignments int
	Seed        uint64
}

func (c Company) users() int        { return c.Assignments/10 + 1 }
func (c Company) entitlements() int { return c.Assignments/50 + 20 }
func (c Company) applications() int { return min(97, c.entitlements()/4) }
func (c Company) groups() int       { return c.users()/20 + 1 }

// Each passes all records to yield until it returns false: applications,
// entitlements, groups and users, and then assignments.
func (c Company) Each(yield func(Record) bool) {
	c.Entities(func(r Record) bool {
		if !yield(r) {
			yield = nil
			return false
		}
		return true
	})
	if yield != nil {
		c.EachAssignment(yield)
	}
}

// Entities passes all records but the assignments to yield until it returns false.
func (c Company) Entities(yield func(Record) bool) {
	for a := range c.applications() {
		if !yield(Record{events.ApplicationUpserted, fmt.Appendf(nil, `{"app_id":%q,"app_name":"Application %d","app_type":%q}`,
			AppID(a), a, appTypes[a%len(appTypes)])}) {
			return
		}
	}
	for e := range c.entitlements() {
		entType := "permission"
		if e%5 == 0 {
			entType = "role"
		}
		if !yield(Record{events.EntitlementUpserted, fmt.Appendf(nil, `{"ent_id":%q,"ent_name":"Shared Edit %d","ent_type":%q,"app_id":%q}`,
			EntID(e), e, entType, AppID(e%c.applications()))}) {
			return
		}
	}
	for g := range c.groups() {
		if !yield(Record{events.GroupUpserted, fmt.Appendf(nil, `{"grp_id":%q,"grp_name":"Department %d"}`, GrpID(g), g)}) {
			return
		}
	}
	for u := range c.users() {
		if !yield(Record{events.UserUpserted, fmt.Appendf(nil, `{"usr_id":%q,"usr_name":"%s %d","email":"%s@example.com","grp_id":%q}`,
			UsrID(u), given[u%len(given)], u, UsrID(u), GrpID(u%c.groups()))}) {
			return
		}
	}
}

// EachAssignment passes the assignments to yield until it returns false. No two
// are of the same user and entitlement.
func (c Company) EachAssignment(yield func(Record) bool) {
	r := rand.New(rand.NewPCG(c.Seed, 7)) //nolint:gosec // not for secrets: it must repeat itself
	popular := rand.NewZipf(r, 1.1, 20, uint64(c.entitlements()-1))
	// A user may draw an entitlement twice, so there are draws for more users than
	// the average needs; the last ones may be left without any.
	for n, u := 0, 0; n < c.Assignments; u++ {
		seen := make(map[uint64]bool)
		for range 1 + int(r.ExpFloat64()*9) {
			e := popular.Uint64()
			if seen[e] || n == c.Assignments {
				continue
			}
			seen[e] = true
			n++
			if !yield(Record{events.AssignmentUpserted, assignment(r, UsrID(u), EntID(int(e)))}) { //nolint:gosec // below entitlements()
				return
			}
		}
	}
}

func assignment(r *rand.Rand, usr, ent string) []byte {
	b := fmt.Appendf(make([]byte, 0, 256), `{"usr_id":%q,"ent_id":%q,"score":`, usr, ent)
	if r.IntN(4) == 0 {
		return append(b, `null,"justification":[]}`...)
	}
	b = strconv.AppendFloat(b, math.Round(r.Float64()*100)/100, 'f', -1, 64)
	b = append(b, `,"justification":[`...)
	for i := range 1 + r.IntN(len(reasons)) {
		if i > 0 {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, `{"id":%q,"title":%q,"value":"Value %d"}`, reasons[i], titles[i], r.IntN(60))
	}
	return append(b, "]}"...)
}

// UsrID is the id of user u.
func UsrID(u int) string { return fmt.Sprintf("%s.%06d", given[u%len(given)], u) }

// EntID is the id of entitlement e. It holds spaces, as real ones do.
func EntID(e int) string { return fmt.Sprintf("WEB_Shared Edit %05d_Europe", e) }

// AppID is the id of application a.
func AppID(a int) string { return fmt.Sprintf("app-%03d", a) }

// GrpID is the id of group g.
func GrpID(g int) string { return fmt.Sprintf("dept-%04d", g) }

var (
	given    = []string{"ada", "boris", "chen", "dalia", "emre", "fatou", "goran", "hana", "ines", "jonas", "kofi", "lena", "mira", "nils", "olga", "pavel"}
	reasons  = []string{"USR_DEPARTMENT_NAME", "CITY", "LINE_OF_BUSINESS"}
	titles   = []string{"department", "city", "line_of_business"}
	appTypes = []string{"directory", "database", "saas"}
)

package audit

import (
	"fmt"
	"strings"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/keys"
)

// Describe tells in words what a key is about: the tenant, the kind of what it is of,
// and ids, quoted as Go quotes them. A key that is none is quoted whole.
func Describe(key []byte) string {
	if text, ok := describe(key); ok {
		return text
	}
	return fmt.Sprintf("key %q", key)
}

func describe(key []byte) (text string, ok bool) {
	if len(key) == 0 {
		return "", false
	}
	switch keys.Tag(key[0]) {
	case keys.ByAssignee, keys.ByEntitlement, keys.ByApp, keys.ByAppAndEnt:
		_, r, err := keys.ParseRow(key)
		return describeRow(r), err == nil
	case keys.EntityTag:
		tenant, class, id, err := keys.ParseEntity(key)
		return fmt.Sprintf("tenant %q %s %q", tenant, classNames[class], id), err == nil
	case keys.GuardTag:
		g, err := keys.ParseGuard(key)
		if g.Class == keys.ClassAssignment {
			return "revision of " + describeRow(keys.Row{Tenant: g.Tenant, Assignee: g.Assignee, EntID: g.ID}), err == nil
		}
		return fmt.Sprintf("revision of tenant %q %s %q", g.Tenant, classNames[g.Class], g.ID), err == nil
	case keys.AttributeTag:
		tenant, attr, value, ent, err := keys.ParseAttribute(key)
		return fmt.Sprintf("tenant %q entitlement %q by attribute %d %q", tenant, ent, attr, value), err == nil
	case keys.ChangeTag:
		tenant, c, err := keys.ParseChange(key)
		return fmt.Sprintf("tenant %q change %d.%d", tenant, c.Seq, c.N), err == nil
	case keys.CounterTag:
		c, err := keys.ParseCounter(key)
		return fmt.Sprintf("counter of tenant %q%s, %s", c.Tenant, describeScope(c), c.Kind), err == nil
	case keys.QuarantineTag:
		seq, err := keys.ParseQuarantine(key)
		return fmt.Sprintf("quarantined message %d", seq), err == nil
	default:
		return "", false
	}
}

var classNames = map[keys.Class]string{
	keys.ClassUser: "user", keys.ClassGroup: "group", keys.ClassEntitlement: "entitlement", keys.ClassApplication: "application",
}

func describeRow(r keys.Row) string {
	var b strings.Builder
	fmt.Fprintf(&b, "tenant %q %s", r.Tenant, r.Assignee.Kind)
	if r.Assignee.Kind != events.KindAll {
		fmt.Fprintf(&b, " %q", r.Assignee.ID)
	}
	fmt.Fprintf(&b, " entitlement %q", r.EntID)
	if r.AppID != "" {
		fmt.Fprintf(&b, " application %q", r.AppID)
	}
	return b.String()
}

func describeScope(c keys.Counted) string {
	switch c.Scope {
	case keys.OfEntitlement:
		return fmt.Sprintf(" entitlement %q", c.ID)
	case keys.OfApplication:
		return fmt.Sprintf(" application %q", c.ID)
	default:
		return ""
	}
}

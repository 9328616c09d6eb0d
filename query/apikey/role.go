package apikey

import "fmt"

// Role is what the holder of a key may do. Roles are ordered: each one may do
// all that the ones before it may. The zero Role is none and allows nothing.
type Role uint8

// The roles, in order.
const (
	Reader Role = iota + 1 // reads the index
	Writer                 // also publishes through the ingest routes
	Admin                  // also verifies, rebuilds, takes snapshots and settles the quarantine
)

var roleNames = [...]string{Reader: "reader", Writer: "writer", Admin: "admin"}

// ParseRole reads a role by its name.
func ParseRole(name string) (Role, error) {
	for r := Reader; r <= Admin; r++ {
		if roleNames[r] == name {
			return r, nil
		}
	}
	return 0, fmt.Errorf("%q is not a role: use reader, writer or admin", name)
}

// Valid reports whether r is one of the roles.
func (r Role) Valid() bool { return r >= Reader && r <= Admin }

// Allows reports whether r may do what needs the role needed.
func (r Role) Allows(needed Role) bool { return r.Valid() && needed.Valid() && r >= needed }

// String gives the role's name.
func (r Role) String() string {
	if !r.Valid() {
		return fmt.Sprintf("role(%d)", uint8(r))
	}
	return roleNames[r]
}

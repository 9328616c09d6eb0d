package store

import "github.com/assigndex/assigndex/indexer/keys"

// maxEntities and maxEntityBytes bound the entities that are kept for reading:
// every assignment asks for its entitlement, and a few of those are asked for
// again and again.
const (
	maxEntities    = 10_000
	maxEntityBytes = 4 << 10 // of one; larger ones are rare and are not kept
)

// entityCache keeps the values of entities as the events so far left them, by key; nil:
// absent.
type entityCache map[string][]byte

// through gives the value of a key, by read when it is not kept.
func (c entityCache) through(key []byte, read func(key []byte) ([]byte, error)) ([]byte, error) {
	if keys.Tag(key[0]) != keys.EntityTag {
		return read(key)
	}
	if value, known := c[string(key)]; known {
		return value, nil
	}
	value, err := read(key)
	if err == nil {
		c.wrote(key, value)
	}
	return value, err
}

// wrote takes what an event wrote, nil when it deleted the key. Only entities are kept.
func (c entityCache) wrote(key, value []byte) {
	if keys.Tag(key[0]) != keys.EntityTag {
		return
	}
	if len(value) > maxEntityBytes {
		delete(c, string(key))
		return
	}
	if len(c) >= maxEntities {
		clear(c)
	}
	c[string(key)] = value
}

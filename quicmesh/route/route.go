// Package route decides which slot an event goes to. Key edges hash the key into one of 256 groups;
// a table, made by rendezvous hashing, says which slot holds a group, so that adding or removing a
// slot moves only the groups that slot gets or had. Every sender makes the same table.
package route

import "fmt"

// Groups is the number of hash buckets of keys: the unit of routing and of keyed state.
const Groups = 256

// Routing says how an edge picks among the slots it leads to.
type Routing string

// The routings.
const (
	Balance   Routing = "balance"   // the less loaded of two random slots
	Key       Routing = "key"       // the slot that holds the key's group
	Broadcast Routing = "broadcast" // every slot
	Forward   Routing = "forward"   // the slot with the sender's own index
)

// Check refuses what is none of the four.
func (r Routing) Check() error {
	switch r {
	case Balance, Key, Broadcast, Forward:
		return nil
	}
	return fmt.Errorf("route: %q is no routing; use balance, key, broadcast or forward", string(r))
}

// KeyHash is the hash of a key under the pipeline's seed. The seed keeps the choice of keys that
// collide from those who make the keys.
func KeyHash(key []byte, seed uint64) uint64 { return xxh3(key, seed) }

// KeyGroup is the group, 0 to 255, of a key with this hash: its highest byte.
func KeyGroup(hash uint64) int { return int(hash >> 56) }

// Table says which slot holds each group.
type Table [Groups]uint16

// NewTable spreads the groups over the slots 0 to replicas−1, of which there is at least one.
func NewTable(replicas int) *Table {
	t := new(Table)
	for group := range t {
		best := uint64(0)
		for slot := range replicas {
			if s := score(group, slot); slot == 0 || s > best {
				best, t[group] = s, uint16(slot)
			}
		}
	}
	return t
}

// Slot holds the key with this hash.
func (t *Table) Slot(hash uint64) int { return int(t[KeyGroup(hash)]) }

// score is how much a slot claims a group: splitmix64 of both. It must stay as it is: it says where
// the state of a running pipeline lies.
func score(group, slot int) uint64 {
	x := (uint64(group)<<32 | uint64(slot)) + 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

package localwhisk

import (
	"cmp"
	"slices"
	"sync"

	"github.com/weft-stream/weft/openwhisk"
)

// action is an action as stored, complete. It is never changed: an update
// stores another.
type action struct {
	name        openwhisk.Name
	version     string
	rev         string
	publish     bool
	exec        openwhisk.Exec
	annotations openwhisk.KeyValues
	parameters  openwhisk.KeyValues
	limits      actionLimits
	updated     int64 // epoch ms
}

func (a *action) sequence() bool  { return a.exec.Kind == openwhisk.KindSequence }
func (a *action) conductor() bool { return a.annotations.Truthy(openwhisk.AnnotationConductor) }

// pack is a package as stored, or a binding of one; never changed either.
type pack struct {
	name        openwhisk.Name
	version     string
	publish     bool
	binding     *openwhisk.Name // what a binding stands for; nil for a package proper
	annotations openwhisk.KeyValues
	parameters  openwhisk.KeyValues
	updated     int64 // epoch ms
}

// store holds the entities and the newest activation records, in memory.
type store struct {
	mu          sync.RWMutex
	actions     map[string]*action // by full name
	packages    map[string]*pack   // by full name
	triggers    map[string]*trigger
	rules       map[string]*rule
	activations map[string]*openwhisk.Activation
	order       []string // activation ids, oldest first
	bytes       int      // of results and logs
	keep        int
}

func newStore(keep int) *store {
	return &store{actions: map[string]*action{}, packages: map[string]*pack{},
		triggers: map[string]*trigger{}, rules: map[string]*rule{}, activations: map[string]*openwhisk.Activation{}, keep: keep}
}

// missing is the answer for a name that is not in the collection asked for:
// entities of all collections share their names.
func (s *store) missing(n openwhisk.Name) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.absent(n)
}

func (s *store) absent(n openwhisk.Name) error {
	key := n.String()
	if s.actions[key] != nil || s.packages[key] != nil || s.triggers[key] != nil || s.rules[key] != nil {
		return fail(409, "Resource by this name exists but is not in this collection.")
	}
	return errNotFound
}

// update stores what change makes of the entity of that name in one of the
// store's tables; old is nil if there is none, and change returns nil to
// delete it. An error stores nothing. change may look at all tables: it is
// called under the store's lock.
func update[T any](s *store, table map[string]*T, n openwhisk.Name, change func(old *T) (*T, error)) (*T, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := table[n.String()]
	if err := s.absent(n); old == nil && err != errNotFound {
		return nil, err
	}
	e, err := change(old)
	if err != nil {
		return nil, err
	}
	if e == nil {
		delete(table, n.String())
	} else {
		table[n.String()] = e
	}
	return e, nil
}

// remove deletes an entity unless check, which may be nil, objects.
func remove[T any](s *store, table map[string]*T, n openwhisk.Name, check func(old *T) error) (*T, error) {
	var gone *T
	_, err := update(s, table, n, func(old *T) (*T, error) {
		if old == nil {
			return nil, errNotFound
		}
		gone = old
		if check != nil {
			return nil, check(old)
		}
		return nil, nil
	})
	return gone, err
}

// lookup finds an entity in one of the store's tables, or nil.
func lookup[T any](s *store, table map[string]*T, n openwhisk.Name) *T {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return table[n.String()]
}

func (s *store) action(n openwhisk.Name) *action { return lookup(s, s.actions, n) }
func (s *store) pack(n openwhisk.Name) *pack     { return lookup(s, s.packages, n) }

// resolve replaces the package of a name by the one it is a binding of.
func (s *store) resolve(n openwhisk.Name) openwhisk.Name {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.bound(n)
}

// bound is resolve under the store's lock.
func (s *store) bound(n openwhisk.Name) openwhisk.Name {
	p := s.packages[openwhisk.Name{Namespace: n.Namespace, Entity: n.Package}.String()]
	if n.Package != "" && p != nil && p.binding != nil {
		n.Namespace, n.Package = p.binding.Namespace, p.binding.Entity
	}
	return n
}

// list returns the actions, of one package if it is named, newest first.
func (s *store) list(pkg string) []*action {
	return newest(s, s.actions, func(a *action) bool { return pkg == "" || a.name.Package == pkg })
}

// dated is what a list is ordered by.
type dated interface {
	when() (updated int64, name string)
}

func (a *action) when() (int64, string)  { return a.updated, a.name.String() }
func (p *pack) when() (int64, string)    { return p.updated, p.name.String() }
func (t *trigger) when() (int64, string) { return t.updated, t.name.String() }
func (r *rule) when() (int64, string)    { return r.updated, r.name.String() }

// newest lists the entities of a table that match, the last changed first. A
// nil match is all.
func newest[T any, P interface {
	*T
	dated
}](s *store, table map[string]*T, match func(*T) bool) []*T {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make([]*T, 0, len(table))
	for _, e := range table {
		if match == nil || match(e) {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b *T) int {
		at, an := P(a).when()
		bt, bn := P(b).when()
		return cmp.Or(cmp.Compare(bt, at), cmp.Compare(an, bn))
	})
	return out
}

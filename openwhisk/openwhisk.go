// Package openwhisk is the vocabulary of the platform: its entities, its REST
// API as a client sees it, and the messages on its Kafka topics.
//
// Everything here agrees with Apache OpenWhisk byte for byte where the
// platform is strict and is tolerant where it reads: unknown fields are
// skipped, sizes are bounded, and a parser never panics on what it is given.
package openwhisk

import (
	"errors"
	"fmt"
	"strings"
)

// DefaultNamespace is the name that stands for the caller's own namespace.
const DefaultNamespace = "_"

// ErrName reports an entity name that has no valid form.
var ErrName = errors.New("openwhisk: invalid entity name")

// Name is a fully qualified entity name.
type Name struct {
	Namespace string // "_" or empty: the caller's own
	Package   string // empty: none
	Entity    string
}

// ParseName reads "action", "pkg/action", "/ns/action" and "/ns/pkg/action".
// It returns ErrName for anything else.
func ParseName(s string) (Name, error) {
	rooted := strings.HasPrefix(s, "/")
	parts := strings.Split(strings.TrimPrefix(s, "/"), "/")
	for _, p := range parts {
		if !ValidSegment(p) {
			return Name{}, fmt.Errorf("%w: %q (use action, pkg/action or /ns/pkg/action)", ErrName, s)
		}
	}
	switch {
	case rooted && len(parts) == 2:
		return Name{Namespace: parts[0], Entity: parts[1]}, nil
	case len(parts) == 3:
		return Name{Namespace: parts[0], Package: parts[1], Entity: parts[2]}, nil
	case !rooted && len(parts) == 2:
		return Name{Package: parts[0], Entity: parts[1]}, nil
	case !rooted && len(parts) == 1:
		return Name{Entity: parts[0]}, nil
	}
	return Name{}, fmt.Errorf("%w: %q (use action, pkg/action or /ns/pkg/action)", ErrName, s)
}

// MaxNameLength bounds the name of an entity, a package or a namespace.
const MaxNameLength = 256

// ValidSegment reports whether s is such a name: letters, digits and _, and
// behind the first character also - @ . & and inner spaces.
func ValidSegment(s string) bool {
	if s == "" || len(s) > MaxNameLength || strings.IndexByte("-.@& ", s[0]) >= 0 || s[len(s)-1] == ' ' {
		return false
	}
	for _, r := range s {
		word := r == '_' || r == '-' || r == '@' || r == '.' || r == '&' || r == ' ' ||
			r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !word {
			return false
		}
	}
	return true
}

// In returns the name with an empty or "_" namespace replaced by ns.
func (n Name) In(ns string) Name {
	if n.Namespace == "" || n.Namespace == DefaultNamespace {
		n.Namespace = ns
	}
	return n
}

// Path is the namespace with the package if there is one: "guest", "guest/pkg".
func (n Name) Path() string {
	if n.Package == "" {
		return n.Namespace
	}
	return n.Namespace + "/" + n.Package
}

// Local is the name inside its namespace: "action" or "pkg/action".
func (n Name) Local() string {
	if n.Package == "" {
		return n.Entity
	}
	return n.Package + "/" + n.Entity
}

// String is the fully qualified form without a leading slash: "guest/pkg/a".
func (n Name) String() string { return n.Path() + "/" + n.Entity }

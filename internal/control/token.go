package control

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"time"
)

// Reserved is the key in an activation's parameters that makes it a lease.
const Reserved = "__weft"

// Token is a lease: the right of one container to work for a stage, once. It names no slot, since an
// activation can't be addressed to a container. The MAC is the hook's; proxies can't check it.
type Token struct {
	V         int    `json:"v"`
	Namespace string `json:"ns"`
	Pipeline  string `json:"pipeline"`
	Stage     string `json:"stage"`
	ID        string `json:"id"`  // one-time, 32 hex digits
	ExpiresMS int64  `json:"exp"` // epoch; by when it must have arrived
	MAC       string `json:"mac"`
}

// ErrToken is what Verify returns, wrapped with what is wrong.
var ErrToken = errors.New("lease refused")

// SignToken makes a token with its MAC; the id is the brain's.
func SignToken(key []byte, namespace, pipeline, stage, id string, expires time.Time) Token {
	t := Token{V: Version, Namespace: namespace, Pipeline: pipeline, Stage: stage, ID: id, ExpiresMS: expires.UnixMilli()}
	t.MAC = hex.EncodeToString(t.mac(key))
	return t
}

// Verify checks MAC, namespace and expiry. That it is used once is the brain's to see.
func (t Token) Verify(keys [][]byte, namespace string, now time.Time) error {
	mac, err := hex.DecodeString(t.MAC)
	if err != nil || t.V != Version {
		return fmt.Errorf("%w: malformed", ErrToken)
	}
	ok := false
	for _, k := range keys {
		ok = ok || hmac.Equal(mac, t.mac(k))
	}
	switch {
	case !ok:
		return fmt.Errorf("%w: its MAC is not of this cluster", ErrToken)
	case t.Namespace != namespace:
		return fmt.Errorf("%w: it is for namespace %q, the activation is in %q", ErrToken, t.Namespace, namespace)
	case now.UnixMilli() > t.ExpiresMS:
		return fmt.Errorf("%w: expired", ErrToken)
	}
	return nil
}

// mac covers every field, each with its length, so that no two tokens share the same bytes.
func (t Token) mac(key []byte) []byte {
	h := hmac.New(sha256.New, key)
	var n [8]byte
	for _, s := range []string{"weft lease", t.Namespace, t.Pipeline, t.Stage, t.ID} {
		binary.LittleEndian.PutUint64(n[:], uint64(len(s)))
		h.Write(n[:])
		h.Write([]byte(s))
	}
	binary.LittleEndian.PutUint64(n[:], uint64(t.ExpiresMS))
	h.Write(n[:])
	return h.Sum(nil)
}

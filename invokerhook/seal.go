package invokerhook

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
)

// vault makes the registry's values of records and back. All of a record is sealed, so that who reads
// the topic learns no more than that a pipeline runs, and who writes to it can only destroy: a value
// that was altered, or moved to another name or term, doesn't open. An older one put back does.
type vault struct {
	boxes []cipher.AEAD // of the cluster keys; the first seals
}

// sealed is a record's value in Kafka. What is in clear is also part of what the seal covers.
type sealed struct {
	Version int    `json:"version"`
	Term    uint32 `json:"term"`
	Sealed  []byte `json:"sealed"` // nonce, then AES-256-GCM of the record's JSON
}

// recordVersion is the layout of sealed and record that this hook writes and reads.
const recordVersion = 2

func newVault(clusterKeys [][]byte) (*vault, error) {
	v := &vault{}
	for _, key := range clusterKeys {
		k, err := hkdf.Key(sha256.New, key, nil, "weft registry record", 32)
		if err != nil {
			return nil, fmt.Errorf("derive the registry's key: %w", err)
		}
		block, err := aes.NewCipher(k)
		if err != nil {
			return nil, fmt.Errorf("make the registry's cipher: %w", err)
		}
		box, err := cipher.NewGCM(block)
		if err != nil {
			return nil, fmt.Errorf("make the registry's cipher: %w", err)
		}
		v.boxes = append(v.boxes, box)
	}
	return v, nil
}

// bound is what the seal covers besides the record; the name, which may be anything, comes last.
func (s *sealed) bound(name string) []byte {
	return fmt.Appendf(nil, "%d %d %s", s.Version, s.Term, name)
}

func (v *vault) seal(name string, rec record) ([]byte, error) {
	plain, err := json.Marshal(rec)
	if err != nil {
		return nil, fmt.Errorf("encode the registry's record of %s: %w", name, err)
	}
	s := sealed{Version: recordVersion, Term: rec.Term}
	nonce := make([]byte, v.boxes[0].NonceSize())
	_, _ = rand.Read(nonce) // never fails, see crypto/rand
	s.Sealed = v.boxes[0].Seal(nonce, nonce, plain, s.bound(name))
	return json.Marshal(s)
}

// open reads a value that any of the keys has sealed for this name.
func (v *vault) open(name string, value []byte) (record, error) {
	var s sealed
	if err := json.Unmarshal(value, &s); err != nil {
		return record{}, errors.New("it is no record") // the decoder's words quote it
	}
	if s.Version != recordVersion {
		return record{}, fmt.Errorf("it has version %d, this hook reads %d: run the hook that wrote it, or stop the pipeline with it", s.Version, recordVersion)
	}
	for _, box := range v.boxes {
		n := box.NonceSize()
		if len(s.Sealed) < n {
			break
		}
		plain, err := box.Open(nil, s.Sealed[:n], s.Sealed[n:], s.bound(name))
		if err != nil {
			continue
		}
		var rec record
		if err := json.Unmarshal(plain, &rec); err != nil {
			return record{}, fmt.Errorf("decode it: %w", err)
		}
		rec.Term = s.Term
		return rec, nil
	}
	return record{}, errors.New("it is not sealed with a key of this cluster: if the key was changed, add the former one to the key file")
}

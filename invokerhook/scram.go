package invokerhook

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"strings"
)

// scram is the client's side of a login by RFC 5802: the password never leaves this process, and the
// broker has to show that it knows it too. One is good for one login.
type scram struct {
	hash func() hash.Hash

	password, nonce string
	first           string // our first message, without its header
	signature       []byte // what the broker has to show
	step            int
}

// Rounds that a broker may ask for: Kafka's least, and what a login may cost.
const (
	minRounds = 4096
	maxRounds = 1 << 20
)

var errScram = errors.New("the broker's answer is not one of SCRAM")

// Begin has no other identity to act for: authzID is unused.
func (s *scram) Begin(user, password, _ string) error {
	var n [18]byte
	_, _ = rand.Read(n[:]) // never fails, see crypto/rand
	s.nonce = base64.RawStdEncoding.EncodeToString(n[:])
	s.password = password
	s.first = "n=" + strings.NewReplacer("=", "=3D", ",", "=2C").Replace(user) + ",r=" + s.nonce
	return nil
}

// Step answers the broker's last message; the first is empty.
func (s *scram) Step(challenge string) (string, error) {
	s.step++
	switch s.step {
	case 1:
		return "n,," + s.first, nil
	case 2:
		return s.prove(challenge)
	case 3:
		return "", s.verify(challenge)
	}
	return "", errScram
}

// Done is true when the broker has shown that it knows the password.
func (s *scram) Done() bool { return s.step >= 3 }

// prove answers the salt with a proof of the password.
func (s *scram) prove(challenge string) (string, error) {
	f := fields(challenge)
	salt, err := base64.StdEncoding.DecodeString(f["s"])
	rounds, err2 := strconv.Atoi(f["i"])
	if err != nil || err2 != nil || len(salt) == 0 || len(f["r"]) <= len(s.nonce) || !strings.HasPrefix(f["r"], s.nonce) {
		return "", errScram
	}
	if rounds < minRounds || rounds > maxRounds {
		return "", fmt.Errorf("the broker asks for %d rounds of SCRAM: %d to %d are done", rounds, minRounds, maxRounds)
	}
	salted, err := pbkdf2.Key(s.hash, s.password, salt, rounds, s.hash().Size())
	if err != nil {
		return "", fmt.Errorf("derive the key for the broker: %w", err)
	}
	client := s.mac(salted, "Client Key")
	h := s.hash()
	h.Write(client) // to a hash: can't fail
	last := "c=biws,r=" + f["r"]
	text := s.first + "," + challenge + "," + last
	proof := make([]byte, len(client))
	subtle.XORBytes(proof, client, s.mac(h.Sum(nil), text))
	s.signature = s.mac(s.mac(salted, "Server Key"), text)
	return last + ",p=" + base64.StdEncoding.EncodeToString(proof), nil
}

func (s *scram) verify(last string) error {
	f := fields(last)
	if f["e"] != "" {
		return fmt.Errorf("the broker refuses the login: %q", f["e"])
	}
	got, err := base64.StdEncoding.DecodeString(f["v"])
	if err != nil || !hmac.Equal(got, s.signature) {
		return errors.New("the broker does not know the password: it is not the one that it says it is")
	}
	return nil
}

func (s *scram) mac(key []byte, text string) []byte {
	m := hmac.New(s.hash, key)
	m.Write([]byte(text)) // to a hash: can't fail
	return m.Sum(nil)
}

// fields of a message, "k=value,k=value".
func fields(message string) map[string]string {
	out := map[string]string{}
	for _, part := range strings.Split(message, ",") {
		if k, v, ok := strings.Cut(part, "="); ok {
			out[k] = v
		}
	}
	return out
}

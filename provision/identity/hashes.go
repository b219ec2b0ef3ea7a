package identity

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"sync"

	"golang.org/x/crypto/bcrypt"
)

// Hashes remembers which password a bcrypt hash was found to be of. To find that
// out costs a twentieth of a second, and it never changes.
type Hashes struct {
	mu   sync.Mutex
	old  map[string]bool
	used map[string]bool // those asked for since: the others are of nobody any more
	made sync.Map        // of passwords, functions that make their hash once
}

// ReadHashes reads what Text returned; text that is not that remembers nothing.
func ReadHashes(text []byte) *Hashes {
	h := &Hashes{old: map[string]bool{}, used: map[string]bool{}}
	var list []string
	_ = json.Unmarshal(text, &list)
	for _, one := range list {
		h.old[one] = true
	}
	return h
}

// Text is what was asked for since ReadHashes. It tells as much about passwords
// as the hashes do.
func (h *Hashes) Text() ([]byte, error) { return json.Marshal(slices.Sorted(maps.Keys(h.used))) }

// verifies says whether a hash is of a password.
func (h *Hashes) verifies(hash []byte, password string) bool {
	key := fingerprint(hash, password)
	h.mu.Lock()
	known := h.old[key] || h.used[key]
	h.mu.Unlock()
	if !known && bcrypt.CompareHashAndPassword(hash, []byte(password)) != nil {
		return false
	}
	h.remember(key)
	return true
}

// hash makes a new hash of a password: one for all who have that password.
func (h *Hashes) hash(password string) ([]byte, error) {
	once, _ := h.made.LoadOrStore(password, sync.OnceValues(func() ([]byte, error) {
		return bcrypt.GenerateFromPassword([]byte(password), bcryptCost)
	}))
	hash, err := once.(func() ([]byte, error))()
	if err == nil {
		h.remember(fingerprint(hash, password))
	}
	return hash, err
}

func (h *Hashes) remember(key string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.used[key] = true
}

func fingerprint(hash []byte, password string) string {
	sum := sha256.New()
	sum.Write(hash)
	sum.Write([]byte{0})
	sum.Write([]byte(password))
	return hex.EncodeToString(sum.Sum(nil))
}

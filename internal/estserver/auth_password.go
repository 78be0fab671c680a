package estserver

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"chancery/internal/ca"
	"chancery/internal/limit"

	"golang.org/x/crypto/argon2"
)

// argonCost is how much work a password's hash is (RFC 9106; OWASP's least for servers
// with many log-ins).
type argonCost struct {
	memory  uint32 // KiB
	time    uint32
	threads uint8
}

var (
	usualCost = argonCost{memory: 19 * 1024, time: 2, threads: 1}
	mostCost  = argonCost{memory: 256 * 1024, time: 16, threads: 16} // of a stored hash
)

const argonSalt, argonLength = 16, 32

// HashPassword gives the argon2id hash of a standing password, as [Credential.Hash]
// has it: "$argon2id$v=19$m=…,t=…,p=…$SALT$HASH".
func HashPassword(password string) string {
	salt := make([]byte, argonSalt)
	rand.Read(salt)
	c := usualCost
	sum := argon2.IDKey([]byte(password), salt, c.time, c.memory, c.threads, argonLength)
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, c.memory, c.time, c.threads, b64(salt), b64(sum))
}

// OneTimeDigest is the SHA-256 by which a one-time password is found; see
// [Credential.Digest]. Such a password is random, so it needs no slow hash.
func OneTimeDigest(password string) []byte {
	sum := sha256.Sum256([]byte(password))
	return sum[:]
}

var errHash = errors.New("the stored hash of a password cannot be read; set the password anew")

// parseHash reads what HashPassword wrote, within bounds.
func parseHash(text string) (c argonCost, salt, sum []byte, err error) {
	parts := strings.Split(text, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return c, nil, nil, errHash
	}
	n, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &c.memory, &c.time, &c.threads)
	if n != 3 || err != nil || c.memory < 8 || c.memory > mostCost.memory || c.time < 1 || c.time > mostCost.time ||
		c.threads < 1 || c.threads > mostCost.threads {
		return c, nil, nil, errHash
	}
	if salt, err = base64.RawStdEncoding.DecodeString(parts[4]); err != nil || len(salt) < 8 {
		return c, nil, nil, errHash
	}
	if sum, err = base64.RawStdEncoding.DecodeString(parts[5]); err != nil || len(sum) < 16 || len(sum) > 64 {
		return c, nil, nil, errHash
	}
	return c, salt, sum, nil
}

const (
	argonAtOnce  = 2                // hashes under way; each takes 19 MiB
	argonWaiting = 64               // more are told to come back
	passwordLife = time.Minute      // that a verified password is remembered
	passwordsMax = 4096             // remembered
	loginPause   = 10 * time.Second // what those are told
)

// passwords verifies standing passwords: so many at once, so that log-ins cannot eat
// the machine, and each only now and then, as clients send theirs with every request.
// What is remembered is a MAC under a key of this process over the password and the
// stored hash, so that a changed password is a new one, and memory tells nobody any.
type passwords struct {
	key     [32]byte
	working chan struct{}
	waiting chan struct{}
	mu      *sync.Mutex
	known   map[[32]byte]time.Time // when it ends; guarded by mu
	from    map[string]int         // how many of an address are under way or wait; guarded by mu
}

func newPasswords() passwords {
	p := passwords{
		working: make(chan struct{}, argonAtOnce), waiting: make(chan struct{}, argonWaiting),
		mu: &sync.Mutex{}, known: map[[32]byte]time.Time{}, from: map[string]int{},
	}
	rand.Read(p.key[:])
	return p
}

// remembered tells whether the password was verified against the hash a moment ago.
func (p *passwords) remembered(password, hash string, now time.Time) bool {
	at := p.mac(password, hash)
	p.mu.Lock()
	defer p.mu.Unlock()
	until, ok := p.known[at]
	return ok && now.Before(until)
}

func (p *passwords) mac(password, hash string) (sum [32]byte) {
	m := hmac.New(sha256.New, p.key[:])
	_ = binary.Write(m, binary.BigEndian, uint64(len(password))) // a hash takes everything
	m.Write([]byte(password))
	m.Write([]byte(hash))
	m.Sum(sum[:0])
	return sum
}

// verify tells whether the password is that of the hash. An empty hash fits nothing,
// and takes as long.
func (p *passwords) verify(c *call, password, hash string) (bool, error) {
	if hash != "" && p.remembered(password, hash, c.now) {
		return true, nil
	}
	done, err := p.turn(c)
	if err != nil {
		return false, err
	}
	defer done()
	cost, salt, sum := usualCost, make([]byte, argonSalt), make([]byte, argonLength)
	if hash != "" {
		var err error
		if cost, salt, sum, err = parseHash(hash); err != nil {
			return false, err
		}
	}
	got := argon2.IDKey([]byte(password), salt, cost.time, cost.memory, cost.threads, uint32(len(sum)))
	if subtle.ConstantTimeCompare(got, sum) != 1 || hash == "" {
		return false, nil
	}
	p.remember(p.mac(password, hash), c.now)
	return true, nil
}

// turn waits until a slow derivation may begin, of whatever a client can make us derive
// before it has shown who it is; done ends it. One address takes half of the places to
// wait in, and no more.
func (p *passwords) turn(c *call) (done func(), err error) {
	from, ctx := limit.AddressKey(c.address), c.r.Context()
	full := &ca.Error{Kind: ca.Unavailable, Detail: "too many log-ins at once; try again in a moment", RetryAfter: loginPause}
	if !p.enter(from) {
		return nil, full
	}
	defer func() {
		if err != nil {
			p.leave(from)
		}
	}()
	select {
	case p.waiting <- struct{}{}:
	default:
		return nil, full
	}
	select {
	case p.working <- struct{}{}:
	case <-ctx.Done():
		<-p.waiting
		return nil, ctx.Err()
	}
	return func() {
		<-p.working
		<-p.waiting
		p.leave(from)
	}, nil
}

// enter counts one more of an address; false: it has its part already.
func (p *passwords) enter(from string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.from[from] >= argonWaiting/2 {
		return false
	}
	p.from[from]++
	return true
}

func (p *passwords) leave(from string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.from[from]--; p.from[from] == 0 {
		delete(p.from, from)
	}
}

func (p *passwords) remember(at [32]byte, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.known) >= passwordsMax {
		maps.DeleteFunc(p.known, func(_ [32]byte, until time.Time) bool { return !now.Before(until) })
	}
	if len(p.known) < passwordsMax {
		p.known[at] = now.Add(passwordLife)
	}
}

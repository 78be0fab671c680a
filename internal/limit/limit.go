// Package limit counts how often somebody does something and says when it is
// too often: token buckets in memory, one per key of a rule. Each replica
// counts for itself, and a restart forgets: this protects the server from being
// flooded, and is no quota that anything may rely on.
//
// The room must not know HTTP, accounts or what is being counted. A key is a
// string that the caller chose; for addresses see [AddressKey].
package limit

import (
	"container/list"
	"fmt"
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// Rule says how often something may be done per key.
type Rule struct {
	Name  string        // for messages and metrics: "new-order"
	Count int           // how many per Per; 0 makes the rule unlimited
	Per   time.Duration // for example an hour
	Burst int           // how many at once after a pause; 0: Count
	Keys  int           // how many keys are remembered; 0: 65536
}

// defaultKeys bounds a limit to about 15 MB.
const defaultKeys = 1 << 16

// shards is how many locks the keys are spread over.
const shards = 32

// maxKey is how much of a key counts, in octets: keys come from outside, and
// the memory of each is bounded as well as their number. A longer key is cut,
// and shares its bucket with those that begin alike.
const maxKey = 256

// Limit applies one rule. It is safe for concurrent use.
type Limit struct {
	rule     Rule
	interval time.Duration // between tokens
	full     time.Duration // to fill an empty bucket
	seed     maphash.Seed  // secret, so that nobody can aim at one shard
	shards   [shards]shard
}

// shard is a part of the keys: those least recently allowed are at the back of
// the list, and are evicted first.
type shard struct {
	mu      sync.Mutex
	buckets map[string]*list.Element // of *bucket
	order   list.List
	limit   int
}

// bucket is one key's count, kept as an instant: a bucket is full if its empty
// instant lies full in the past, and empty at that instant.
type bucket struct {
	key   string
	empty time.Time
}

// New makes a limit. A negative number, or a count without a duration, is an
// error.
func New(r Rule) (*Limit, error) {
	if r.Count < 0 || r.Burst < 0 || r.Keys < 0 || r.Per < 0 {
		return nil, fmt.Errorf("limit %s: numbers and durations cannot be negative", r.Name)
	}
	if r.Count > 0 && r.Per/time.Duration(r.Count) <= 0 {
		return nil, fmt.Errorf("limit %s: %d per %v is not a rate that can be kept; give a longer duration", r.Name, r.Count, r.Per)
	}
	if r.Burst == 0 {
		r.Burst = r.Count
	}
	if r.Keys == 0 {
		r.Keys = defaultKeys
	}
	l := &Limit{rule: r, seed: maphash.MakeSeed()}
	if r.Count > 0 {
		l.interval = r.Per / time.Duration(r.Count)
		l.full = l.interval * time.Duration(r.Burst)
		if l.full/time.Duration(r.Burst) != l.interval {
			return nil, fmt.Errorf("limit %s: a burst of %d at %d per %v is too large", r.Name, r.Burst, r.Count, r.Per)
		}
	}
	for i := range l.shards {
		l.shards[i].buckets = map[string]*list.Element{}
		l.shards[i].limit = max(1, r.Keys/shards)
	}
	return l, nil
}

// Name gives the rule's name.
func (l *Limit) Name() string { return l.rule.Name }

// Allow takes a token from the key's bucket. If there is none it takes nothing
// and says how long to wait for one: what Retry-After should say (RFC 8555
// §6.6, RFC 9110 §10.2.3), rounded up by the caller. A nil Limit allows all.
func (l *Limit) Allow(key string, now time.Time) (retryAfter time.Duration, ok bool) {
	if l == nil || l.rule.Count == 0 {
		return 0, true
	}
	if len(key) > maxKey {
		key = key[:maxKey]
	}
	s := &l.shards[maphash.String(l.seed, key)%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.find(key)
	// A bucket fills up to full and no further. If the clock was set back the
	// instant lies too far ahead: then the bucket is empty, and no more.
	at := now.Add(-l.full)
	switch {
	case b == nil || b.empty.Before(at):
	case b.empty.After(now):
		at = now
	default:
		at = b.empty
	}
	if at = at.Add(l.interval); at.After(now) {
		if b != nil && b.empty.After(now) {
			b.empty = now
		}
		return at.Sub(now), false
	}
	s.put(key, at)
	return 0, true
}

// find gives a key's bucket, or nil.
func (s *shard) find(key string) *bucket {
	if e := s.buckets[key]; e != nil {
		return e.Value.(*bucket)
	}
	return nil
}

// put records a key's instant. If there are too many keys, the one that was
// allowed least recently is forgotten: it is the fullest, or nearly, so that
// nobody gains much by pushing it out, and somebody with that many keys gains
// nothing more than they have already.
func (s *shard) put(key string, empty time.Time) {
	if e := s.buckets[key]; e != nil {
		e.Value.(*bucket).empty = empty
		s.order.MoveToFront(e)
		return
	}
	if len(s.buckets) >= s.limit {
		last := s.order.Back()
		delete(s.buckets, last.Value.(*bucket).key)
		s.order.Remove(last)
	}
	// The key may be a slice of something large.
	b := &bucket{key: string([]byte(key)), empty: empty}
	s.buckets[b.key] = s.order.PushFront(b)
}

// Len says how many keys are remembered, for a metric.
func (l *Limit) Len() int {
	n := 0
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		n += len(s.buckets)
		s.mu.Unlock()
	}
	return n
}

// AddressKey gives the key that stands for a client's address: an IPv4 address,
// also when it is written as IPv6, and the /64 of an IPv6 address, as a client
// commonly has all of that. The address may have a port or a zone, which do not
// count. What is no address is its own key.
func AddressKey(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		withPort, err := netip.ParseAddrPort(address)
		if err != nil {
			return address
		}
		ip = withPort.Addr()
	}
	ip = ip.Unmap().WithZone("")
	if ip.Is4() {
		return ip.String()
	}
	prefix, err := ip.Prefix(64)
	if err != nil {
		return address
	}
	return prefix.String()
}

package nonce

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"slices"
	"sync"
	"time"
)

const (
	pageBits  = 2048 // nonces per page
	pageWords = pageBits / 64

	// defaultPages bounds a Seen to about 25 MB and 134 million nonces.
	defaultPages = 1 << 16
	// sweepEvery is how often expired pages are looked for.
	sweepEvery = 10 * time.Minute
)

// SeenConfig says what a [Seen] needs.
type SeenConfig struct {
	Pages int              // the most pages kept, of 2048 nonces each; 0: 65536
	Clock func() time.Time // time.Now if nil
}

// Seen remembers in memory which nonces were spent: a bit each. It is for what
// only reads, where a replay after a crash or within a second on another
// replica does no harm; what writes records [Nonce.ID] in its own transaction.
//
// Memory is bounded. When it is full the oldest pages are forgotten, and from
// then on everything as old as they were counts as spent: a client is told to
// take a newer nonce, and nothing can be replayed.
type Seen struct {
	limit int
	clock func() time.Time

	mu    sync.Mutex // guards all below
	pages map[pageKey]*page
	// fresh are those of the pages that have something to drain, so that draining
	// holds the lock for as long as there is news, not for as many pages as there are.
	fresh map[pageKey]*page
	floor int64 // the latest expiry (Unix seconds) of what was forgotten
	sweep time.Time
}

// pageKey is one source's run of 2048 sequences.
type pageKey struct {
	source [8]byte
	page   uint64
}

// page is the bits of a run: those spent, and of them those spent here that
// were not drained yet.
type page struct {
	spent   [pageWords]uint64
	fresh   *[pageWords]uint64 // nil if there are none
	expires int64              // the latest expiry among its nonces
}

// NewSeen makes an empty memory.
func NewSeen(c SeenConfig) *Seen {
	if c.Pages <= 0 {
		c.Pages = defaultPages
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	return &Seen{limit: c.Pages, clock: c.Clock, pages: map[pageKey]*page{}, fresh: map[pageKey]*page{}}
}

// locate says where a nonce's bit is.
func locate(n Nonce) (key pageKey, word int, mask uint64) {
	bit := n.Sequence() % pageBits
	return pageKey{n.Source(), n.Sequence() / pageBits}, int(bit / 64), 1 << (bit % 64)
}

// Spend spends a nonce; false says that it was spent before.
func (s *Seen) Spend(n Nonce) bool {
	key, word, mask := locate(n)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tidy()
	expires := n.Expires().Unix()
	if expires <= s.floor {
		return false
	}
	p := s.open(key, expires)
	if p.spent[word]&mask != 0 {
		return false
	}
	p.spent[word] |= mask
	if p.fresh == nil {
		p.fresh = new([pageWords]uint64)
		s.fresh[key] = p
	}
	p.fresh[word] |= mask
	return true
}

// Spent says whether a nonce was spent, and spends nothing.
func (s *Seen) Spent(n Nonce) bool {
	key, word, mask := locate(n)
	s.mu.Lock()
	defer s.mu.Unlock()
	if n.Expires().Unix() <= s.floor {
		return true
	}
	p := s.pages[key]
	return p != nil && p.spent[word]&mask != 0
}

// open finds or makes a page that will hold something with that expiry.
func (s *Seen) open(key pageKey, expires int64) *page {
	p := s.pages[key]
	if p == nil {
		if len(s.pages) >= s.limit {
			s.evict()
		}
		p = &page{}
		s.pages[key] = p
	}
	p.expires = max(p.expires, expires)
	return p
}

// tidy forgets what has expired. Clocks go back, too: that is why forgetting
// raises the floor, and why a nonce is not looked up by the time of day.
func (s *Seen) tidy() {
	now := s.clock()
	if wait := s.sweep.Sub(now); wait > 0 && wait <= sweepEvery {
		return
	}
	s.sweep = now.Add(sweepEvery)
	for key, p := range s.pages {
		if p.expires < now.Add(-Skew).Unix() {
			s.forget(key, p)
		}
	}
}

// evict makes room by forgetting the eighth of the pages that expires first.
func (s *Seen) evict() {
	keys := make([]pageKey, 0, len(s.pages))
	for key := range s.pages {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b pageKey) int { return cmp.Compare(s.pages[a].expires, s.pages[b].expires) })
	for _, key := range keys[:len(keys)/8+1] {
		s.forget(key, s.pages[key])
	}
}

func (s *Seen) forget(key pageKey, p *page) {
	s.floor = max(s.floor, p.expires)
	delete(s.pages, key)
	delete(s.fresh, key)
}

// Bits are spent nonces of one run, to be told to another replica.
type Bits struct {
	Source  [8]byte
	Page    uint64
	Expires int64      // Unix seconds
	Spent   [32]uint64 // a bit per nonce
}

// drainLimit is how many pages one [Seen.Drain] gives: at most 1.2 MB encoded.
const drainLimit = 4096

// Drain gives what was spent here since it was last called. There may be more
// than fits at once; the rest comes with the next call. What is drained and
// then lost is not given again.
func (s *Seen) Drain() []Bits {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Bits
	for key, p := range s.fresh {
		if len(out) == drainLimit {
			break
		}
		out = append(out, Bits{Source: key.source, Page: key.page, Expires: p.expires, Spent: *p.fresh})
		p.fresh = nil
		delete(s.fresh, key)
	}
	return out
}

// Merge adds what another replica drained. It is not drained again from here.
func (s *Seen) Merge(all []Bits) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tidy()
	// No nonce lives longer; a page that claimed to would never be forgotten.
	latest := s.clock().Add(Skew + Lifetime).Unix()
	for _, b := range all {
		expires := min(b.Expires, latest)
		if expires <= s.floor || b.Spent == [pageWords]uint64{} {
			continue
		}
		p := s.open(pageKey{b.Source, b.Page}, expires)
		for i := range b.Spent {
			p.spent[i] |= b.Spent[i]
		}
	}
}

// Len says how many nonces are remembered, for a metric.
func (s *Seen) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, p := range s.pages {
		for _, w := range p.spent {
			n += bits.OnesCount64(w)
		}
	}
	return n
}

// EncodeBits writes bits for the way between replicas: per page its source,
// number and expiry, a map of its words that are not zero, and those words.
func EncodeBits(all []Bits) []byte {
	var out []byte
	for _, b := range all {
		out = append(out, b.Source[:]...)
		out = binary.BigEndian.AppendUint64(out, b.Page)
		out = binary.BigEndian.AppendUint64(out, uint64(b.Expires))
		var words uint32
		for i, w := range b.Spent {
			if w != 0 {
				words |= 1 << i
			}
		}
		out = binary.BigEndian.AppendUint32(out, words)
		for _, w := range b.Spent {
			if w != 0 {
				out = binary.BigEndian.AppendUint64(out, w)
			}
		}
	}
	return out
}

// DecodeBits reads what [EncodeBits] wrote, and nothing else: an error is
// [ErrMalformed].
func DecodeBits(in []byte) ([]Bits, error) {
	const head = 8 + 8 + 8 + 4
	var all []Bits
	for len(in) > 0 {
		if len(in) < head || len(all) == drainLimit {
			return nil, ErrMalformed
		}
		b := Bits{
			Source: [8]byte(in), Page: binary.BigEndian.Uint64(in[8:]),
			Expires: int64(binary.BigEndian.Uint64(in[16:])),
		}
		words := binary.BigEndian.Uint32(in[24:])
		in = in[head:]
		if len(in) < 8*bits.OnesCount32(words) {
			return nil, ErrMalformed
		}
		for i := range b.Spent {
			if words&(1<<i) == 0 {
				continue
			}
			if b.Spent[i] = binary.BigEndian.Uint64(in); b.Spent[i] == 0 {
				return nil, ErrMalformed
			}
			in = in[8:]
		}
		all = append(all, b)
	}
	return all, nil
}

package nonce

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
	"time"
)

// made builds a nonce as Check would give it.
func made(source byte, sequence uint64, at time.Time) Nonce {
	n := Nonce{second: at.Unix()}
	n.id[0] = source
	binary.BigEndian.PutUint64(n.id[8:], sequence)
	return n
}

func TestSpend(t *testing.T) {
	c := newClock()
	s := NewSeen(SeenConfig{Clock: c.Now})
	for _, n := range []Nonce{made(1, 1, start), made(1, 2, start), made(2, 1, start), made(1, pageBits, start), made(1, 1<<63+5, start)} {
		if s.Spent(n) || !s.Spend(n) {
			t.Fatalf("%v was spent before", n)
		}
		if !s.Spent(n) || s.Spend(n) {
			t.Fatalf("%v can be spent twice", n)
		}
	}
}

func TestForgetting(t *testing.T) {
	c := newClock()
	s := NewSeen(SeenConfig{Clock: c.Now})
	old := made(1, 1, start)
	s.Spend(old)
	c.Advance(Lifetime + time.Hour)
	s.Spend(made(2, 1, c.Now()))
	if len(s.pages) != 1 {
		t.Fatalf("%d pages", len(s.pages))
	}
	// The clock goes back to when the nonce was still good.
	c.Advance(-2 * time.Hour)
	if s.Spend(old) || !s.Spent(old) {
		t.Fatal("a forgotten nonce was replayed")
	}
	if !s.Spend(made(3, 1, c.Now())) {
		t.Fatal("a new nonce is refused after the clock went back")
	}
}

func TestBounded(t *testing.T) {
	c := newClock()
	const limit = 64
	s := NewSeen(SeenConfig{Pages: limit, Clock: c.Now})
	var all []Nonce
	for i := range uint64(1000) {
		c.Advance(time.Second)
		n := made(1, i*pageBits, c.Now()) // the worst case: a page each
		all = append(all, n)
		if !s.Spend(n) {
			t.Fatalf("nonce %d was refused", i)
		}
		if len(s.pages) > limit {
			t.Fatalf("%d pages", len(s.pages))
		}
	}
	for i, n := range all {
		if s.Spend(n) {
			t.Fatalf("nonce %d was replayed after the memory was full", i)
		}
	}
}

func TestReplicas(t *testing.T) {
	c := newClock()
	a, b := NewSeen(SeenConfig{Clock: c.Now}), NewSeen(SeenConfig{Clock: c.Now})
	n, m := made(1, 77, start), made(1, 78, start)
	a.Spend(n)
	send := func(from, to *Seen) int {
		wire := EncodeBits(from.Drain())
		all, err := DecodeBits(wire)
		if err != nil {
			t.Fatal(err)
		}
		to.Merge(all)
		return len(all)
	}
	if send(a, b) != 1 || b.Spend(n) || !b.Spend(m) {
		t.Fatal("the bit did not arrive, or another with it")
	}
	if send(a, b) != 0 {
		t.Fatal("drained twice")
	}
	// What was merged does not go round in circles; what was spent here goes.
	if send(b, a) != 1 || !a.Spent(m) || send(a, b) != 0 {
		t.Fatal("merged bits were sent back")
	}
	// A page that claims to live for ever does not.
	b.Merge([]Bits{{Source: [8]byte{9}, Expires: 1 << 60, Spent: [32]uint64{1}}})
	c.Advance(Lifetime + 2*time.Hour)
	b.Spend(made(3, 1, c.Now()))
	if len(b.pages) != 1 {
		t.Fatalf("%d pages", len(b.pages))
	}
	if !b.Spend(made(4, 1, c.Now())) {
		t.Fatal("the claim raised the floor beyond the present")
	}
}

func TestDrainIsBounded(t *testing.T) {
	c := newClock()
	s := NewSeen(SeenConfig{Clock: c.Now})
	for i := range uint64(drainLimit + 10) {
		s.Spend(made(1, i*pageBits, start))
	}
	if first, second, third := len(s.Drain()), len(s.Drain()), len(s.Drain()); first != drainLimit || second != 10 || third != 0 {
		t.Fatalf("%d, %d, %d", first, second, third)
	}
}

// What was forgotten is not drained, and its page can be used again.
func TestDrainAfterForgetting(t *testing.T) {
	c := newClock()
	s := NewSeen(SeenConfig{Clock: c.Now})
	s.Spend(made(1, 1, start))
	c.Advance(Lifetime + time.Hour)
	late := made(1, 2, c.Now())
	s.Spend(late)
	all := s.Drain()
	if len(all) != 1 || all[0].Expires != late.Expires().Unix() || all[0].Spent != [32]uint64{1 << 2} {
		t.Fatalf("%+v", all)
	}
	if len(s.Drain()) != 0 || len(s.fresh) != 0 {
		t.Fatal("drained twice")
	}
}

func TestDecodeRefuses(t *testing.T) {
	good := EncodeBits([]Bits{{Source: [8]byte{1}, Expires: 5, Spent: [32]uint64{3: 7, 31: 1}}})
	zero := bytes.Clone(good)
	copy(zero[28:], make([]byte, 8))
	for _, in := range [][]byte{good[:len(good)-1], append(bytes.Clone(good), 0), good[:10], zero, make([]byte, 28*(drainLimit+1))} {
		if _, err := DecodeBits(in); !errors.Is(err, ErrMalformed) {
			t.Errorf("%x: %v", in[:min(len(in), 64)], err)
		}
	}
}

func FuzzDecodeBits(f *testing.F) {
	f.Add(EncodeBits([]Bits{{Source: [8]byte{1}, Page: 3, Expires: 5, Spent: [32]uint64{3: 7, 31: 1}}, {}}))
	f.Fuzz(func(t *testing.T, in []byte) {
		all, err := DecodeBits(in)
		if err == nil && !bytes.Equal(EncodeBits(all), in) {
			t.Fatalf("%x has two spellings", in)
		}
	})
}

func BenchmarkSpend(b *testing.B) {
	s := NewSeen(SeenConfig{})
	now := time.Now()
	var i uint64
	b.ReportAllocs()
	for b.Loop() {
		i++
		s.Spend(made(1, i, now))
	}
}

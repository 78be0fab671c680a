package cms

import (
	"bytes"
	"encoding/asn1"
	"math/big"
	"slices"

	"golang.org/x/crypto/cryptobyte"
	tags "golang.org/x/crypto/cryptobyte/asn1"
)

// reader takes DER apart. The first fault sticks, so that a structure is read as it is
// written down and its error asked for once.
type reader struct {
	rest cryptobyte.String
	err  *error // shared by all readers of a message
}

// newReader makes DER of the message, if it is not, and begins with it.
func newReader(in []byte) (reader, error) {
	der, err := DER(in, Limits{})
	return reader{rest: der, err: new(error)}, err
}

// readerOf reads a part of a message that is DER already.
func readerOf(der []byte) reader { return reader{rest: der, err: new(error)} }

func (r *reader) fail(format string, args ...any) {
	if *r.err == nil {
		*r.err = fault(Malformed, format, args...)
	}
	r.rest = nil
}

func (r *reader) ok() bool { return *r.err == nil }

func (r *reader) empty() bool { return len(r.rest) == 0 }

func (r *reader) peek(tag tags.Tag) bool { return r.ok() && r.rest.PeekASN1Tag(tag) }

// in reads the element of that tag and gives a reader of what it contains.
func (r *reader) in(tag tags.Tag, what string) reader {
	var child cryptobyte.String
	if r.ok() && !r.rest.ReadASN1(&child, tag) {
		r.fail("%s is missing or is something else", what)
	}
	return reader{rest: child, err: r.err}
}

// optional is in, if the element is there.
func (r *reader) optional(tag tags.Tag, what string) (reader, bool) {
	if !r.peek(tag) {
		return reader{err: r.err}, false
	}
	return r.in(tag, what), r.ok()
}

// octets reads what an element of that tag contains.
func (r *reader) octets(tag tags.Tag, what string) []byte { return r.in(tag, what).rest }

// element reads a whole element of that tag.
func (r *reader) element(tag tags.Tag, what string) []byte {
	var e cryptobyte.String
	if r.ok() && !r.rest.ReadASN1Element(&e, tag) {
		r.fail("%s is missing or is something else", what)
	}
	return e
}

// any reads the next element, whatever it is.
func (r *reader) any(what string) []byte {
	var e cryptobyte.String
	var tag tags.Tag
	if r.ok() && !r.rest.ReadAnyASN1Element(&e, &tag) {
		r.fail("%s is missing or cut off", what)
	}
	return e
}

func (r *reader) oid(what string) (oid asn1.ObjectIdentifier) {
	if r.ok() && !r.rest.ReadASN1ObjectIdentifier(&oid) {
		r.fail("%s is not an object identifier", what)
	}
	return oid
}

// version reads a version number.
func (r *reader) version(what string) (v int) {
	if r.ok() && (!r.rest.ReadASN1Integer(&v) || v < 0 || v > 127) {
		r.fail("%s has no version", what)
	}
	return v
}

// serial reads a serial number, which foreign ones may have negative or very long.
func (r *reader) serial(what string) *big.Int {
	n := new(big.Int)
	if r.ok() && !r.rest.ReadASN1Integer(n) {
		r.fail("%s is not a number", what)
	}
	return n
}

// algorithm reads an AlgorithmIdentifier of that tag.
func (r *reader) algorithm(tag tags.Tag, what string) (a Algorithm) {
	seq := r.in(tag, what)
	a.OID = seq.oid(what)
	if !seq.empty() {
		a.Parameters = seq.any(what)
	}
	seq.end(what)
	return a
}

// end makes sure that nothing follows.
func (r *reader) end(what string) {
	if r.ok() && !r.empty() {
		r.fail("%s has %d octets too many", what, len(r.rest))
	}
}

// each calls read for every element, at most so many.
func (r *reader) each(most int, what string, read func(*reader)) {
	for n := 0; r.ok() && !r.empty(); n++ {
		if n == most {
			*r.err = fault(TooLarge, "more than %d of %s", most, what)
			return
		}
		read(r)
	}
}

// context gives a context-specific tag; constructed is one that contains elements.
func context(n uint8) tags.Tag     { return tags.Tag(n).ContextSpecific() }
func constructed(n uint8) tags.Tag { return tags.Tag(n).ContextSpecific().Constructed() }

// writer builds DER. What it adds has been checked, so that only a length that cannot
// be expressed makes an error.
type writer = cryptobyte.Builder

func build(f func(*writer)) ([]byte, error) {
	var b writer
	f(&b)
	out, err := b.Bytes()
	if err != nil {
		return nil, &Error{Kind: BadValue, Detail: "the message cannot be encoded", Err: err}
	}
	return out, nil
}

func add(b *writer, tag tags.Tag, f func(*writer)) { b.AddASN1(tag, f) }

func addOctets(b *writer, tag tags.Tag, octets []byte) {
	b.AddASN1(tag, func(b *writer) { b.AddBytes(octets) })
}

// addSet adds a SET OF in DER's order (X.690 §11.6).
func addSet(b *writer, tag tags.Tag, elements [][]byte) {
	sorted := slices.Clone(elements)
	slices.SortFunc(sorted, bytes.Compare)
	b.AddASN1(tag, func(b *writer) {
		for _, e := range sorted {
			b.AddBytes(e)
		}
	})
}

func (a Algorithm) add(b *writer) { a.addAs(b, tags.SEQUENCE) }

func (a Algorithm) addAs(b *writer, tag tags.Tag) {
	b.AddASN1(tag, func(b *writer) {
		b.AddASN1ObjectIdentifier(a.OID)
		b.AddBytes(a.Parameters)
	})
}

func (a Algorithm) marshal() ([]byte, error) { return build(a.add) }

// isElement reports whether der is exactly one element.
func isElement(der []byte, tag tags.Tag) bool {
	s := cryptobyte.String(der)
	return s.SkipASN1(tag) && s.Empty()
}

package cmc

import (
	"encoding/asn1"
	"fmt"
	"math/big"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	tags "golang.org/x/crypto/cryptobyte/asn1"

	"chancery/cms"
)

const generalizedTime = "20060102150405Z" // as DER and RFC 5280 §4.1.2.5.2 have it

// constructed is the context-specific tag [n] of a constructed value.
func constructed(n uint8) tags.Tag { return tags.Tag(n).ContextSpecific().Constructed() }

// primitive is the context-specific tag [n] of a primitive value.
func primitive(n uint8) tags.Tag { return tags.Tag(n).ContextSpecific() }

// reader takes the fields of a value one after another. The first fault sticks, in all
// readers that came of the same one: later fields are zero, and no list goes on.
type reader struct {
	in    cryptobyte.String
	fault *error
}

// read has f read der, which must be one value of the tag and nothing more.
func read(der []byte, tag tags.Tag, f func(*reader)) error {
	var err error
	r := &reader{in: der, fault: &err}
	r.sub(tag, "value", f)
	r.end("value")
	return err
}

func (r *reader) failed() bool { return *r.fault != nil }

func (r *reader) fail(format string, args ...any) {
	if !r.failed() {
		*r.fault = fmt.Errorf(format, args...)
	}
}

// end asks that nothing is left.
func (r *reader) end(what string) {
	if !r.in.Empty() {
		r.fail("%s: %d octets too many", what, len(r.in))
	}
}

// sub has f read what is in the next value, to the end.
func (r *reader) sub(tag tags.Tag, what string, f func(*reader)) {
	var inner cryptobyte.String
	if r.failed() {
		return
	}
	if !r.in.ReadASN1(&inner, tag) {
		r.fail("%s: not as the syntax has it", what)
		return
	}
	in := &reader{in: inner, fault: r.fault}
	f(in)
	in.end(what)
}

// sequence has f read each value of a list, which has from least to most.
func (r *reader) sequence(tag tags.Tag, b bounds, f func(*reader)) {
	r.sub(tag, b.what, func(in *reader) {
		n := 0
		for ; !in.in.Empty() && !r.failed(); n++ {
			if n == b.most {
				r.fail("%s: more than %d", b.what, b.most)
				return
			}
			f(in)
		}
		if n < b.least {
			r.fail("%s: empty", b.what)
		}
	})
}

// bounds are those of a list.
type bounds struct {
	what        string
	least, most int
}

func some(what string) bounds { return bounds{what, 1, MaxValues} }

func (r *reader) next(tag tags.Tag) bool { return !r.failed() && r.in.PeekASN1Tag(tag) }

func (r *reader) more() bool { return !r.failed() && !r.in.Empty() }

// element gives the next value whole, whatever it is.
func (r *reader) element(what string) []byte {
	var e cryptobyte.String
	if r.failed() {
		return nil
	}
	if !r.in.ReadAnyASN1Element(&e, new(tags.Tag)) {
		r.fail("%s: not DER", what)
		return nil
	}
	return clone(e)
}

// tagged gives the next value whole; it has the tag.
func (r *reader) tagged(tag tags.Tag, what string) []byte {
	if !r.failed() && !r.in.PeekASN1Tag(tag) {
		r.fail("%s: not as the syntax has it", what)
	}
	return r.element(what)
}

// implicit gives the next value, tagged implicitly, with the tag that it has by itself.
func (r *reader) implicit(tag, own tags.Tag, what string) []byte {
	e := r.tagged(tag, what)
	if len(e) > 0 {
		e[0] = byte(own)
	}
	return e
}

func (r *reader) name(what string) []byte { return r.tagged(tags.SEQUENCE, what) }

// generalName gives the next value, one of RFC 5280 §4.2.1.6.
func (r *reader) generalName(what string) []byte {
	e := r.element(what)
	if len(e) > 0 && (e[0]&0xC0 != 0x80 || e[0]&0x1F > 8) {
		r.fail("%s: not a GeneralName", what)
	}
	return e
}

func (r *reader) bodyPart(what string) BodyPartID {
	n := r.integer(tags.INTEGER, what)
	if r.failed() {
		return 0
	}
	if n.Sign() < 0 || n.BitLen() > 32 {
		r.fail("%s: not a body part id, 0 to 4294967295", what)
		return 0
	}
	return BodyPartID(n.Uint64())
}

func (r *reader) bodyParts(b bounds) []BodyPartID {
	list := []BodyPartID{}
	r.sequence(tags.SEQUENCE, b, func(in *reader) { list = append(list, in.bodyPart(b.what)) })
	return list
}

func (r *reader) path(what string) Path { return Path(r.bodyParts(bounds{what, 1, MaxPath})) }

func (r *reader) reference(what string) Reference {
	if r.next(tags.SEQUENCE) {
		return Reference{Path: r.path(what)}
	}
	return Reference{ID: r.bodyPart(what)}
}

func (r *reader) references(what string) []Reference {
	var list []Reference
	r.sequence(tags.SEQUENCE, some(what), func(in *reader) { list = append(list, in.reference(what)) })
	return list
}

// maxInteger is more than any serial number or transaction id needs (RFC 5280 §4.1.2.2).
const maxInteger = 64

func (r *reader) integer(tag tags.Tag, what string) *big.Int {
	var body cryptobyte.String
	if r.failed() {
		return new(big.Int)
	}
	if !r.in.ReadASN1(&body, tag) || !minimal(body) {
		r.fail("%s: not an integer as DER has it", what)
		return new(big.Int)
	}
	n := new(big.Int).SetBytes(body)
	if body[0]&0x80 != 0 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(len(body))*8))
	}
	return n
}

func minimal(integer []byte) bool {
	switch {
	case len(integer) == 0 || len(integer) > maxInteger:
		return false
	case len(integer) == 1:
		return true
	}
	return !(integer[0] == 0 && integer[1] < 0x80 || integer[0] == 0xFF && integer[1] >= 0x80)
}

// small gives an integer that is one of few.
func (r *reader) small(tag tags.Tag, what string) int {
	n := r.integer(tag, what)
	if !r.failed() && (n.BitLen() > 30 || n.Sign() < 0) {
		r.fail("%s: out of range", what)
		return 0
	}
	return int(n.Int64())
}

func (r *reader) octets(what string) []byte {
	var body cryptobyte.String
	if !r.failed() && !r.in.ReadASN1(&body, tags.OCTET_STRING) {
		r.fail("%s: not an octet string", what)
	}
	return clone(body)
}

func (r *reader) bits(tag tags.Tag, what string) asn1.BitString {
	var body cryptobyte.String
	if r.failed() {
		return asn1.BitString{}
	}
	if !r.in.ReadASN1(&body, tag) || len(body) == 0 || body[0] > 7 || len(body) == 1 && body[0] != 0 ||
		len(body) > 1 && body[len(body)-1]&(1<<body[0]-1) != 0 {
		r.fail("%s: not a bit string as DER has it", what)
		return asn1.BitString{}
	}
	return asn1.BitString{Bytes: clone(body[1:]), BitLength: (len(body)-1)*8 - int(body[0])}
}

// wholeBits gives a bit string that holds octets.
func (r *reader) wholeBits(what string) []byte {
	b := r.bits(tags.BIT_STRING, what)
	if b.BitLength%8 != 0 {
		r.fail("%s: bits left over", what)
	}
	return b.Bytes
}

func (r *reader) oid(what string) asn1.ObjectIdentifier {
	var oid asn1.ObjectIdentifier
	if !r.failed() && !r.in.ReadASN1ObjectIdentifier(&oid) {
		r.fail("%s: not an object identifier", what)
	}
	return oid
}

func (r *reader) algorithm(tag tags.Tag, what string) (a cms.Algorithm) {
	r.sub(tag, what, func(in *reader) {
		a.OID = in.oid(what)
		if in.more() {
			a.Parameters = in.element(what)
		}
	})
	return a
}

func (r *reader) text(what string) string {
	var body cryptobyte.String
	if !r.failed() && (!r.in.ReadASN1(&body, tags.UTF8String) || !utf8.Valid(body)) {
		r.fail("%s: not UTF-8 text", what)
	}
	return string(body)
}

// time gives a time of whole seconds; its format is the tag's.
func (r *reader) time(what string) time.Time {
	var body cryptobyte.String
	tag, format := tags.GeneralizedTime, generalizedTime
	if r.next(tags.UTCTime) {
		tag, format = tags.UTCTime, "060102150405Z"
	}
	if r.failed() || !r.in.ReadASN1(&body, tag) {
		r.fail("%s: not a time", what)
		return time.Time{}
	}
	at, err := time.Parse(format, string(body))
	if tag == tags.UTCTime && at.Year() >= 2050 { // RFC 5280 §4.1.2.5.1
		at = at.AddDate(-100, 0, 0)
	}
	if err != nil || at.UTC().Format(format) != string(body) || at.IsZero() {
		r.fail("%s: not a time of whole seconds, UTC", what)
	}
	return at
}

// generalized gives a time that may not be a UTCTime.
func (r *reader) generalized(what string) time.Time {
	if r.next(tags.UTCTime) {
		r.fail("%s: a UTCTime instead of a GeneralizedTime", what)
	}
	return r.time(what)
}

// certificateTime gives a time in the format that RFC 5280 §4.1.2.5 has for its year.
func (r *reader) certificateTime(what string) time.Time {
	early := r.next(tags.UTCTime)
	at := r.time(what)
	if y := at.Year(); !r.failed() && early != (y >= 1950 && y <= 2049) {
		r.fail("%s: not in the format for its year", what)
	}
	return at
}

func clone(in []byte) []byte { return append([]byte{}, in...) }

package cmc

import (
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	tags "golang.org/x/crypto/cryptobyte/asn1"

	"chancery/cms"
)

// builder writes DER.
type builder struct{ *cryptobyte.Builder }

func build(f func(builder)) ([]byte, error) {
	b := cryptobyte.NewBuilder(nil)
	f(builder{b})
	out, err := b.Bytes()
	if err != nil {
		return nil, fmt.Errorf("cmc: %w", err)
	}
	return out, nil
}

func (b builder) refuse(format string, args ...any) { b.SetError(fmt.Errorf(format, args...)) }

func (b builder) in(tag tags.Tag, f func(builder)) {
	b.AddASN1(tag, func(c *cryptobyte.Builder) { f(builder{c}) })
}

func (b builder) sequence(f func(builder)) { b.in(tags.SEQUENCE, f) }

// element writes a value that the caller has as DER.
func (b builder) element(der []byte, what string) {
	s := cryptobyte.String(der)
	var e cryptobyte.String
	if !s.ReadAnyASN1Element(&e, new(tags.Tag)) || !s.Empty() {
		b.refuse("%s: not one DER value", what)
		return
	}
	b.AddBytes(der)
}

// tagged writes a SEQUENCE that the caller has as DER, under the tag.
func (b builder) tagged(der []byte, tag tags.Tag, what string) {
	if len(der) == 0 || der[0] != byte(tags.SEQUENCE) {
		b.refuse("%s: not of its type", what)
		return
	}
	out := clone(der)
	out[0] = byte(tag)
	b.element(out, what)
}

func (b builder) name(der []byte, what string) { b.tagged(der, tags.SEQUENCE, what) }

func (b builder) generalName(der []byte, what string) {
	if len(der) == 0 || der[0]&0xC0 != 0x80 || der[0]&0x1F > 8 {
		b.refuse("%s: not a GeneralName", what)
		return
	}
	b.element(der, what)
}

func (b builder) bodyPart(id BodyPartID) { b.AddASN1Uint64(uint64(id)) }

func (b builder) bodyParts(list []BodyPartID, with bounds) {
	if len(list) < with.least || len(list) > with.most {
		b.refuse("%s: %d body parts, not %d to %d", with.what, len(list), with.least, with.most)
		return
	}
	b.sequence(func(b builder) {
		for _, id := range list {
			b.bodyPart(id)
		}
	})
}

func (b builder) path(p Path, what string) { b.bodyParts(p, bounds{what, 1, MaxPath}) }

func (b builder) references(list []Reference, what string) {
	if len(list) == 0 || len(list) > MaxValues {
		b.refuse("%s: %d references, not 1 to %d", what, len(list), MaxValues)
		return
	}
	b.sequence(func(b builder) {
		for _, r := range list {
			if r.Path != nil {
				b.path(r.Path, what)
			} else {
				b.bodyPart(r.ID)
			}
		}
	})
}

func (b builder) integer(n *big.Int, what string) {
	if n == nil || n.BitLen() >= maxInteger*8 {
		b.refuse("%s: no integer, or one too long", what)
		return
	}
	b.AddASN1BigInt(n)
}

// implicitInteger writes the number under a tag of its context.
func (b builder) implicitInteger(n *big.Int, tag tags.Tag, what string) {
	der, err := build(func(b builder) { b.integer(n, what) })
	if err != nil {
		b.SetError(err)
		return
	}
	b.in(tag, func(b builder) { b.AddBytes(der[2:]) }) // maxInteger keeps the length to one octet
}

func (b builder) enumerated(n int) { b.AddASN1Enum(int64(n)) }

func (b builder) bits(s asn1.BitString, tag tags.Tag, what string) {
	if s.BitLength < 0 || len(s.Bytes) != (s.BitLength+7)/8 {
		b.refuse("%s: a bit string whose length does not fit", what)
		return
	}
	unused := byte(len(s.Bytes)*8 - s.BitLength)
	b.in(tag, func(b builder) {
		b.AddUint8(unused)
		if n := len(s.Bytes); n > 0 {
			b.AddBytes(s.Bytes[:n-1])
			b.AddUint8(s.Bytes[n-1] &^ (1<<unused - 1))
		}
	})
}

func (b builder) algorithm(a cms.Algorithm, tag tags.Tag) {
	b.in(tag, func(b builder) {
		b.AddASN1ObjectIdentifier(a.OID)
		if a.Parameters != nil {
			b.element(a.Parameters, "parameters of "+a.OID.String())
		}
	})
}

func (b builder) text(s, what string) {
	if !utf8.ValidString(s) {
		b.refuse("%s: not UTF-8", what)
		return
	}
	b.in(tags.UTF8String, func(b builder) { b.AddBytes([]byte(s)) })
}

func (b builder) generalized(at time.Time, what string) {
	if y := at.UTC().Year(); y < 0 || y > 9999 || at.IsZero() {
		b.refuse("%s: no time, or one that cannot be written", what)
		return
	}
	b.in(tags.GeneralizedTime, func(b builder) { b.AddBytes([]byte(at.UTC().Format(generalizedTime))) })
}

// time writes the time as a certificate has it: UTCTime until 2049 (RFC 5280 §4.1.2.5).
func (b builder) time(at time.Time, what string) {
	if y := at.UTC().Year(); y < 1950 || y > 2049 {
		b.generalized(at, what)
		return
	}
	b.in(tags.UTCTime, func(b builder) { b.AddBytes([]byte(at.UTC().Format("060102150405Z"))) })
}

var errNothing = errors.New("nothing is set, or more than one choice")

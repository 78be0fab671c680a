package ca

import (
	"encoding/binary"
	"slices"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// SameName tells whether two DER Names are the same by RFC 5280 §7.1: as many RDNs in
// the same order, each a set of the same attributes; texts are compared whatever type
// of string they have, after the string preparation of RFC 4518 (case folded,
// normalised to NFKC, white space compressed); other values octet by octet. What is no
// Name is the same as nothing. Of RFC 4518, prohibited code points (§2.4) and
// bidirectional text (§2.5) are not looked for: they are compared, not refused.
func SameName(a, b []byte) bool {
	one, ok := preparedName(a)
	if !ok {
		return false
	}
	other, ok := preparedName(b)
	return ok && slices.EqualFunc(one, other, slices.Equal)
}

// NameKey gives octets that are the same for all Names that [SameName] takes for one,
// and for no others; nil for what is no Name.
func NameKey(der []byte) []byte {
	name, ok := preparedName(der)
	if !ok {
		return nil
	}
	key := binary.BigEndian.AppendUint32([]byte{}, uint32(len(name)))
	for _, rdn := range name {
		key = binary.BigEndian.AppendUint32(key, uint32(len(rdn)))
		for _, attribute := range rdn {
			key = append(binary.BigEndian.AppendUint32(key, uint32(len(attribute))), attribute...)
		}
	}
	return key
}

// preparedName gives for each RDN its attributes as comparable texts, sorted.
func preparedName(der []byte) ([][]string, bool) {
	if len(der) > maxCSR {
		return nil, false
	}
	rest := cryptobyte.String(der)
	var list cryptobyte.String
	if !rest.ReadASN1(&list, casn1.SEQUENCE) || !rest.Empty() {
		return nil, false
	}
	name := [][]string{}
	for !list.Empty() {
		var set cryptobyte.String
		if !list.ReadASN1(&set, casn1.SET) || set.Empty() {
			return nil, false
		}
		var rdn []string
		for !set.Empty() {
			one, ok := preparedAttribute(&set)
			if !ok {
				return nil, false
			}
			rdn = append(rdn, one)
		}
		slices.Sort(rdn)
		name = append(name, rdn)
	}
	return name, true
}

func preparedAttribute(set *cryptobyte.String) (string, bool) {
	var pair, oid, value cryptobyte.String
	var tag casn1.Tag
	if !set.ReadASN1(&pair, casn1.SEQUENCE) || !pair.ReadASN1(&oid, casn1.OBJECT_IDENTIFIER) ||
		!pair.ReadAnyASN1(&value, &tag) || !pair.Empty() {
		return "", false
	}
	text, ok := directoryText(tag, value)
	if !ok {
		return string(oid) + "\x00" + string([]byte{byte(tag)}) + string(value), true
	}
	return string(oid) + "\x00\x00" + prepared(text), true
}

// The string types that have no name in cryptobyte/asn1.
const (
	tagNumeric   = casn1.Tag(18)
	tagTeletex   = casn1.Tag(20)
	tagUniversal = casn1.Tag(28)
	tagBMP       = casn1.Tag(30)
)

// directoryText transcodes to Unicode (RFC 4518 §2.1). TeletexString is read as Latin
// 1, as everybody writes it. Broken encodings are no text.
func directoryText(tag casn1.Tag, value []byte) (string, bool) {
	switch tag {
	case casn1.UTF8String, casn1.PrintableString, casn1.IA5String, tagNumeric:
		return string(value), utf8.Valid(value)
	case tagTeletex:
		var b strings.Builder
		for _, c := range value {
			b.WriteRune(rune(c))
		}
		return b.String(), true
	case tagBMP:
		if len(value)%2 != 0 {
			return "", false
		}
		units := make([]uint16, len(value)/2)
		for i := range units {
			units[i] = binary.BigEndian.Uint16(value[2*i:])
		}
		return string(utf16.Decode(units)), true
	case tagUniversal:
		if len(value)%4 != 0 {
			return "", false
		}
		var b strings.Builder
		for i := 0; i < len(value); i += 4 {
			b.WriteRune(rune(binary.BigEndian.Uint32(value[i:]) & 0x7fffffff))
		}
		return b.String(), true
	}
	return "", false
}

// prepared is RFC 4518 §2.2 (map), §2.3 (normalise) and §2.6.1 (white space).
func prepared(text string) string {
	mapped := strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r) || r == 0x1680 || unicode.Is(unicode.Zl, r) || unicode.Is(unicode.Zp, r):
			return ' '
		case unicode.Is(unicode.Cf, r) || unicode.IsControl(r) || r == 0x034f || unicode.Is(unicode.Variation_Selector, r) || r == 0xfffc:
			return -1 // mapped to nothing
		}
		return r
	}, text)
	fold := cases.Fold()
	folded := norm.NFKC.String(fold.String(norm.NFKC.String(fold.String(mapped))))
	return strings.Join(strings.Fields(folded), " ")
}

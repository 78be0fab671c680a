package ca

import (
	"encoding/asn1"
	"net/netip"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// The GeneralName choices that identifiers use (RFC 5280 §4.2.1.6).
const (
	tagOther = 0
	tagEmail = 1
	tagDNS   = 2
	tagURI   = 6
	tagIP    = 7
)

var (
	oidPermanentIdentifier = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 8, 3} // RFC 4043 §2
	oidHardwareModuleName  = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 8, 4} // RFC 4108 §5
)

func contextTag(n int) casn1.Tag { return casn1.Tag(n).ContextSpecific() }

// readGeneralName takes one GeneralName off the list.
func readGeneralName(list *cryptobyte.String) (Identifier, error) {
	var value cryptobyte.String
	var tag casn1.Tag
	if !list.ReadAnyASN1(&value, &tag) {
		return Identifier{}, Errorf(BadCSR, "the subject alternative names cannot be read")
	}
	switch tag {
	case contextTag(tagDNS):
		return DNS(string(value))
	case contextTag(tagIP):
		addr, ok := netip.AddrFromSlice(value)
		if !ok {
			return Identifier{}, Errorf(BadCSR, "there is an IP address of %d octets", len(value))
		}
		return IP(addr.String())
	case contextTag(tagEmail):
		return Email(string(value))
	case contextTag(tagURI):
		return URI(string(value))
	case contextTag(tagOther).Constructed():
		return readOtherName(value)
	}
	return Identifier{}, Errorf(BadCSR, "a kind of name (tag %d) is asked for that is not certified here", tag&0x1f)
}

// readOtherName reads the device names as deviceName writes them.
func readOtherName(value cryptobyte.String) (Identifier, error) {
	var oid asn1.ObjectIdentifier
	var inner, fields cryptobyte.String
	bad := Errorf(BadCSR, "there is an otherName that cannot be read or is not certified here")
	if !value.ReadASN1ObjectIdentifier(&oid) ||
		!value.ReadASN1(&inner, contextTag(0).Constructed()) || !value.Empty() ||
		!inner.ReadASN1(&fields, casn1.SEQUENCE) || !inner.Empty() {
		return Identifier{}, bad
	}
	var id cryptobyte.String
	var kindOID asn1.ObjectIdentifier
	switch {
	case oid.Equal(oidPermanentIdentifier):
		if !fields.ReadASN1(&id, casn1.UTF8String) {
			return Identifier{}, bad
		}
		text := deviceValue(id)
		if !fields.Empty() {
			if !fields.ReadASN1ObjectIdentifier(&kindOID) || !fields.Empty() {
				return Identifier{}, bad
			}
			text += "/" + kindOID.String()
		}
		return deviceName(TypePermanentID, text)
	case oid.Equal(oidHardwareModuleName):
		if !fields.ReadASN1ObjectIdentifier(&kindOID) || !fields.ReadASN1(&id, casn1.OCTET_STRING) || !fields.Empty() {
			return Identifier{}, bad
		}
		return deviceName(TypeHardwareModule, deviceValue(id)+"/"+kindOID.String())
	}
	return Identifier{}, bad
}

// encodeNames gives the subject alternative name extension's value.
func encodeNames(names []Identifier) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, n := range names {
			addGeneralName(b, n)
		}
	})
	return b.Bytes()
}

func addGeneralName(b *cryptobyte.Builder, n Identifier) {
	add := func(tag int, value []byte) {
		b.AddASN1(contextTag(tag), func(b *cryptobyte.Builder) { b.AddBytes(value) })
	}
	switch n.kind {
	case TypeDNS:
		add(tagDNS, []byte(n.value))
	case TypeEmail:
		add(tagEmail, []byte(n.value))
	case TypeURI:
		add(tagURI, []byte(n.value))
	case TypeIP:
		addr, _ := n.Addr()
		add(tagIP, addr.AsSlice())
	case TypePermanentID, TypeHardwareModule:
		b.AddASN1(contextTag(tagOther).Constructed(), func(b *cryptobyte.Builder) { addOtherName(b, n) })
	default:
		b.SetError(Errorf(Internal, "no encoding for %s", n))
	}
}

func addOtherName(b *cryptobyte.Builder, n Identifier) {
	value, oidText, _ := strings.Cut(n.value, "/")
	oid, _ := parseOID(oidText) // deviceName checked both
	octets, _ := deviceOctets(value)
	outer := oidPermanentIdentifier
	if n.kind == TypeHardwareModule {
		outer = oidHardwareModuleName
	}
	b.AddASN1ObjectIdentifier(outer)
	b.AddASN1(contextTag(0).Constructed(), func(b *cryptobyte.Builder) {
		b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
			if n.kind == TypeHardwareModule {
				b.AddASN1ObjectIdentifier(oid)
				b.AddASN1OctetString(octets)
				return
			}
			b.AddASN1(casn1.UTF8String, func(b *cryptobyte.Builder) { b.AddBytes(octets) })
			if oid != nil {
				b.AddASN1ObjectIdentifier(oid)
			}
		})
	})
}

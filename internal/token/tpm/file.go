package tpm

import (
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"math"

	"golang.org/x/crypto/cryptobyte"
	cryptobyte_asn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// PEMType is the label of a key file.
const PEMType = "TSS2 PRIVATE KEY"

// loadable is the type of a key that its parent loads as it is (2.23.133.10.1.3).
var loadable = asn1.ObjectIdentifier{2, 23, 133, 10, 1, 3}

// File is what a key file holds: a key that a TPM wrapped (the TPM 2.0 Key Files format of
// OpenSSL's TPM engines and providers). Keys with a policy, or for import, are not read.
type File struct {
	EmptyAuth   bool   // the key has no password
	Description string // for people
	RSAParent   bool   // the primary key is the RSA one; otherwise that of P-256
	Parent      uint32 // a persistent handle, or the hierarchy whose primary key it is
	Public      []byte // TPM2B_PUBLIC
	Private     []byte // TPM2B_PRIVATE
}

// sizeLimit is the most octets of a key file's two parts: more than any TPM makes.
const sizeLimit = 8 << 10

// optional is the tag of the nth optional member.
func optional(n uint8) cryptobyte_asn1.Tag {
	return cryptobyte_asn1.Tag(n).Constructed().ContextSpecific()
}

// Encode gives the DER.
func (f *File) Encode() ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(cryptobyte_asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(loadable)
		if f.EmptyAuth {
			b.AddASN1(optional(0), func(b *cryptobyte.Builder) { b.AddASN1Boolean(true) })
		}
		if f.Description != "" {
			b.AddASN1(optional(4), func(b *cryptobyte.Builder) {
				b.AddASN1(cryptobyte_asn1.UTF8String, func(b *cryptobyte.Builder) { b.AddBytes([]byte(f.Description)) })
			})
		}
		if f.RSAParent {
			b.AddASN1(optional(5), func(b *cryptobyte.Builder) { b.AddASN1Boolean(true) })
		}
		b.AddASN1Int64(int64(f.Parent))
		b.AddASN1OctetString(f.Public)
		b.AddASN1OctetString(f.Private)
	})
	return b.Bytes()
}

var errFile = errors.New("this is no key of a TPM that can be read (TSS2 PRIVATE KEY)")

// ParseFile reads DER.
func ParseFile(der []byte) (*File, error) {
	f := &File{}
	all, body := cryptobyte.String(der), cryptobyte.String(nil)
	var kind asn1.ObjectIdentifier
	if !all.ReadASN1(&body, cryptobyte_asn1.SEQUENCE) || !all.Empty() || !body.ReadASN1ObjectIdentifier(&kind) {
		return nil, errFile
	}
	if !kind.Equal(loadable) {
		return nil, fmt.Errorf("%w: it is of the type %s, and only loadable keys (%s) are", errFile, kind, loadable)
	}
	if err := f.options(&body); err != nil {
		return nil, err
	}
	var parent int64
	public, private := cryptobyte.String(nil), cryptobyte.String(nil)
	if !body.ReadASN1Integer(&parent) || !body.ReadASN1(&public, cryptobyte_asn1.OCTET_STRING) || !body.ReadASN1(&private, cryptobyte_asn1.OCTET_STRING) || !body.Empty() {
		return nil, errFile
	}
	if parent < 0 || parent > math.MaxUint32 || len(public) == 0 || len(private) == 0 || len(public) > sizeLimit || len(private) > sizeLimit {
		return nil, errFile
	}
	f.Parent, f.Public, f.Private = uint32(parent), public, private
	return f, nil
}

// options reads the optional members, in their order.
func (f *File) options(body *cryptobyte.String) error {
	for n := uint8(0); n <= 5; n++ {
		var inner cryptobyte.String
		var there bool
		if !body.ReadOptionalASN1(&inner, &there, optional(n)) {
			return errFile
		}
		if !there {
			continue
		}
		ok := false
		switch n {
		case 0:
			f.EmptyAuth, ok = readBoolean(&inner)
		case 4:
			var text cryptobyte.String
			ok = inner.ReadASN1(&text, cryptobyte_asn1.UTF8String)
			f.Description = string(text)
		case 5:
			f.RSAParent, ok = readBoolean(&inner)
		default:
			return fmt.Errorf("%w: it has a policy, or is to be imported first", errFile)
		}
		if !ok || !inner.Empty() {
			return errFile
		}
	}
	return nil
}

// readBoolean reads a BOOLEAN. OpenSSL's provider writes true as 1, which is BER, not DER.
func readBoolean(from *cryptobyte.String) (value, ok bool) {
	var octets cryptobyte.String
	if !from.ReadASN1(&octets, cryptobyte_asn1.BOOLEAN) || len(octets) != 1 {
		return false, false
	}
	return octets[0] != 0, true
}

// ParsePEM reads the first key of a PEM text; nil if there is none.
func ParsePEM(text []byte) (der []byte, err error) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == PEMType {
			_, err := ParseFile(block.Bytes)
			return block.Bytes, err
		}
	}
	return nil, nil
}

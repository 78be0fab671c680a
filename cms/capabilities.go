package cms

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/rsa"
	"encoding/asn1"
	"slices"

	tags "golang.org/x/crypto/cryptobyte/asn1"
)

// ParseCapabilities reads SMIMECapabilities (RFC 8551 §2.5.2): the DER or BER of the one
// value of an attribute. What is not understood stays in the list.
func ParseCapabilities(in []byte) (Capabilities, error) {
	r, err := newReader(in)
	if err != nil {
		return nil, err
	}
	list := Capabilities{}
	seq := r.in(tags.SEQUENCE, "SMIMECapabilities")
	r.end("SMIMECapabilities")
	seq.each(mostItems, "capabilities", func(r *reader) {
		list = append(list, r.algorithm(tags.SEQUENCE, "SMIMECapability"))
	})
	if !r.ok() {
		return nil, *r.err
	}
	return list, nil
}

// Marshal gives the DER.
func (c Capabilities) Marshal() ([]byte, error) {
	return build(func(b *writer) {
		add(b, tags.SEQUENCE, func(b *writer) {
			for _, a := range c {
				a.add(b)
			}
		})
	})
}

// Strength gives the bits of security of a key that content is encrypted to (NIST SP
// 800-57 part 1, table 2): an RSA or ECDH public key, or a [Secret]. 0: it is none of those.
func Strength(key any) int {
	switch key := key.(type) {
	case *rsa.PublicKey:
		for _, step := range []struct{ modulus, bits int }{{15360, 256}, {7680, 192}, {3072, 128}, {2048, 112}} {
			if key.N.BitLen() >= step.modulus {
				return step.bits
			}
		}
		return 80
	case *ecdsa.PublicKey:
		if public, err := key.ECDH(); err == nil {
			return Strength(public)
		}
	case *ecdh.PublicKey:
		switch key.Curve() {
		case ecdh.P256(), ecdh.X25519():
			return 128
		case ecdh.P384():
			return 192
		case ecdh.P521():
			return 256
		}
	case Secret:
		if _, ok := wrapOIDs[len(key)*8]; ok {
			return len(key) * 8
		}
	}
	return 0
}

// Choose picks the algorithms by which content is encrypted to the key, an RSA or ECDH
// public key or a [Secret]: the first of the list that will do, since it stands in the
// recipient's order. Neither the content's cipher nor a key wrap is weaker than the key
// (RFC 7030 §4.4.2). Only these ciphers are considered; none: those of CBC, which
// EnvelopedData takes. If nothing fits, as with an empty list, the error is
// Unsupported and says what is missing.
func (c Capabilities) Choose(key any, ciphers ...Cipher) (Suite, error) {
	if len(ciphers) == 0 {
		ciphers = []Cipher{AES128CBC, AES192CBC, AES256CBC}
	}
	strength := Strength(key)
	if strength == 0 {
		return Suite{}, fault(BadValue, "nothing is encrypted to a %T of that sort", key)
	}
	s := Suite{}
	for _, a := range c {
		known := cipherOf(a.OID)
		if s.Cipher == 0 && slices.Contains(ciphers, known) && known.Bits() >= strength && a.plain() {
			s.Cipher = known
		}
	}
	if s.Cipher == 0 {
		return s, fault(Unsupported, "the capabilities have no cipher of %d bits or more that is supported", strength)
	}
	switch key := key.(type) {
	case *rsa.PublicKey:
		err := c.transport(&s)
		return s, err
	case Secret:
		s.Wrap = len(key) * 8
		if !c.has(wrapOIDs[s.Wrap]) {
			return s, fault(Unsupported, "the capabilities have no AES key wrap of the key's %d bits", s.Wrap)
		}
		return s, nil
	}
	err := c.agreement(&s, strength)
	return s, err
}

func (c Capabilities) has(oid asn1.ObjectIdentifier) bool {
	return slices.ContainsFunc(c, func(a Algorithm) bool { return a.OID.Equal(oid) && a.plain() })
}

// transport picks OAEP or PKCS #1 v1.5, whichever stands first.
func (c Capabilities) transport(s *Suite) error {
	for _, a := range c {
		switch {
		case a.OID.Equal(oidRSA) && a.plain():
			return nil
		case a.OID.Equal(oidOAEP):
			options, err := oaepOf(a)
			if err == nil && options.Hash == options.MGFHash && len(options.Label) == 0 {
				s.OAEP = options.Hash
				return nil
			}
		}
	}
	return fault(Unsupported, "the capabilities have neither RSAES-OAEP nor RSA with PKCS #1 v1.5")
}

// agreement picks a scheme with its key wrap (RFC 5753 §6). A scheme without a key wrap
// goes with one that is listed by itself, and the other way round: RFC 7030 §4.4.2 speaks of the
// key wrap alone.
func (c Capabilities) agreement(s *Suite, strength int) error {
	wraps := func(list []Algorithm) int {
		for _, a := range list {
			if bits, err := wrapBits(a); err == nil && bits >= strength {
				return bits
			}
		}
		return 0
	}
	bare, schemes := wraps(c), false
	for _, a := range c {
		for _, known := range agreements {
			if !known.sent || !known.oid.Equal(a.OID) {
				continue
			}
			schemes = true
			bits := bare
			if !a.plain() {
				r := readerOf(a.Parameters)
				bits = wraps([]Algorithm{r.algorithm(tags.SEQUENCE, "KeyWrapAlgorithm")})
			}
			if bits != 0 {
				s.Hash, s.Wrap = known.hash, bits
				return nil
			}
		}
	}
	if bare != 0 && !schemes {
		s.Wrap = bare // the hash fits the curve
		return nil
	}
	return fault(Unsupported, "the capabilities have no key agreement with an AES key wrap of %d bits or more", strength)
}

// CapabilitiesOf lists what this package can do for the holder of the key, best first: what a
// request announces that wants something encrypted to it. The key is as for Choose; for another
// the error is BadValue.
func CapabilitiesOf(key any) (Capabilities, error) {
	strength := Strength(key)
	if strength == 0 {
		return nil, fault(BadValue, "nothing is encrypted to a %T of that sort", key)
	}
	list := Capabilities{}
	for _, c := range []Cipher{AES256CBC, AES192CBC, AES128CBC} {
		if c.Bits() >= strength {
			list = append(list, Algorithm{OID: c.OID()}) // RFC 3565 §5.1: no parameters
		}
	}
	switch key := key.(type) {
	case *rsa.PublicKey:
		a, err := oaep(crypto.SHA256)
		return append(list, a, Algorithm{oidRSA, derNull}), err
	case Secret:
		return append(list, Algorithm{OID: wrapOIDs[len(key)*8]}), nil
	}
	for _, scheme := range agreements {
		for _, bits := range []int{256, 192, 128} {
			// RFC 5753 §8 pairs each curve with a hash of twice its strength.
			if scheme.sent && bits >= strength && scheme.hash.Size()*8 >= 2*strength {
				parameters, err := Algorithm{OID: wrapOIDs[bits]}.marshal()
				if err != nil {
					return nil, err
				}
				list = append(list, Algorithm{scheme.oid, parameters})
			}
		}
	}
	return list, nil
}

//go:build cgo

package loader

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"math/big"
	"strings"

	"chancery/internal/token/wire"

	"github.com/miekg/pkcs11"
)

// curves are the elliptic curves by the DER of their object identifier, as CKA_EC_PARAMS has
// it.
var curves = map[string]struct {
	params []byte
	curve  elliptic.Curve
}{
	"ecdsa-p256": {[]byte{0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07}, elliptic.P256()},
	"ecdsa-p384": {[]byte{0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22}, elliptic.P384()},
	"ecdsa-p521": {[]byte{0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23}, elliptic.P521()},
}

// lengths are the kinds of RSA keys. The names of all kinds are package est's (keyspec.go),
// which decides what a name leaves open.
var lengths = map[string]int{"rsa-2048": 2048, "rsa-3072": 3072, "rsa-4096": 4096}

// key finds a key or makes one.
func (m *module) key(r *wire.Request) (k *wire.Key, err error) {
	if r.Make != nil {
		if err := m.make(r.Make); err != nil {
			return nil, err
		}
		r = &wire.Request{Find: &wire.Find{Object: r.Make.Object, Key: r.Make.Key}}
	}
	s, err := m.session()
	if err != nil {
		return nil, err
	}
	defer func() { m.back(s, err) }()
	found, err := m.objects(s, template(pkcs11.CKO_PRIVATE_KEY, r.Find.Object, r.Find.Key))
	switch {
	case err != nil:
		return nil, err
	case len(found) == 0:
		return nil, faulty(wire.NoKey, "%s", m.others(s))
	case len(found) > 1:
		return nil, faulty(wire.ManyKeys, "%s", m.listed(s, found))
	}
	key := found[0]
	if again := m.value(s, key, pkcs11.CKA_ALWAYS_AUTHENTICATE); len(again) == 1 && again[0] != 0 {
		return nil, faulty(wire.Unfit, "this key wants its PIN before each signature, which cannot be done here: use another one of the token's keys, or make one")
	}
	k = &wire.Key{Handle: uint64(key), Object: string(m.value(s, key, pkcs11.CKA_LABEL)), ID: m.value(s, key, pkcs11.CKA_ID)}
	k.Public, err = m.public(s, key)
	return k, err
}

// others says which keys there are instead.
func (m *module) others(s pkcs11.SessionHandle) string {
	all, err := m.objects(s, template(pkcs11.CKO_PRIVATE_KEY, "", nil))
	if err != nil || len(all) == 0 {
		return "there are no private keys in it"
	}
	return "there are " + m.listed(s, all)
}

func (m *module) listed(s pkcs11.SessionHandle, keys []pkcs11.ObjectHandle) string {
	var names []string
	for _, k := range keys[:min(len(keys), 8)] {
		names = append(names, fmt.Sprintf("%.100q (id %.64s)", m.value(s, k, pkcs11.CKA_LABEL), hex.EncodeToString(m.value(s, k, pkcs11.CKA_ID))))
	}
	return strings.Join(names, ", ")
}

// public is the public half: of an RSA key the token tells it with the private one; for
// elliptic curves it is the object with the same id, or in a certificate with it.
func (m *module) public(s pkcs11.SessionHandle, key pkcs11.ObjectHandle) ([]byte, error) {
	id := m.value(s, key, pkcs11.CKA_ID)
	if n := m.value(s, key, pkcs11.CKA_MODULUS); n != nil {
		e := new(big.Int).SetBytes(m.value(s, key, pkcs11.CKA_PUBLIC_EXPONENT))
		if e.Sign() == 0 {
			e.SetInt64(65537)
		}
		if !e.IsInt64() || e.Int64() > 1<<31-1 {
			return nil, faulty(wire.Unfit, "the key's public exponent is too large")
		}
		return x509.MarshalPKIXPublicKey(&rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(e.Int64())})
	}
	if len(id) > 0 {
		found, err := m.objects(s, template(pkcs11.CKO_PUBLIC_KEY, "", id))
		if err != nil {
			return nil, err
		}
		for _, o := range found {
			if der, err := ecPublic(m.value(s, o, pkcs11.CKA_EC_PARAMS), m.value(s, o, pkcs11.CKA_EC_POINT)); err == nil {
				return der, nil
			}
		}
		found, err = m.objects(s, template(pkcs11.CKO_CERTIFICATE, "", id))
		if err != nil {
			return nil, err
		}
		for _, o := range found {
			if c, err := x509.ParseCertificate(m.value(s, o, pkcs11.CKA_VALUE)); err == nil {
				return c.RawSubjectPublicKeyInfo, nil
			}
		}
	}
	// Some tokens have it with the private key, too.
	der, err := ecPublic(m.value(s, key, pkcs11.CKA_EC_PARAMS), m.value(s, key, pkcs11.CKA_EC_POINT))
	if err != nil {
		return nil, faulty(wire.Unfit, "the token has no public key and no certificate with the id of this private key, so what it is the key of is not known: import one of them, with the id %s", hex.EncodeToString(id))
	}
	return der, nil
}

// ecPublic reads CKA_EC_PARAMS and CKA_EC_POINT. The point is an OCTET STRING; some give it
// bare.
func ecPublic(params, point []byte) ([]byte, error) {
	for _, c := range curves {
		if !bytes.Equal(c.params, params) {
			continue
		}
		var inner []byte
		if rest, err := asn1.Unmarshal(point, &inner); err == nil && len(rest) == 0 {
			point = inner
		}
		public, err := ecdsa.ParseUncompressedPublicKey(c.curve, point)
		if err != nil {
			return nil, err
		}
		return x509.MarshalPKIXPublicKey(public)
	}
	return nil, faulty(wire.Unfit, "the key is of a kind that is not known here: elliptic curves P-256, P-384, P-521, and RSA are")
}

// make makes a key pair that never leaves the token. One that is there already with this
// label and id was made before, and stays.
func (m *module) make(r *wire.Make) error {
	if r.Object == "" || len(r.Key) == 0 {
		return faulty(wire.Confused, "a key that is to be made has a label and an id")
	}
	s, err := m.p.OpenSession(m.slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	if err != nil {
		return failed("opening a session that may write", err)
	}
	defer m.p.CloseSession(s)
	found, err := m.objects(s, template(pkcs11.CKO_PRIVATE_KEY, r.Object, r.Key))
	if err != nil || len(found) > 0 {
		return err
	}
	var mechanism uint
	public := append(template(pkcs11.CKO_PUBLIC_KEY, r.Object, r.Key), pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true), pkcs11.NewAttribute(pkcs11.CKA_VERIFY, true))
	switch curve, bits := curves[r.Kind], lengths[r.Kind]; {
	case curve.curve != nil:
		mechanism = pkcs11.CKM_EC_KEY_PAIR_GEN
		public = append(public, pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, curve.params))
	case bits > 0:
		mechanism = pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN
		public = append(public, pkcs11.NewAttribute(pkcs11.CKA_MODULUS_BITS, bits), pkcs11.NewAttribute(pkcs11.CKA_PUBLIC_EXPONENT, []byte{1, 0, 1}))
	default:
		return faulty(wire.Unfit, "keys of the kind %.40q are not made in tokens: choose ecdsa-p256, ecdsa-p384, rsa-2048, rsa-3072 or rsa-4096", r.Kind)
	}
	private := append(template(pkcs11.CKO_PRIVATE_KEY, r.Object, r.Key), pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true), pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true),
		pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true), pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, false), pkcs11.NewAttribute(pkcs11.CKA_SIGN, true))
	if _, _, err := m.p.GenerateKeyPair(s, []*pkcs11.Mechanism{pkcs11.NewMechanism(mechanism, nil)}, public, private); err != nil {
		return failed("making a key of the kind "+r.Kind, err)
	}
	return nil
}

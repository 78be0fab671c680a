//go:build cgo

package loader

import (
	"encoding/asn1"
	"math/big"

	"chancery/internal/token/wire"

	"github.com/miekg/pkcs11"
)

// hashes are what signatures go by: the mechanism, its mask generation, and the beginning of
// a DigestInfo (RFC 8017 §9.2).
var hashes = map[string]struct {
	mechanism, mask uint
	length          int
	info            []byte
}{
	"sha1":   {pkcs11.CKM_SHA_1, pkcs11.CKG_MGF1_SHA1, 20, nil}, // for OAEP alone
	"sha256": {pkcs11.CKM_SHA256, pkcs11.CKG_MGF1_SHA256, 32, digestInfo(1, 32)},
	"sha384": {pkcs11.CKM_SHA384, pkcs11.CKG_MGF1_SHA384, 48, digestInfo(2, 48)},
	"sha512": {pkcs11.CKM_SHA512, pkcs11.CKG_MGF1_SHA512, 64, digestInfo(3, 64)},
}

// digestInfo begins SEQUENCE { SEQUENCE { id-sha…, NULL }, OCTET STRING }; the hashes of the
// SHA-2 family are 2.16.840.1.101.3.4.2.n.
func digestInfo(n, length byte) []byte {
	return []byte{0x30, 17 + length, 0x30, 13, 0x06, 9, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, n, 0x05, 0x00, 0x04, length}
}

// use signs, decrypts or derives.
func (m *module) use(r *wire.Request) (out []byte, err error) {
	s, err := m.session()
	if err != nil {
		return nil, err
	}
	defer func() { m.back(s, err) }()
	switch {
	case r.Sign != nil:
		return m.sign(s, r.Sign)
	case r.Decrypt != nil:
		return m.decrypt(s, r.Decrypt)
	}
	return m.derive(s, r.Derive)
}

func (m *module) sign(s pkcs11.SessionHandle, r *wire.Sign) ([]byte, error) {
	h, known := hashes[r.Hash]
	if r.Scheme != "ecdsa" && (!known || h.info == nil || len(r.Digest) != h.length) || len(r.Digest) == 0 || len(r.Digest) > 64 {
		return nil, faulty(wire.Unfit, "signatures are made with SHA-256, SHA-384 or SHA-512")
	}
	var how *pkcs11.Mechanism
	text := r.Digest
	switch r.Scheme {
	case "ecdsa":
		how = pkcs11.NewMechanism(pkcs11.CKM_ECDSA, nil)
	case "pkcs1":
		how, text = pkcs11.NewMechanism(pkcs11.CKM_RSA_PKCS, nil), append(append([]byte(nil), h.info...), r.Digest...)
	case "pss":
		if r.Salt < 0 || r.Salt > 512 {
			return nil, faulty(wire.Unfit, "the salt of a signature cannot have %d octets", r.Salt)
		}
		how = pkcs11.NewMechanism(pkcs11.CKM_RSA_PKCS_PSS, pkcs11.NewPSSParams(h.mechanism, h.mask, uint(r.Salt)))
	default:
		return nil, faulty(wire.Unfit, "there are no signatures of the kind %.20q", r.Scheme)
	}
	if err := m.p.SignInit(s, []*pkcs11.Mechanism{how}, pkcs11.ObjectHandle(r.Handle)); err != nil {
		return nil, failed("signing", err)
	}
	signature, err := m.p.Sign(s, text)
	if err != nil {
		return nil, failed("signing", err)
	}
	if r.Scheme != "ecdsa" {
		return signature, nil
	}
	// The token gives both numbers, equally long; the world wants ASN.1 (RFC 3279 §2.2.3).
	half := len(signature) / 2
	if half == 0 || len(signature)%2 != 0 {
		return nil, faulty(wire.Refused, "signing: the token gave %d octets, which are no signature", len(signature))
	}
	return asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(signature[:half]), new(big.Int).SetBytes(signature[half:])})
}

func (m *module) decrypt(s pkcs11.SessionHandle, r *wire.Crypt) ([]byte, error) {
	how := pkcs11.NewMechanism(pkcs11.CKM_RSA_PKCS, nil)
	if r.Hash != "" {
		h, known := hashes[r.Hash]
		if !known {
			return nil, faulty(wire.Unfit, "OAEP is not known with %.20q", r.Hash)
		}
		how = pkcs11.NewMechanism(pkcs11.CKM_RSA_PKCS_OAEP, pkcs11.NewOAEPParams(h.mechanism, h.mask, pkcs11.CKZ_DATA_SPECIFIED, nil))
	}
	if err := m.p.DecryptInit(s, []*pkcs11.Mechanism{how}, pkcs11.ObjectHandle(r.Handle)); err != nil {
		return nil, failed("decrypting", err)
	}
	text, err := m.p.Decrypt(s, r.Text)
	if err != nil {
		return nil, failed("decrypting", err)
	}
	return text, nil
}

// derive makes the shared secret of ECDH. The token gives it as an object of this session,
// which is read and deleted.
func (m *module) derive(s pkcs11.SessionHandle, r *wire.Crypt) ([]byte, error) {
	length := (len(r.Text) - 1) / 2
	if length < 32 || length > 66 || r.Text[0] != 4 {
		return nil, faulty(wire.Unfit, "the other side's key is no uncompressed point")
	}
	how := pkcs11.NewMechanism(pkcs11.CKM_ECDH1_DERIVE, pkcs11.NewECDH1DeriveParams(pkcs11.CKD_NULL, nil, r.Text))
	o, err := m.p.DeriveKey(s, []*pkcs11.Mechanism{how}, pkcs11.ObjectHandle(r.Handle), []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY), pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_GENERIC_SECRET),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, false), pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, false), pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, true),
		pkcs11.NewAttribute(pkcs11.CKA_VALUE_LEN, length),
	})
	if err != nil {
		return nil, failed("deriving", err)
	}
	secret := m.value(s, o, pkcs11.CKA_VALUE)
	if err := m.p.DestroyObject(s, o); err != nil {
		return nil, failed("deriving", err)
	}
	if len(secret) != length {
		return nil, faulty(wire.Unfit, "the token does not give derived secrets")
	}
	return secret, nil
}

package cms

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/hkdf"
	"crypto/rand"
	"encoding/asn1"
	"encoding/binary"

	tags "golang.org/x/crypto/cryptobyte/asn1"
)

var (
	oidECPublicKey = asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}
	oidX25519      = asn1.ObjectIdentifier{1, 3, 101, 110}
)

// agreements are the schemes of key agreement (RFC 5753 §7.1.4, RFC 8418 §5). With the
// cofactor 1 of our curves, the cofactor schemes are the same arithmetic. We send the
// ones with SHA-2 and X9.63.
var agreements = []struct {
	oid  asn1.ObjectIdentifier
	hash crypto.Hash
	hkdf bool
	sent bool
}{
	{asn1.ObjectIdentifier{1, 3, 132, 1, 11, 1}, crypto.SHA256, false, true},
	{asn1.ObjectIdentifier{1, 3, 132, 1, 11, 2}, crypto.SHA384, false, true},
	{asn1.ObjectIdentifier{1, 3, 132, 1, 11, 3}, crypto.SHA512, false, true},
	{asn1.ObjectIdentifier{1, 3, 133, 16, 840, 63, 0, 2}, crypto.SHA1, false, false},
	{asn1.ObjectIdentifier{1, 3, 133, 16, 840, 63, 0, 3}, crypto.SHA1, false, false},
	{asn1.ObjectIdentifier{1, 3, 132, 1, 14, 1}, crypto.SHA256, false, false},
	{asn1.ObjectIdentifier{1, 3, 132, 1, 14, 2}, crypto.SHA384, false, false},
	{asn1.ObjectIdentifier{1, 3, 132, 1, 14, 3}, crypto.SHA512, false, false},
	{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 3, 19}, crypto.SHA256, true, false},
	{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 3, 20}, crypto.SHA384, true, false},
	{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 3, 21}, crypto.SHA512, true, false},
}

// agreement is the derivation of a key-encryption key from a shared secret.
type agreement struct {
	hash crypto.Hash
	hkdf bool
	wrap Algorithm // KeyWrapAlgorithm, exactly as it stands in the message
	ukm  []byte
}

// derive gives the key-encryption key of so many octets. The entries of ECC-CMS-SharedInfo
// are those of RFC 5753 §7.2.
func (a agreement) derive(secret []byte, size int) ([]byte, error) {
	info, err := build(func(b *writer) {
		add(b, tags.SEQUENCE, func(b *writer) {
			a.wrap.add(b)
			if len(a.ukm) > 0 {
				add(b, constructed(0), func(b *writer) { b.AddASN1OctetString(a.ukm) })
			}
			add(b, constructed(2), func(b *writer) {
				b.AddASN1OctetString(binary.BigEndian.AppendUint32(nil, uint32(size*8)))
			})
		})
	})
	if err != nil {
		return nil, err
	}
	if a.hkdf { // RFC 8418 §2.2
		kek, err := hkdf.Key(a.hash.New, secret, a.ukm, string(info), size)
		if err != nil {
			return nil, undecrypted()
		}
		return kek, nil
	}
	// ANSI X9.63, as SEC 1 §3.6.1 and RFC 8418 §2.1 have it.
	kek := []byte{}
	for counter := uint32(1); len(kek) < size; counter++ {
		d := a.hash.New()
		d.Write(secret)
		d.Write(binary.BigEndian.AppendUint32(nil, counter))
		d.Write(info)
		kek = d.Sum(kek)
	}
	return kek[:size], nil
}

// public gives the recipient's key.
func (k KeyAgreement) public() (*ecdh.PublicKey, error) {
	key := k.Key
	if key == nil && k.Certificate != nil {
		key = k.Certificate.PublicKey
	}
	switch key := key.(type) {
	case *ecdh.PublicKey:
		return key, nil
	case *ecdsa.PublicKey:
		if public, err := key.ECDH(); err == nil {
			return public, nil
		}
		return nil, fault(BadValue, "the recipient's curve is not supported")
	}
	return nil, fault(BadValue, "key agreement needs an ECDH key, not a %T", key)
}

// scheme chooses hash and key wrap where the caller did not.
func (k KeyAgreement) scheme(to *ecdh.PublicKey, key []byte) (oid asn1.ObjectIdentifier, a agreement, bits int, err error) {
	a.hash = k.Hash
	if a.hash == 0 {
		switch to.Curve() {
		case ecdh.P384():
			a.hash = crypto.SHA384
		case ecdh.P521():
			a.hash = crypto.SHA512
		default:
			a.hash = crypto.SHA256
		}
	}
	if bits = k.Wrap; bits == 0 {
		bits = min(256, len(key)*8)
	}
	wrapOID, ok := wrapOIDs[bits]
	if !ok {
		return nil, a, 0, fault(BadValue, "there is no AES key wrap of %d bits", bits)
	}
	a.wrap = Algorithm{OID: wrapOID}
	for _, known := range agreements {
		if known.sent && known.hash == a.hash {
			return known.oid, a, bits, nil
		}
	}
	return nil, a, 0, fault(BadValue, "key agreement with %v is not supported", a.hash)
}

// seal makes KeyAgreeRecipientInfo (RFC 5652 §6.2.2, RFC 5753 §3.1.1).
func (k KeyAgreement) seal(key []byte) ([]byte, error) {
	to, err := k.public()
	if err != nil {
		return nil, err
	}
	name := whom{k.Certificate, k.KeyID}
	if err := name.check(); err != nil {
		return nil, err
	}
	oid, how, bits, err := k.scheme(to, key)
	if err != nil {
		return nil, err
	}
	ephemeral, err := to.Curve().GenerateKey(rand.Reader)
	if err != nil {
		return nil, &Error{Kind: BadValue, Detail: "the ephemeral key", Err: err}
	}
	secret, err := ephemeral.ECDH(to)
	if err != nil {
		return nil, &Error{Kind: BadValue, Detail: "the key agreement", Err: err}
	}
	kek, err := how.derive(secret, bits/8)
	if err != nil {
		return nil, err
	}
	wrapped, err := wrap(kek, key)
	if err != nil {
		return nil, err
	}
	wrapping, err := how.wrap.marshal()
	if err != nil {
		return nil, err
	}
	return build(func(b *writer) {
		add(b, constructed(1), func(b *writer) {
			b.AddASN1Int64(3)
			add(b, constructed(0), func(b *writer) { addOriginator(b, ephemeral.PublicKey()) })
			Algorithm{oid, wrapping}.add(b)
			add(b, tags.SEQUENCE, func(b *writer) { name.addEncryptedKey(b, wrapped) })
		})
	})
}

// addOriginator writes OriginatorPublicKey. The parameters of id-ecPublicKey are absent (RFC
// 5753 §3.1.1), since the curve is the recipient's.
func addOriginator(b *writer, key *ecdh.PublicKey) {
	oid := oidECPublicKey
	if key.Curve() == ecdh.X25519() {
		oid = oidX25519
	}
	add(b, constructed(1), func(b *writer) {
		Algorithm{OID: oid}.add(b)
		b.AddASN1BitString(key.Bytes())
	})
}

// addEncryptedKey writes RecipientEncryptedKey.
func (w whom) addEncryptedKey(b *writer, wrapped []byte) {
	add(b, tags.SEQUENCE, func(b *writer) {
		if w.byKeyID() {
			add(b, constructed(0), func(b *writer) { b.AddASN1OctetString(w.keyID) })
		} else {
			addIssuerAndSerial(b, w.certificate)
		}
		b.AddASN1OctetString(wrapped)
	})
}

// openAgreement derives the key-encryption key and unwraps the content key.
func (i *RecipientInfo) openAgreement(key any) ([]byte, error) {
	private, ok := key.(ecdh.KeyExchanger)
	if signing, is := key.(*ecdsa.PrivateKey); is {
		converted, err := signing.ECDH()
		if err != nil {
			return nil, fault(BadValue, "the key's curve is not supported")
		}
		private, ok = converted, true
	}
	if !ok {
		return nil, fault(BadValue, "the key was agreed by ECDH, which a %T does not do", key)
	}
	how, bits, err := i.agreement()
	if err != nil {
		return nil, err
	}
	public, err := i.originatorKey(private.Curve())
	if err != nil {
		return nil, err
	}
	secret, err := private.ECDH(public)
	if err != nil {
		return nil, undecrypted() // X25519's all-zero secret, too (RFC 8418 §2)
	}
	kek, err := how.derive(secret, bits/8)
	if err != nil {
		return nil, err
	}
	return unwrap(kek, i.encrypted)
}

// agreement reads keyEncryptionAlgorithm.
func (i *RecipientInfo) agreement() (agreement, int, error) {
	for _, known := range agreements {
		if !known.oid.Equal(i.Algorithm.OID) {
			continue
		}
		r := readerOf(i.Algorithm.Parameters)
		how := agreement{hash: known.hash, hkdf: known.hkdf, ukm: i.ukm}
		how.wrap = r.algorithm(tags.SEQUENCE, "KeyWrapAlgorithm")
		r.end("KeyWrapAlgorithm")
		if !r.ok() {
			return how, 0, *r.err
		}
		bits, err := wrapBits(how.wrap)
		return how, bits, err
	}
	return agreement{}, 0, fault(Unsupported, "the key agreement %v is not supported", i.Algorithm.OID)
}

// originatorKey reads OriginatorPublicKey as a point of the recipient's curve.
func (i *RecipientInfo) originatorKey(curve ecdh.Curve) (*ecdh.PublicKey, error) {
	if i.originator == nil {
		return nil, fault(Unsupported, "key agreement with a static key of the sender's is not supported")
	}
	r := readerOf(i.originator)
	seq := r.in(constructed(1), "OriginatorPublicKey")
	algorithm := seq.algorithm(tags.SEQUENCE, "the originator's algorithm")
	var point asn1.BitString
	if seq.ok() && (!seq.rest.ReadASN1BitString(&point) || point.BitLength%8 != 0) {
		seq.fail("the originator's key is no whole BIT STRING")
	}
	seq.end("OriginatorPublicKey")
	if !seq.ok() {
		return nil, *seq.err
	}
	want := oidECPublicKey
	if curve == ecdh.X25519() {
		want = oidX25519
	}
	if !algorithm.OID.Equal(want) {
		return nil, fault(Malformed, "the originator's key is of another kind than the recipient's")
	}
	public, err := curve.NewPublicKey(point.Bytes)
	if err != nil {
		return nil, fault(Malformed, "the originator's key is not on the recipient's curve")
	}
	return public, nil
}

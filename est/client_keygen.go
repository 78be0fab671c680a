package est

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"net/http"

	"chancery/cms"
)

// KeyOrder is one request for a key that the server makes (RFC 7030 §4.4). Of Enrolment
// the key does not count: the request is signed by one that is thrown away, as the
// server has to ignore it. At most one of Shared and Own is given; with one, the key has
// to come encrypted to it.
type KeyOrder struct {
	Enrolment
	// Shared is a secret key that both sides have (RFC 7030 §4.4.1.1).
	Shared *SharedKey
	// Own is a key pair that the server can find (RFC 7030 §4.4.1.2).
	Own *OwnKey
}

// SharedKey is a secret key with the name by which the server knows it.
type SharedKey struct {
	ID  []byte
	Key cms.Secret
}

// OwnKey is a key that can decrypt: RSA, or one of an elliptic curve.
type OwnKey struct {
	// Certificate names the key by its subject key identifier; nil: ID does.
	Certificate *x509.Certificate
	ID          []byte
	Key         crypto.PrivateKey
}

// id is the identifier that names the key: the certificate's, else the hash of RFC 5280
// §4.2.1.2.
func (k *OwnKey) id() ([]byte, error) {
	if len(k.ID) > 0 {
		return k.ID, nil
	}
	if k.Certificate == nil {
		return nil, errors.New("the key to which the new one is encrypted has neither an identifier nor a certificate")
	}
	if len(k.Certificate.SubjectKeyId) > 0 {
		return k.Certificate.SubjectKeyId, nil
	}
	var spki struct {
		Algorithm asn1.RawValue
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(k.Certificate.RawSubjectPublicKeyInfo, &spki); err != nil {
		return nil, because(Malformed, "the certificate's key cannot be read", err)
	}
	sum := sha1.Sum(spki.Key.Bytes)
	return sum[:], nil
}

// MayDecrypt tells whether a certificate's key may be what another is encrypted to: its
// use is not restricted, or allows it (RFC 7030 §4.4.1.2).
func MayDecrypt(c *x509.Certificate) bool {
	switch c.PublicKey.(type) {
	case *rsa.PublicKey:
		return c.KeyUsage == 0 || c.KeyUsage&x509.KeyUsageKeyEncipherment != 0
	case *ecdsa.PublicKey, *ecdh.PublicKey:
		return c.KeyUsage == 0 || c.KeyUsage&x509.KeyUsageKeyAgreement != 0
	}
	return false
}

// Made is a key that the server made, with its certificate.
type Made struct {
	Issued
	Key       crypto.Signer
	Encrypted bool              // it came encrypted, apart from TLS
	Maker     *x509.Certificate // who signed the encrypted key; nil when it came plain
}

// ServerKeyGen has the server make a key and certify it (/serverkeygen, RFC 7030 §4.4).
// Only a server that Explicit anchors verify may, unless the configuration says
// otherwise. A key that was to come encrypted and does not is refused, so is one whose
// maker does not chain to Explicit anchors, and one that is not the certificate's.
func (c *Client) ServerKeyGen(ctx context.Context, k KeyOrder) (*Made, error) {
	if k.Shared != nil && k.Own != nil {
		return nil, errors.New("the new key is encrypted either to a shared key or to a key pair, not to both")
	}
	waste, err := throwAway(k.Wanted)
	if err != nil {
		return nil, err
	}
	k.Key = nil // the server's key is not known yet, and not judged by the server's wishes
	if k.Renews != nil {
		k.Request = k.Request.renewing(k.Renews)
	}
	draft, err := k.draft()
	if err != nil {
		return nil, err
	}
	if err := k.encrypted(&draft.request); err != nil {
		return nil, err
	}
	linked := false
	o, err := c.do(ctx, errand{
		op: ServerKeyGen, method: http.MethodPost, media: PKCS10, candidates: c.candidates(k.Renews), secret: true, discloses: draft.secret,
		build: func(cs *tls.ConnectionState) (body []byte, err error) {
			body, linked, err = draft.bound(cs, waste)
			return body, err
		},
	})
	if pending, ok := errors.AsType[*PendingError](err); ok {
		pending.Linked = linked
	}
	if err != nil {
		return nil, err
	}
	made, err := c.made(o, k)
	if err != nil {
		return nil, err
	}
	made.Linked = linked
	return made, k.compare(draft.request, &made.Issued)
}

// throwAway makes the key that signs the request, of the kind that the server wants to
// see in it if that can sign.
func throwAway(w *Wanted) (crypto.Signer, error) {
	if w != nil {
		spec, err := ParseKeySpec(w.Key)
		if err == nil && !spec.Algorithm.Equal(OIDX25519) {
			return spec.NewKey()
		}
	}
	return KeySpec{}.NewKey()
}

// encrypted adds the attributes that name the key to encrypt to, and what this client
// can decrypt (RFC 7030 §4.4.1).
func (k KeyOrder) encrypted(r *Request) error {
	var to any
	switch {
	case k.Shared != nil:
		if len(k.Shared.ID) == 0 {
			return errors.New("the shared key has no identifier by which the server knows it")
		}
		to = k.Shared.Key
		r.Attributes = append(r.Attributes, DecryptKeyIdentifier(k.Shared.ID))
	case k.Own != nil:
		id, err := k.Own.id()
		if err != nil {
			return err
		}
		half, ok := k.Own.Key.(publicHalf)
		if !ok {
			return errors.New("the key to which the new one is encrypted is none that can decrypt")
		}
		to = half.Public()
		r.Attributes = append(r.Attributes, AsymmetricDecryptKeyIdentifier(id))
	default:
		return nil
	}
	list, err := cms.CapabilitiesOf(to)
	if err != nil {
		return err
	}
	der, err := list.Marshal()
	if err != nil {
		return err
	}
	r.Attributes = append(r.Attributes, SMIMECapabilities(der))
	return nil
}

// made reads the two parts of the answer: a key and its certificate (RFC 7030 §4.4.2).
func (c *Client) made(o *outcome, k KeyOrder) (*Made, error) {
	parts, err := ParseMultipart(o.header.Get("Content-Type"), o.body)
	if err != nil {
		return nil, &AnswerError{Operation: ServerKeyGen, Reason: "is not a key and a certificate in two parts", Err: err}
	}
	var m Made
	var got []*x509.Certificate
	for _, part := range parts {
		info, failed := cms.ParseContentInfo(part.Body)
		switch {
		case failed == nil && info.Type.Equal(cms.OIDSignedData):
			if got, err = bag(ServerKeyGen, part.Body); err != nil {
				return nil, err
			}
		case m.Key != nil:
			return nil, &AnswerError{Operation: ServerKeyGen, Reason: "holds more than one key"}
		case failed == nil:
			if m.Key, m.Maker, err = c.opened(part.Body, k, o.server); err != nil {
				return nil, err
			}
			m.Encrypted = true
		default:
			if k.Shared != nil || k.Own != nil {
				return nil, &AnswerError{Operation: ServerKeyGen, Reason: "holds a key that is not encrypted, though that was asked for: it is not used. Its certificate should be revoked"}
			}
			m.Key, err = ParseServerKey(part.Body)
			clear(part.Body)
			if err != nil {
				return nil, &AnswerError{Operation: ServerKeyGen, Reason: "holds no key that can be used", Err: err}
			}
		}
	}
	clear(o.body)
	if m.Key == nil || len(got) == 0 {
		return nil, &AnswerError{Operation: ServerKeyGen, Reason: "lacks the key or the certificate"}
	}
	issued, err := c.choose(ServerKeyGen, o, choice{got, m.Key.Public(), k.Renews})
	if err != nil {
		return nil, err
	}
	m.Issued = *issued
	return &m, nil
}

type publicHalf interface{ Public() crypto.PublicKey }

// opened decrypts a key, and verifies who made it (RFC 7030 §4.4.2).
func (c *Client) opened(der []byte, k KeyOrder, from Server) (crypto.Signer, *x509.Certificate, error) {
	fail := func(reason string, err error) (crypto.Signer, *x509.Certificate, error) {
		return nil, nil, &AnswerError{Operation: ServerKeyGen, Reason: reason, Err: err}
	}
	envelope, err := cms.ParseEnveloped(der)
	if err != nil {
		return fail("holds something that is neither a key nor an encrypted one", err)
	}
	plain, err := k.decrypt(envelope)
	if err != nil {
		return fail("holds a key that cannot be decrypted", err)
	}
	defer clear(plain)
	if envelope.Type.Equal(cms.OIDSignedData) { // the SignedData itself (RFC 5652 §6.1)
		if plain, err = (cms.ContentInfo{Type: cms.OIDSignedData, Content: plain}).Marshal(); err != nil {
			return fail("holds an encrypted key that nobody signed", err)
		}
	}
	signed, err := cms.ParseSignedData(plain)
	if err != nil {
		return fail("holds an encrypted key that nobody signed", err)
	}
	maker, err := c.maker(signed, k, from)
	if err != nil {
		return fail("holds a key of which it is not clear who made it", err)
	}
	if !signed.Type.Equal(cms.OIDKeyPackage) {
		return fail("holds signed content that is no key package (RFC 5958)", nil)
	}
	keys, err := cms.ParseKeyPackage(signed.Content)
	if err != nil || len(keys) != 1 {
		return fail("holds a key package without exactly one key", err)
	}
	key, err := ParseServerKey(keys[0])
	if err != nil {
		return fail("holds no key that can be used", err)
	}
	return key, maker, nil
}

// decrypt finds the recipient that is ours.
func (k KeyOrder) decrypt(e *cms.Enveloped) ([]byte, error) {
	for i, r := range e.Recipients {
		switch {
		case k.Shared != nil && r.Kind == cms.ByKeyEncryption && bytes.Equal(r.KeyID, k.Shared.ID):
			return e.Decrypt(k.Shared.Key, i)
		case k.Own != nil && (r.Kind == cms.ByKeyTransport || r.Kind == cms.ByKeyAgreement) && k.Own.named(r):
			return e.Decrypt(k.Own.Key, i)
		}
	}
	return nil, errors.New("it is not encrypted to the key that was named")
}

// named tells whether a recipient is this key.
func (k *OwnKey) named(r cms.RecipientInfo) bool {
	if len(r.KeyID) > 0 {
		id, err := k.id()
		return err == nil && bytes.Equal(r.KeyID, id)
	}
	c := k.Certificate
	return c == nil || bytes.Equal(r.Issuer, c.RawIssuer) && r.Serial != nil && r.Serial.Cmp(c.SerialNumber) == 0
}

// ours are the keys of who orders, as far as certificates tell.
func (k KeyOrder) ours() (own []crypto.PublicKey) {
	if k.Own != nil && k.Own.Certificate != nil {
		own = append(own, k.Own.Certificate.PublicKey)
	}
	if k.Renews != nil {
		own = append(own, k.Renews.PublicKey)
	}
	return own
}

// maker verifies the signatures and gives the first signer's certificate, which has to be
// enclosed, to chain to Explicit anchors, and to be of one who may; see [makes].
func (c *Client) maker(s *cms.SignedData, k KeyOrder, from Server) (*x509.Certificate, error) {
	trust := c.Trust()
	if len(trust.Explicit) == 0 {
		return nil, errors.New("there are no explicit trust anchors to verify its maker by: fetch the CA's certificates first")
	}
	var first *x509.Certificate
	for i, signer := range s.Signers {
		one := signer.Certificate(s.Certificates)
		if one == nil {
			return nil, errors.New("the maker's certificate is not enclosed")
		}
		err := s.Verify(i, one.PublicKey)
		if err != nil {
			return nil, err
		}
		options := trust.options(c.config.Now())
		options.KeyUsages = []x509.ExtKeyUsage{x509.ExtKeyUsageAny}
		for _, der := range s.Certificates {
			if above, err := x509.ParseCertificate(der); err == nil {
				options.Intermediates.AddCert(above)
			}
		}
		if _, err = one.Verify(options); err != nil {
			return nil, err
		}
		if err := makes(one, from); err != nil {
			return nil, err
		}
		if err := c.others(one.PublicKey, k.ours()...); err != nil {
			return nil, err
		}
		if first == nil { // a copy: what was decrypted is overwritten
			if first, err = x509.ParseCertificate(bytes.Clone(one.Raw)); err != nil {
				return nil, err
			}
		}
	}
	if first == nil {
		return nil, errors.New("nobody signed it")
	}
	return first, nil
}

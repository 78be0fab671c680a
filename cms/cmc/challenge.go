package cmc

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"math/big"

	"chancery/cms"
)

// Challenged is a request whose key cannot sign, and what it is challenged with.
type Challenged struct {
	Request Request
	Proof   []byte      // POP Proof Value, kept by who challenges; nil: 32 new octets
	KeyID   []byte      // the request's subject key identifier; nil: by body part (RFC 5272 §6.7)
	Hash    crypto.Hash // of witness and HMAC; 0: SHA-256
	Cipher  cms.Cipher  // 0: AES256CBC
}

// NewChallenge encrypts a proof value to the key of the request (RFC 5272 §6.7): RSA by
// key transport, elliptic curves by key agreement. The proof value is what
// [DecryptedPOP.Verify] needs.
func NewChallenge(c Challenged) (challenge EncryptedPOP, proof []byte, err error) {
	if c.Hash == 0 {
		c.Hash = crypto.SHA256
	}
	if c.Cipher == 0 {
		c.Cipher = cms.AES256CBC
	}
	if c.Proof == nil {
		c.Proof = make([]byte, 32)
		rand.Read(c.Proof) // it never fails
	}
	f, err := functionOf(c.Hash)
	if err != nil {
		return EncryptedPOP{}, nil, err
	}
	to, err := c.recipient()
	if err != nil {
		return EncryptedPOP{}, nil, err
	}
	content, err := cms.Encrypt(cms.Plain{Type: cms.OIDData, Content: c.Proof, Cipher: c.Cipher}, to)
	if err != nil {
		return EncryptedPOP{}, nil, &Error{Fail: BadAlg, Parts: []BodyPartID{c.Request.ID}, Reason: "the key cannot be challenged", Err: err}
	}
	return EncryptedPOP{c.Request, content, f.mac(), f.algorithm(), f.sum(c.Proof)}, c.Proof, nil
}

// recipient names the key by its identifier, or as RFC 5272 §6.7 has it where there is no
// certificate yet: by an empty issuer and the body part as serial number.
func (c Challenged) recipient() (cms.Recipient, error) {
	der, err := c.Request.PublicKey()
	if err != nil {
		return nil, err
	}
	if len(der) == 0 || len(der) > maxKey {
		return nil, refuse(BadRequest, c.Request.ID, "the request has no public key, or one too large")
	}
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, &Error{Fail: BadAlg, Parts: []BodyPartID{c.Request.ID}, Reason: "the key cannot be challenged", Err: err}
	}
	var named *x509.Certificate
	if c.KeyID == nil {
		named = &x509.Certificate{RawIssuer: []byte{0x30, 0}, SerialNumber: new(big.Int).SetUint64(uint64(c.Request.ID)), PublicKey: key}
	}
	if _, isRSA := key.(*rsa.PublicKey); isRSA {
		return cms.KeyTransport{Certificate: named, KeyID: c.KeyID, Key: key}, nil
	}
	return cms.KeyAgreement{Certificate: named, KeyID: c.KeyID, Key: key}, nil
}

// Open decrypts the challenge with the private key of the request, as
// [cms.Enveloped.Decrypt] takes it, and checks the proof value against the witness. The
// error is popFailed; the enrolment ends then (RFC 5272 §6.7).
func (v EncryptedPOP) Open(key any, o Options) (proof []byte, err error) {
	f, err := o.digest(v.Hash)
	if err != nil {
		return nil, at(v.Request.ID, err)
	}
	e, err := cms.ParseEnveloped(v.CMS)
	if err != nil {
		return nil, &Error{Fail: POPFailed, Parts: []BodyPartID{v.Request.ID}, Reason: "the challenge cannot be read", Err: err}
	}
	for i := range e.Recipients {
		if proof, err = e.Decrypt(key, i); err == nil {
			break
		}
	}
	if err != nil || len(proof) == 0 || !hmac.Equal(f.sum(proof), v.Witness) {
		return nil, &Error{Fail: POPFailed, Parts: []BodyPartID{v.Request.ID}, Reason: "the challenge cannot be decrypted, or is not what its witness says"}
	}
	return proof, nil
}

// Answer is the proof of possession for the request as it stands in the next message
// (RFC 5272 §6.7): HMAC, keyed with the proof value, over the DER of the TaggedRequest.
func (v EncryptedPOP) Answer(proof []byte, request Request, o Options) (DecryptedPOP, error) {
	f, err := o.hmac(v.POP)
	if err != nil {
		return DecryptedPOP{}, err
	}
	der, err := request.Marshal()
	if err != nil {
		return DecryptedPOP{}, err
	}
	return DecryptedPOP{Part: request.ID, Algorithm: v.POP, POP: f.code(first64(proof), der)}, nil
}

// Verify checks the answer against the proof value of the challenge and the request in the
// same message, in constant time. The error is popFailed if it does not hold.
func (v DecryptedPOP) Verify(proof []byte, request Request, o Options) error {
	f, err := o.hmac(v.Algorithm)
	if err != nil {
		return err
	}
	der, err := request.Marshal()
	if err != nil {
		return err
	}
	if request.ID != v.Part || len(proof) == 0 || !hmac.Equal(v.POP, f.code(first64(proof), der)) {
		return refuse(POPFailed, request.ID, "the challenge is not answered by the request's key")
	}
	return nil
}

// first64 is the part of a proof value that keys the HMAC (RFC 5272 §6.7).
func first64(proof []byte) []byte { return proof[:min(len(proof), 64)] }

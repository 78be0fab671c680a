package cmc

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"

	"chancery/cms"
)

// Identity is what a proof of identity is made with.
type Identity struct {
	Secret Secret
	Name   Identification // that of the message's control; "": it has none
}

// ProveIdentity makes the proof of identity for a message with these requests
// (PKIData.RequestBytes), with the hash function and the HMAC with it (RFC 5272 §6.2.1).
func ProveIdentity(id Identity, h crypto.Hash, requests []byte) (IdentityProofV2, error) {
	f, err := functionOf(h)
	if err != nil {
		return IdentityProofV2{}, err
	}
	return IdentityProofV2{Hash: f.algorithm(), MAC: f.mac(), Witness: f.code(f.sum(id.Secret, []byte(id.Name)), requests)}, nil
}

// Verify checks the proof in constant time. The error is badIdentity if it does not
// hold, badAlg if its algorithms are not to be had.
func (v IdentityProofV2) Verify(id Identity, requests []byte, o Options) error {
	h, err := o.digest(v.Hash)
	if err != nil {
		return err
	}
	mac, err := o.hmac(v.MAC)
	if err != nil {
		return err
	}
	// RFC 5272 §6.2.3: the identification follows the secret.
	want := mac.code(h.sum(id.Secret, []byte(id.Name)), requests)
	if len(id.Secret) == 0 || !hmac.Equal(v.Witness, want) {
		return refuse(BadIdentity, Current, "the proof of identity does not hold")
	}
	return nil
}

// ProveIdentityV1 makes the older proof, with SHA-1 (RFC 5272 §6.2.2).
func ProveIdentityV1(id Identity, requests []byte) (IdentityProof, error) {
	v, err := ProveIdentity(id, crypto.SHA1, requests)
	return v.Witness, err
}

// Verify checks the older proof, which is badAlg unless SHA-1 counts.
func (v IdentityProof) Verify(id Identity, requests []byte, o Options) error {
	f, err := functionOf(crypto.SHA1)
	if err != nil {
		return err
	}
	return IdentityProofV2{Hash: f.algorithm(), MAC: f.mac(), Witness: v}.Verify(id, requests, o)
}

// NewPOPLinkRandom makes 64 random octets (RFC 5272 §6.3.1.1: 512 bits).
func NewPOPLinkRandom() POPLinkRandom {
	random := make([]byte, 64)
	rand.Read(random) // it never fails
	return random
}

// Link makes the witness for each certification request of a message whose control is
// this random value, with the hash function and the HMAC with it (RFC 5272 §6.3.1.1).
func Link(secret Secret, random POPLinkRandom, h crypto.Hash) (POPLinkWitnessV2, error) {
	f, err := functionOf(h)
	if err != nil {
		return POPLinkWitnessV2{}, err
	}
	return POPLinkWitnessV2{KeyGen: f.algorithm(), MAC: f.mac(), Witness: f.code(f.sum(secret), random)}, nil
}

// LinkWith makes the witness with a key that is derived otherwise ([PBKDF2]) and HMAC
// with SHA-256.
func LinkWith(keyGen cms.Algorithm, secret Secret, random POPLinkRandom) (POPLinkWitnessV2, error) {
	f, err := functionOf(crypto.SHA256)
	if err != nil {
		return POPLinkWitnessV2{}, err
	}
	key, err := Options{}.key(keyGen, secret)
	if err != nil {
		return POPLinkWitnessV2{}, err
	}
	return POPLinkWitnessV2{KeyGen: keyGen, MAC: f.mac(), Witness: f.code(key, random)}, nil
}

// Verify checks the witness in constant time. The error is popFailed if it does not
// hold, badAlg if its algorithms are not to be had.
func (v POPLinkWitnessV2) Verify(secret Secret, random POPLinkRandom, o Options) error {
	mac, err := o.hmac(v.MAC)
	if err != nil {
		return err
	}
	key, err := o.key(v.KeyGen, secret)
	if err != nil {
		return err
	}
	if len(secret) == 0 || len(random) == 0 || !hmac.Equal(v.Witness, mac.code(key, random)) {
		return refuse(POPFailed, Current, "the request is not linked to the proof of identity")
	}
	return nil
}

// LinkV1 makes the older witness, with SHA-1 (RFC 5272 §6.3.1.2).
func LinkV1(secret Secret, random POPLinkRandom) (POPLinkWitness, error) {
	v, err := Link(secret, random, crypto.SHA1)
	return v.Witness, err
}

// Verify checks the older witness, which is badAlg unless SHA-1 counts.
func (v POPLinkWitness) Verify(secret Secret, random POPLinkRandom, o Options) error {
	f, err := functionOf(crypto.SHA1)
	if err != nil {
		return err
	}
	return POPLinkWitnessV2{KeyGen: f.algorithm(), MAC: f.mac(), Witness: v}.Verify(secret, random, o)
}

// VerifyLink checks the request's witness, of whichever version it has; one that holds
// is enough. A request without one is popFailed (RFC 5272 §6.3.1.1: each has one).
func (q Request) VerifyLink(secret Secret, random POPLinkRandom, o Options) error {
	attributes, err := q.Attributes()
	if err != nil {
		return err
	}
	failure := error(refuse(POPFailed, q.ID, "the request has no POP link witness"))
	for _, a := range attributes {
		if len(a.Values) != 1 || !a.Type.Equal(OIDPOPLinkWitness) && !a.Type.Equal(OIDPOPLinkWitnessV2) {
			continue
		}
		v, err := Unmarshal(a.Type, a.Values[0])
		if err != nil {
			return at(q.ID, err)
		}
		switch w := v.(type) {
		case POPLinkWitness:
			failure = at(q.ID, w.Verify(secret, random, o))
		case POPLinkWitnessV2:
			failure = at(q.ID, w.Verify(secret, random, o))
		}
		if failure == nil {
			return nil
		}
	}
	return failure
}

// Attribute is the value as an attribute of a PKCS #10 request (RFC 5272 §6.3.1.1,
// RFC 6402 §2.8).
func Attribute(v Value) (cms.Attribute, error) {
	der, err := Marshal(v)
	return cms.Attribute{Type: v.OID(), Values: [][]byte{der}}, err
}

// CRMFControl is the value as a control of a CRMF request.
func CRMFControl(v Value) (AttributeTypeAndValue, error) {
	der, err := Marshal(v)
	return AttributeTypeAndValue{Type: v.OID(), Value: der}, err
}

// SecretIs compares the secret of the request with the one that was registered with the
// certificate (RFC 5272 §6.11), in constant time. A request without one has none.
func (v RevokeRequest) SecretIs(registered Secret) bool {
	return len(registered) > 0 && hmac.Equal(v.Secret, registered)
}

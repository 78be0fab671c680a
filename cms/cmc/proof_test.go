package cmc

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"chancery/cms"
)

// fails asks for an *Error of this reason.
func fails(t *testing.T, what string, err error, want FailInfo) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Fail != want {
		t.Errorf("%s: %v, wanted %v", what, err, want)
	}
}

func TestIdentityProof(t *testing.T) {
	id := Identity{Secret("a secret of 16 c"), "device 7"}
	requests := []byte{0x30, 2, 5, 0}
	for _, h := range []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512} {
		v, err := ProveIdentity(id, h, requests)
		if err != nil {
			t.Fatal(err)
		}
		if err := v.Verify(id, requests, Options{}); err != nil {
			t.Errorf("%v: %v", h, err)
		}
		fails(t, "another secret", v.Verify(Identity{Secret("another"), "device 7"}, requests, Options{}), BadIdentity)
		fails(t, "another name", v.Verify(Identity{id.Secret, "device 8"}, requests, Options{}), BadIdentity)
		fails(t, "other requests", v.Verify(id, []byte{0x30, 0}, Options{}), BadIdentity)
	}
	// By the letter of RFC 5272 §6.2.1 and §6.2.3.
	v, _ := ProveIdentity(id, crypto.SHA256, requests)
	key := sha256.Sum256([]byte("a secret of 16 cdevice 7"))
	mac := hmac.New(sha256.New, key[:])
	mac.Write(requests)
	if !hmac.Equal(mac.Sum(nil), v.Witness) {
		t.Error("the witness is not what the RFC has")
	}
	none, _ := ProveIdentity(Identity{}, crypto.SHA256, requests)
	fails(t, "no secret", none.Verify(Identity{}, requests, Options{}), BadIdentity)
	v.MAC.OID = anOID
	fails(t, "unknown MAC", v.Verify(id, requests, Options{}), BadAlg)
	v.MAC, v.Hash.Parameters = hmacAlgorithm, []byte{2, 1, 1}
	fails(t, "odd parameters", v.Verify(id, requests, Options{}), BadAlg)
}

// SHA-1 counts only where it is said to (RFC 5274 §4.1's MUST is a departure).
func TestSHA1IsASwitch(t *testing.T) {
	id, requests, on := Identity{Secret("secret"), ""}, []byte{0x30, 0}, Options{SHA1: true}
	v1, err := ProveIdentityV1(id, requests)
	if err != nil {
		t.Fatal(err)
	}
	if err := v1.Verify(id, requests, on); err != nil {
		t.Error(err)
	}
	fails(t, "identityProof", v1.Verify(id, requests, Options{}), BadAlg)
	fails(t, "identityProof of another", v1.Verify(Identity{Secret: Secret("x")}, requests, on), BadIdentity)
	v2, _ := ProveIdentity(id, crypto.SHA1, requests)
	fails(t, "identityProofV2", v2.Verify(id, requests, Options{}), BadAlg)
	v2.MAC.OID = oidHMACSHA1
	if err := v2.Verify(id, requests, on); err != nil {
		t.Errorf("HMAC by its other name: %v", err)
	}
	random := NewPOPLinkRandom()
	w1, _ := LinkV1(id.Secret, random)
	if err := w1.Verify(id.Secret, random, on); err != nil {
		t.Error(err)
	}
	fails(t, "popLinkWitness", w1.Verify(id.Secret, random, Options{}), BadAlg)
}

func TestPOPLink(t *testing.T) {
	secret, random := Secret("secret"), NewPOPLinkRandom()
	if len(random) < 64 {
		t.Errorf("%d octets", len(random))
	}
	w, err := Link(secret, random, crypto.SHA256)
	if err != nil || w.Verify(secret, random, Options{}) != nil {
		t.Fatalf("%v, %v", err, w.Verify(secret, random, Options{}))
	}
	fails(t, "another secret", w.Verify(Secret("other"), random, Options{}), POPFailed)
	fails(t, "another value", w.Verify(secret, NewPOPLinkRandom(), Options{}), POPFailed)
	fails(t, "no secret", w.Verify(nil, random, Options{}), POPFailed)
	derived := must(PBKDF2([]byte("salt"), 1000))
	w, err = LinkWith(derived, secret, random)
	if err != nil || w.Verify(secret, random, Options{}) != nil {
		t.Errorf("PBKDF2: %v, %v", err, w.Verify(secret, random, Options{}))
	}
	fails(t, "PBKDF2 with another secret", w.Verify(Secret("other"), random, Options{}), POPFailed)
	w.KeyGen = must(PBKDF2([]byte("salt"), maxIterations+1))
	fails(t, "too costly", w.Verify(secret, random, Options{}), BadAlg)
	w.KeyGen.Parameters = null
	fails(t, "no parameters", w.Verify(secret, random, Options{}), BadAlg)
}

// RFC 6070 has no vectors for SHA-256; this one is of RFC 7914 §11.
func TestPBKDF2Vector(t *testing.T) {
	a := must(PBKDF2([]byte("salt"), 1))
	key, err := Options{}.key(a, Secret("passwd"))
	if got := hex.EncodeToString(key); err != nil || got != "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc" {
		t.Errorf("%s, %v", got, err)
	}
}

// The witness is found in either form of request, and each request must have it.
func TestLinkInRequests(t *testing.T) {
	secret, random := Secret("secret"), NewPOPLinkRandom()
	w := must(Link(secret, random, crypto.SHA256))
	crmf := &CertReqMsg{Request: CertRequest{ID: 2, Template: CertTemplate{Subject: aName, PublicKey: aKeyInfo}, Controls: []AttributeTypeAndValue{must(CRMFControl(w))}}}
	pkcs10 := aPKCS10(t, must(Attribute(w)))
	for _, q := range []Request{{ID: 2, CRMF: crmf}, {ID: 2, PKCS10: pkcs10}} {
		if err := q.VerifyLink(secret, random, Options{}); err != nil {
			t.Error(err)
		}
		fails(t, "other secret", q.VerifyLink(Secret("other"), random, Options{}), POPFailed)
	}
	fails(t, "none", Request{ID: 2, PKCS10: aPKCS10(t)}.VerifyLink(secret, random, Options{}), POPFailed)
	fails(t, "an orm", Request{ID: 2, Other: &OtherRequest{}}.VerifyLink(secret, random, Options{}), POPFailed)
	old := must(LinkV1(secret, random))
	both := Request{ID: 2, PKCS10: aPKCS10(t, must(Attribute(old)), must(Attribute(w)))}
	if err := both.VerifyLink(secret, random, Options{}); err != nil {
		t.Errorf("one that holds is enough: %v", err)
	}
	broken := cms.Attribute{Type: OIDPOPLinkWitnessV2, Values: [][]byte{null}}
	fails(t, "broken", Request{ID: 2, PKCS10: aPKCS10(t, broken)}.VerifyLink(secret, random, Options{}), BadRequest)
}

// info is a CertificationRequestInfo.
func info(attributes ...cms.Attribute) []byte {
	return must(build(func(b builder) {
		b.sequence(func(b builder) {
			b.AddASN1Int64(0)
			b.name(aName, "subject")
			b.element(aKeyInfo, "key")
			b.in(constructed(0), func(b builder) {
				for _, a := range attributes {
					b.sequence(func(b builder) {
						b.AddASN1ObjectIdentifier(a.Type)
						b.in(0x31, func(b builder) { b.element(a.Values[0], "value") })
					})
				}
			})
		})
	}))
}

func aPKCS10(t *testing.T, attributes ...cms.Attribute) []byte {
	t.Helper()
	der, err := Unsigned(info(attributes...), crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestNoSignature(t *testing.T) {
	for _, h := range []crypto.Hash{crypto.SHA256, crypto.SHA512, crypto.SHA1} {
		q := Request{ID: 5, PKCS10: must(Unsigned(info(), h))}
		if none, err := q.NoSignature(Options{SHA1: true}); !none || err != nil {
			t.Errorf("%v: %t, %v", h, none, err)
		}
		if h == crypto.SHA1 {
			_, err := q.NoSignature(Options{})
			fails(t, "SHA-1", err, BadAlg)
		}
		q.PKCS10[len(q.PKCS10)-1] ^= 1
		_, err := q.NoSignature(Options{SHA1: true})
		fails(t, "another hash", err, BadMessageCheck)
	}
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	signed := must(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: "x"}, DNSNames: []string{"x.example"}}, key))
	q := Request{ID: 5, PKCS10: signed}
	if none, err := q.NoSignature(Options{}); none || err != nil {
		t.Errorf("signed: %t, %v", none, err)
	}
	if list, err := q.Extensions(); err != nil || len(list) != 1 || list[0].Id.String() != "2.5.29.17" {
		t.Errorf("%v, %v", list, err)
	}
	if name, err := q.Subject(); err != nil || string(name) != string(must(asn1.Marshal(pkix.Name{CommonName: "x"}.ToRDNSequence()))) {
		t.Errorf("%x, %v", name, err)
	}
	if spki, err := q.PublicKey(); err != nil || string(spki) != string(must(x509.MarshalPKIXPublicKey(key.Public()))) {
		t.Errorf("%x, %v", spki, err)
	}
	crmf := &CertReqMsg{Request: CertRequest{ID: 5}, POP: &POP{Signature: &POPSignature{Algorithm: cms.Algorithm{OID: cms.OIDNoSignature, Parameters: null}}}}
	sum := sha256.Sum256(must(crmf.Request.Marshal()))
	crmf.POP.Signature.Signature = sum[:] // bare, as some do
	if how, err := crmf.Possession(Options{}); how != NoProof || err != nil {
		t.Errorf("CRMF: %s, %v", how, err)
	}
}

func TestPossession(t *testing.T) {
	rsaKey := must(rsa.GenerateKey(rand.Reader, 2048))
	_, edKey, _ := ed25519.GenerateKey(rand.Reader)
	for name, key := range map[string]crypto.Signer{"RSA": rsaKey, "Ed25519": edKey, "P-384": must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))} {
		m := &CertReqMsg{Request: CertRequest{ID: 3, Template: CertTemplate{Subject: aName}}}
		if err := m.Sign(key, 0); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		back := must(ParseCertReqMsg(must(m.Marshal())))
		if how, err := back.Possession(Options{}); how != Signed || err != nil {
			t.Errorf("%s: %s, %v", name, how, err)
		}
		if err := back.Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		back.Request.Template.Subject = otherName
		_, err := back.Possession(Options{})
		fails(t, name+" over another name", err, POPFailed)

		input := SigningKeyInput{Sender: aDirectory, PublicKey: m.Request.Template.PublicKey}
		if err := m.SignInput(key, 0, input); err != nil {
			t.Fatal(err)
		}
		back = must(ParseCertReqMsg(must(m.Marshal())))
		if how, err := back.Possession(Options{}); how != Signed || err != nil {
			t.Errorf("%s by input: %s, %v", name, how, err)
		}
		fails(t, "input in CMC", back.Check(), BadRequest)
		back.Request.Template.PublicKey = aKeyInfo
		_, err = back.Possession(Options{})
		fails(t, name+" of another key", err, POPFailed)
	}
	m := &CertReqMsg{Request: CertRequest{ID: 3, Template: CertTemplate{Subject: aName, PublicKey: must(x509.MarshalPKIXPublicKey(rsaKey.Public()))}}}
	signed := must(m.Request.Marshal())
	sum := sha256.Sum256(signed)
	m.POP = &POP{Signature: &POPSignature{
		Algorithm: cms.Algorithm{OID: oidPSS, Parameters: must(pssParameters(crypto.SHA256))},
		Signature: must(rsa.SignPSS(rand.Reader, rsaKey, crypto.SHA256, sum[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})),
	}}
	if how, err := m.Possession(Options{}); how != Signed || err != nil {
		t.Errorf("PSS: %s, %v", how, err)
	}
	f, _ := functionOf(crypto.SHA1)
	m.POP.Signature = &POPSignature{Algorithm: cms.Algorithm{OID: schemes[3].oid, Parameters: null}, Signature: must(rsa.SignPKCS1v15(rand.Reader, rsaKey, crypto.SHA1, f.sum(signed)))}
	_, err := m.Possession(Options{})
	fails(t, "SHA-1", err, BadAlg)
	if how, err := m.Possession(Options{SHA1: true}); how != Signed || err != nil {
		t.Errorf("SHA-1: %s, %v", how, err)
	}
	for want, pop := range map[Possession]*POP{
		NoProof: nil, RAVerified: {RAVerified: true}, Unread: {KeyAgreement: &POPPrivKey{AgreeMAC: &MACValue{}}},
		Challenge: {KeyAgreement: &POPPrivKey{Subsequent: ptr(ChallengeResponse)}},
	} {
		m.POP = pop
		if how, err := m.Possession(Options{}); how != want || err != nil {
			t.Errorf("%s: %s, %v", want, how, err)
		}
	}
}

func TestCRMFInCMC(t *testing.T) {
	good := func() *CertReqMsg {
		return &CertReqMsg{Request: CertRequest{ID: 3, Template: CertTemplate{Subject: []byte{0x30, 0}, PublicKey: aKeyInfo}}}
	}
	if err := good().Check(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*CertReqMsg){
		"no subject":   func(m *CertReqMsg) { m.Request.Template.Subject = nil },
		"no key":       func(m *CertReqMsg) { m.Request.Template.PublicKey = nil },
		"regInfo":      func(m *CertReqMsg) { m.RegInfo = []AttributeTypeAndValue{{anOID, null}} },
		"version":      func(m *CertReqMsg) { m.Request.Template.Version = ptr(1) },
		"serial":       func(m *CertReqMsg) { m.Request.Template.SerialNumber = big.NewInt(1) },
		"certificate":  func(m *CertReqMsg) { m.POP = &POP{KeyEncipherment: &POPPrivKey{Subsequent: ptr(EncryptedCertificate)}} },
		"regToken":     func(m *CertReqMsg) { m.Request.Controls = []AttributeTypeAndValue{{OIDRegToken, null}} },
		"authentictor": func(m *CertReqMsg) { m.Request.Controls = []AttributeTypeAndValue{{OIDAuthenticator, null}} },
	} {
		m := good()
		change(m)
		fails(t, name, m.Check(), BadRequest)
	}
}

func TestPasswordMAC(t *testing.T) {
	v, err := PasswordMAC(Secret("password"), []byte("data"))
	if err != nil || v.Verify(Secret("password"), []byte("data"), Options{}) != nil {
		t.Fatalf("%v, %v", err, v.Verify(Secret("password"), []byte("data"), Options{}))
	}
	fails(t, "another password", v.Verify(Secret("passwort"), []byte("data"), Options{}), POPFailed)
	fails(t, "other data", v.Verify(Secret("password"), []byte("date"), Options{}), POPFailed)
	fails(t, "another kind", MACValue{Algorithm: hmacAlgorithm}.Verify(Secret("p"), nil, Options{}), BadAlg)
	v.Algorithm.Parameters = null
	fails(t, "no parameters", v.Verify(Secret("password"), []byte("data"), Options{}), BadAlg)
}

func TestChallenge(t *testing.T) {
	rsaKey := must(rsa.GenerateKey(rand.Reader, 2048))
	ecKey := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	xKey := must(ecdh.X25519().GenerateKey(rand.Reader))
	for name, key := range map[string]crypto.PrivateKey{"RSA": rsaKey, "P-256": ecKey, "X25519": xKey} {
		public := key.(interface{ Public() crypto.PublicKey }).Public()
		for _, keyID := range [][]byte{nil, []byte("the key")} {
			m := &CertReqMsg{
				Request: CertRequest{ID: 77, Template: CertTemplate{Subject: aName, PublicKey: must(x509.MarshalPKIXPublicKey(public))}},
				POP:     &POP{KeyEncipherment: &POPPrivKey{Subsequent: ptr(ChallengeResponse)}},
			}
			q := Request{ID: 77, CRMF: m}
			c, proof, err := NewChallenge(Challenged{Request: q, KeyID: keyID})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			e := must(cms.ParseEnveloped(c.CMS))
			if to := e.Recipients[0]; keyID == nil && (string(to.Issuer) != "\x30\x00" || to.Serial.Int64() != 77) || keyID != nil && string(to.KeyID) != "the key" {
				t.Errorf("%s: encrypted to %+v", name, to)
			}
			control := must(NewControl(1, c))
			c = must(control.Decode()).(EncryptedPOP)
			opened, err := c.Open(key, Options{})
			if err != nil || string(opened) != string(proof) {
				t.Fatalf("%s: %x, %v", name, opened, err)
			}
			answer, err := c.Answer(opened, c.Request, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if err := answer.Verify(proof, q, Options{}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			fails(t, "another value", answer.Verify([]byte("another"), q, Options{}), POPFailed)
			fails(t, "no value", answer.Verify(nil, q, Options{}), POPFailed)
			fails(t, "another request", answer.Verify(proof, Request{ID: 77, PKCS10: aName}, Options{}), POPFailed)
			fails(t, "another id", answer.Verify(proof, Request{ID: 78, PKCS10: aName}, Options{}), POPFailed)
			c.Witness[0] ^= 1
			_, err = c.Open(key, Options{})
			fails(t, "another witness", err, POPFailed)
		}
	}
	c, _, err := NewChallenge(Challenged{Request: Request{ID: 7, PKCS10: aPKCS10(t)}})
	fails(t, "a key that cannot decrypt", err, BadAlg)
	_ = c
	long := make([]byte, 100)
	if len(first64(long)) != 64 || len(first64(long[:5])) != 5 {
		t.Error("more than 64 octets key the HMAC")
	}
}

func TestPublishTrustAnchors(t *testing.T) {
	v, err := Publish(big.NewInt(4), []byte("one"), []byte("two"))
	if err != nil {
		t.Fatal(err)
	}
	found, missing, err := v.Anchors([][]byte{[]byte("three"), []byte("two")}, Options{})
	if err != nil || fmt.Sprintf("%s", found) != "[two]" || len(missing) != 1 || string(missing[0]) != string(functions[0].sum([]byte("one"))) {
		t.Errorf("%s, %x, %v", found, missing, err)
	}
	v.Hash.OID = functions[3].oid
	_, _, err = v.Anchors(nil, Options{})
	fails(t, "SHA-1", err, BadAlg)
}

func TestRevocationSecret(t *testing.T) {
	v := RevokeRequest{Secret: Secret("gone")}
	if !v.SecretIs(Secret("gone")) || v.SecretIs(Secret("other")) || (RevokeRequest{}).SecretIs(nil) {
		t.Error("secrets are compared wrongly")
	}
	if got := fmt.Sprintf("%v %+v %#v", v.Secret, v, v.Secret); got == "" || strings.Contains(got, "gone") {
		t.Error(got)
	}
}

package est

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"net/http"
	"strings"
	"testing"

	"chancery/cms"
)

// maker makes keys at a server.
type maker struct {
	*shop
	t       *testing.T
	cert    *x509.Certificate // who signs
	signer  crypto.Signer
	to      cms.Recipient // nil: plain
	seen    *Parsed
	key     crypto.Signer // that was made
	certify crypto.PublicKey
	plain   func(crypto.Signer) []byte
}

func newMaker(t *testing.T) *maker {
	m := &maker{shop: open(t, nil), t: t}
	key := testKey(t)
	m.cert, m.signer = certify(t, m.ca, x509.Certificate{Subject: pkix.Name{CommonName: "Key maker"}, KeyUsage: x509.KeyUsageDigitalSignature}, key), key
	m.plain = func(key crypto.Signer) []byte {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Error(err)
		}
		return der
	}
	m.handler[ServerKeyGen] = m.serve
	return m
}

func (m *maker) serve(w http.ResponseWriter, r *http.Request) {
	p, err := requested(r)
	if err != nil {
		m.t.Error(err)
		return
	}
	m.seen, m.key = p, testKey(m.t)
	asked := *p
	asked.PublicKey = m.key.Public()
	if m.certify != nil {
		asked.PublicKey = m.certify
	}
	part := Part{Media: Media{Type: PKCS8}, Body: m.plain(m.key)}
	if m.to != nil {
		part = Part{Media: Media{Type: PKCS7Mime, SMIMEType: ServerGeneratedKey}, Body: m.enveloped()}
	}
	kind, body := Multipart(part, Part{Media: Media{Type: PKCS7Mime, SMIMEType: CertsOnly}, Body: wireBag(m.certified(&asked))})
	w.Header().Set("Content-Type", kind)
	_, _ = w.Write(body)
}

// enveloped is a key in a package, signed, and encrypted to the recipient.
func (m *maker) enveloped() []byte {
	pack, err := cms.MarshalKeyPackage(m.plain(m.key))
	if err != nil {
		m.t.Error(err)
	}
	signed, err := cms.Sign(cms.SignedContent{Type: cms.OIDKeyPackage, Content: pack, Certificates: [][]byte{m.cert.Raw}}, cms.Signing{Key: m.signer, Certificate: m.cert})
	if err != nil {
		m.t.Error(err)
	}
	info, err := cms.ParseContentInfo(signed)
	if err != nil {
		m.t.Error(err)
	}
	der, err := cms.Encrypt(cms.Plain{Type: cms.OIDSignedData, Content: info.Content}, m.to)
	if err != nil {
		m.t.Error(err)
	}
	return der
}

func TestServerKeyGenPlain(t *testing.T) {
	m := newMaker(t)
	forms := map[string]func(crypto.Signer) []byte{
		"PKCS#8": m.plain,
		"SEC 1": func(key crypto.Signer) []byte {
			der, _ := x509.MarshalECPrivateKey(key.(*ecdsa.PrivateKey))
			return der
		},
	}
	for name, form := range forms {
		m.plain = form
		got, err := m.client(t, nil).ServerKeyGen(t.Context(), KeyOrder{Enrolment: device(t)})
		if err != nil || !sameKey(got.Key.Public(), m.key.Public()) || got.Encrypted || got.Certificate == nil || !got.Linked {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	m.plain = forms["PKCS#8"]
	m.certify = testKey(t).Public()
	if got, err := m.client(t, nil).ServerKeyGen(t.Context(), KeyOrder{Enrolment: device(t)}); err == nil {
		t.Errorf("a key that is not the certificate's is taken: %+v", got)
	}
	m.certify = nil
	m.plain = func(crypto.Signer) []byte { return []byte{0x30, 3, 2, 1, 0} }
	if got, err := m.client(t, nil).ServerKeyGen(t.Context(), KeyOrder{Enrolment: device(t)}); err == nil {
		t.Errorf("no key at all is taken: %+v", got)
	}
}

func TestServerKeyGenEncrypted(t *testing.T) {
	m := newMaker(t)
	rsaKey := identityKey
	ecKey, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaCert := certify(t, m.ca, x509.Certificate{SubjectKeyId: []byte{7, 7}, KeyUsage: x509.KeyUsageKeyEncipherment}, rsaKey)
	ecCert := certify(t, m.ca, x509.Certificate{KeyUsage: x509.KeyUsageKeyAgreement}, ecKey) // without an identifier
	shared := &SharedKey{ID: []byte("kek-1"), Key: bytes.Repeat([]byte{5}, 32)}
	ecID, err := (&OwnKey{Certificate: ecCert}).id()
	if err != nil || len(ecID) != 20 {
		t.Fatalf("%x, %v", ecID, err)
	}
	for name, test := range map[string]struct {
		order KeyOrder
		to    cms.Recipient
	}{
		"a shared key":             {KeyOrder{Shared: shared}, cms.KeyEncryption{ID: shared.ID, Key: shared.Key}},
		"RSA, by identifier":       {KeyOrder{Own: &OwnKey{Certificate: rsaCert, Key: rsaKey}}, cms.KeyTransport{KeyID: []byte{7, 7}, Key: rsaKey.Public(), OAEP: crypto.SHA256}},
		"RSA v1.5, by issuer":      {KeyOrder{Own: &OwnKey{Certificate: rsaCert, Key: rsaKey}}, cms.KeyTransport{Certificate: rsaCert}},
		"a curve, by identifier":   {KeyOrder{Own: &OwnKey{Certificate: ecCert, Key: ecKey}}, cms.KeyAgreement{KeyID: ecID, Key: ecKey.Public()}},
		"a curve, by issuer":       {KeyOrder{Own: &OwnKey{Certificate: ecCert, Key: ecKey}}, cms.KeyAgreement{Certificate: ecCert}},
		"a curve without a certif": {KeyOrder{Own: &OwnKey{ID: []byte{9}, Key: ecKey}}, cms.KeyAgreement{KeyID: []byte{9}, Key: ecKey.Public()}},
	} {
		t.Run(name, func(t *testing.T) {
			m.to = test.to
			test.order.Enrolment = device(t)
			got, err := m.client(t, nil).ServerKeyGen(t.Context(), test.order)
			if err != nil || !got.Encrypted || !got.Maker.Equal(m.cert) || !sameKey(got.Key.Public(), m.key.Public()) {
				t.Fatalf("%+v, %v", got, err)
			}
			if caps, ok, err := m.seen.SMIMECapabilities(); err != nil || !ok || len(caps) == 0 {
				t.Errorf("the request names no capabilities: %v", err)
			}
			_, symmetric, _ := m.seen.DecryptKeyIdentifier()
			_, own, _ := m.seen.AsymmetricDecryptKeyIdentifier()
			if symmetric != (test.order.Shared != nil) || own != (test.order.Own != nil) {
				t.Errorf("the request names: %t, %t", symmetric, own)
			}
		})
	}
	order := KeyOrder{Enrolment: device(t), Shared: shared}
	kekri := cms.KeyEncryption{ID: shared.ID, Key: shared.Key}
	stranger := newIssuer(t, "Stranger", nil)
	sealing := testKey(t)
	for name, bend := range map[string]func(){
		"a key that came plain": func() { m.to = nil },
		"a maker of another CA": func() { m.cert = certify(t, stranger, x509.Certificate{}, m.signer) },
		"a maker who may not sign": func() {
			m.signer = sealing
			m.cert = certify(t, m.ca, x509.Certificate{KeyUsage: x509.KeyUsageKeyAgreement}, sealing)
		},
		"another's signature":              func() { m.signer = testKey(t) },
		"one encrypted to another":         func() { m.to = cms.KeyEncryption{ID: []byte("kek-2"), Key: shared.Key} },
		"one encrypted with another's key": func() { m.to = cms.KeyEncryption{ID: shared.ID, Key: bytes.Repeat([]byte{6}, 32)} },
		"a certificate of another key":     func() { m.certify = testKey(t).Public() },
	} {
		t.Run(name, func(t *testing.T) {
			key := testKey(t)
			m.to, m.certify = kekri, nil
			m.cert, m.signer = certify(t, m.ca, x509.Certificate{}, key), key
			bend()
			got, err := m.client(t, nil).ServerKeyGen(t.Context(), order)
			if err == nil {
				t.Errorf("taken: %+v", got)
			}
			if err != nil && strings.Contains(err.Error(), "PRIVATE") {
				t.Errorf("%v", err)
			}
		})
	}
	if _, err := m.client(t, nil).ServerKeyGen(t.Context(), KeyOrder{Enrolment: device(t), Shared: shared, Own: &OwnKey{}}); err == nil {
		t.Error("two keys to encrypt to")
	}
}

func TestMayDecrypt(t *testing.T) {
	ca := newIssuer(t, "x", nil)
	for _, test := range []struct {
		use  x509.KeyUsage
		key  crypto.Signer
		want bool
	}{
		{0, testKey(t), true}, {x509.KeyUsageKeyAgreement, testKey(t), true}, {x509.KeyUsageDigitalSignature, testKey(t), false},
		{x509.KeyUsageKeyEncipherment, testKey(t), false}, {x509.KeyUsageKeyEncipherment, identityKey, true}, {x509.KeyUsageDigitalSignature, identityKey, false},
	} {
		if got := MayDecrypt(certify(t, ca, x509.Certificate{KeyUsage: test.use}, test.key)); got != test.want {
			t.Errorf("%v of %T: %t", test.use, test.key, got)
		}
	}
}

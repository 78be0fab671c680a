package est

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"slices"
	"testing"

	"chancery/cms"
	"chancery/cms/cmc"
)

var (
	clientOnly = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	webOnly    = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
)

// Who may sign answers by CMC, and who published trust anchors (RFC 6402 §2.10): devices
// of the same CA may not.
func TestWhoMaySignForCMC(t *testing.T) {
	o := newDesk(t)
	publishing := false
	o.reply = func(p *cmc.PKIResponse) {
		if !publishing {
			return
		}
		v, err := cmc.Publish(big.NewInt(9), o.ca.Cert.Raw)
		if err == nil {
			err = p.Add(v)
		}
		if err != nil {
			t.Error(err)
		}
	}
	o.others = []*x509.Certificate{o.ca.Cert}
	own := identity(t, o.ca, x509.Certificate{Subject: pkix.Name{CommonName: "this device"}})
	front := o.TLS.Certificates[0].PrivateKey.(crypto.Signer)
	for name, test := range map[string]struct {
		cert             x509.Certificate
		key              crypto.Signer // nil: a new one
		itself           *x509.Certificate
		answer, publicat bool
	}{
		"the authority":            {itself: o.ca.Cert, key: o.ca.Key, answer: true, publicat: true},
		"an RA":                    {cert: x509.Certificate{UnknownExtKeyUsage: cmcRA}, answer: true, publicat: true},
		"a CMC server":             {cert: x509.Certificate{UnknownExtKeyUsage: append(slices.Clone(cmcRA[:0]), oidCMCCA), ExtKeyUsage: clientOnly}, answer: true, publicat: true},
		"one without purposes":     {answer: true},
		"the server's own key":     {key: front, answer: true, publicat: true},
		"a device, by its purpose": {cert: x509.Certificate{ExtKeyUsage: clientOnly}},
		"the web's":                {cert: x509.Certificate{ExtKeyUsage: webOnly}, key: front},
		"one who may not sign":     {cert: x509.Certificate{KeyUsage: x509.KeyUsageKeyAgreement}},
		"this device":              {itself: own.Certificate, key: own.Key},
		"this device as an RA":     {cert: x509.Certificate{UnknownExtKeyUsage: cmcRA}, key: own.Key},
	} {
		o.key, o.cert = test.key, test.itself
		if o.key == nil {
			o.key = testKey(t)
		}
		if o.cert == nil {
			o.cert = certify(t, o.ca, test.cert, o.key)
		}
		c := o.client(t, func(c *ClientConfig) { c.Identities = []ClientIdentity{own} })
		publishing = false
		if a, err := c.FullCMC(t.Context(), Full{Enrolment: device(t)}); (err == nil) != test.answer {
			t.Errorf("%s: an answer: %+v, %v", name, a, err)
		}
		publishing = true
		if a, err := c.FullCMC(t.Context(), Full{Anchors: true}); (err == nil) != test.publicat || err == nil && a.Publication == nil {
			t.Errorf("%s: anchors: %+v, %v", name, a, err)
		}
	}
	// The key that is to be certified, and who signed the request, are the device's, too.
	e := device(t)
	o.key, o.cert, publishing = e.Key, certify(t, o.ca, x509.Certificate{}, e.Key), false
	if _, err := o.client(t, nil).FullCMC(t.Context(), Full{Enrolment: e}); !errors.Is(err, errOwnSignature) {
		t.Errorf("by the new key: %v", err)
	}
	o.key, o.cert = own.Key, own.Certificate
	if _, err := o.client(t, nil).FullCMC(t.Context(), Full{Enrolment: device(t), Signer: &own}); !errors.Is(err, errOwnSignature) {
		t.Errorf("by the signer: %v", err)
	}
}

// An answer without what the request had to be repeated is not to this request, however
// good its signature is (RFC 5272 §6.6).
func TestAnswersRepeatWhatTheRequestSaid(t *testing.T) {
	o := newDesk(t)
	for name, which := range map[string]int{"no transactionId": 1, "no recipientNonce": 2} {
		o.reply = func(p *cmc.PKIResponse) { p.Controls = slices.Delete(p.Controls, which, which+1) }
		for what, status := range map[string]int{"200": 200, "403": 403} {
			o.status = status
			a, err := o.client(t, nil).FullCMC(t.Context(), Full{Enrolment: device(t)})
			if _, believed := errors.AsType[*FullError](err); err == nil || believed {
				t.Errorf("%s, %s: %+v, %v", name, what, a, err)
			}
		}
	}
	o.reply, o.status = nil, 200
	if _, err := o.client(t, nil).FullCMC(t.Context(), Full{Enrolment: device(t)}); err != nil {
		t.Error(err)
	}
}

// Who may have made a key at the server (RFC 7030 §4.4.2): not somebody whose certificate
// is for TLS alone, unless that is what the server shows; and not the device.
func TestWhoMayMakeKeys(t *testing.T) {
	m := newMaker(t)
	shared := &SharedKey{ID: []byte("kek-1"), Key: bytes.Repeat([]byte{5}, 32)}
	m.to = cms.KeyEncryption{ID: shared.ID, Key: shared.Key}
	own := identity(t, m.ca, x509.Certificate{Subject: pkix.Name{CommonName: "this device"}})
	before := identity(t, m.ca, x509.Certificate{Subject: pkix.Name{CommonName: "device1.example"}})
	front := m.TLS.Certificates[0].PrivateKey.(crypto.Signer)
	both := append(slices.Clone(clientOnly), webOnly...)
	for name, test := range map[string]struct {
		cert x509.Certificate
		key  crypto.Signer
		good bool
	}{
		"one without purposes":           {good: true},
		"an RA":                          {cert: x509.Certificate{UnknownExtKeyUsage: cmcRA, ExtKeyUsage: webOnly}, good: true},
		"the server":                     {cert: x509.Certificate{ExtKeyUsage: webOnly}, key: front, good: true},
		"a device":                       {cert: x509.Certificate{ExtKeyUsage: clientOnly}},
		"another server":                 {cert: x509.Certificate{ExtKeyUsage: webOnly}},
		"another of both":                {cert: x509.Certificate{ExtKeyUsage: both}},
		"this device":                    {key: own.Key},
		"the one that is to be replaced": {key: before.Key},
	} {
		m.signer = test.key
		if m.signer == nil {
			m.signer = testKey(t)
		}
		m.cert = certify(t, m.ca, test.cert, m.signer)
		c := m.client(t, func(c *ClientConfig) { c.Identities = []ClientIdentity{own} })
		order := KeyOrder{Enrolment: device(t), Shared: shared}
		order.Renews, order.AcceptChanged = before.Certificate, true
		if got, err := c.ServerKeyGen(t.Context(), order); (err == nil) != test.good {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if (Server{Verified: ByImplicit, Certificate: m.cert, Version: tls.VersionTLS13}).shows(m.cert) {
		t.Error("a server under Implicit anchors speaks for the CA")
	}
}

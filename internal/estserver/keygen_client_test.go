package estserver_test

import (
	"context"
	"crypto"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"net/http"
	"testing"

	"chancery/est"
	"chancery/internal/ca"
	"chancery/internal/estserver"
)

// own gives our client, as the device.
func (w *keyWorld) own() *est.Client {
	w.t.Helper()
	c, err := est.NewClient(est.ClientConfig{
		Server: "example.com", Trust: est.Trust{Explicit: []*x509.Certificate{w.front.Certificate(), w.authority.Issuers().Roots()[0]}},
		Identities: []est.ClientIdentity{{Certificate: w.device.cert, Key: w.device.key}},
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, w.front.Listener.Addr().String())
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// TestOwnClient: our client asks for csrattrs, obeys them, binds its request to the
// connection, and takes the key in each of its forms.
func TestOwnClient(t *testing.T) {
	w := newKeyWorld(t, nil, keyLabel(func(l *estserver.Label) { l.RequireLinking = true }))
	kek := make([]byte, 32)
	rand.Read(kek)
	w.register(estserver.Symmetric, []byte("shelf"), kek)
	pump := newRSA(t, 2048)
	agree, err := ecdh.P384().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for id, key := range map[string]crypto.PublicKey{"pump": pump.Public(), "valve": agree.PublicKey()} {
		spki, err := x509.MarshalPKIXPublicKey(key)
		if err != nil {
			t.Fatal(err)
		}
		w.register(estserver.Asymmetric, []byte(id), spki)
	}
	for name, k := range map[string]est.KeyOrder{
		"plain":      {},
		"symmetric":  {Shared: &est.SharedKey{ID: []byte("shelf"), Key: kek}},
		"asymmetric": {Own: &est.OwnKey{ID: []byte("pump"), Key: pump}},
		"agreement":  {Own: &est.OwnKey{ID: []byte("valve"), Key: agree}},
	} {
		t.Run(name, func(t *testing.T) {
			c := w.own()
			list, err := c.Attributes(t.Context(), w.device.cert)
			if err != nil {
				t.Fatal(err)
			}
			wanted, err := est.Want(list)
			if err != nil {
				t.Fatal(err)
			}
			k.Wanted = &wanted
			k.Renews = w.device.cert
			made, err := c.ServerKeyGen(t.Context(), k)
			if err != nil {
				t.Fatal(err)
			}
			if made.Encrypted != (name != "plain") || !made.Linked {
				t.Errorf("encrypted: %v, linked: %v", made.Encrypted, made.Linked)
			}
			if made.Encrypted && made.Maker.Subject.CommonName != "key generation" {
				t.Errorf("it was made by %s", made.Maker.Subject)
			}
		})
	}
}

// TestServerKeyGenChangesNames: ChangeSubjectName holds for made keys as for one's own (RFC
// 7030 §4.4.1: the request is otherwise as for enrolment; RFC 6402 §2.8).
func TestServerKeyGenChangesNames(t *testing.T) {
	off := keyLabel(nil)
	off.Name = "off"
	w := newKeyWorld(t, nil, off, keyLabel(func(l *estserver.Label) {
		l.ChangeSubject, l.Names = true, []string{"own", "*.new.example", "CN=new-*"}
	}))
	change := func(c est.NameChange) []byte {
		a, err := c.Attribute()
		if err != nil {
			t.Fatal(err)
		}
		return like(w.device).with(a).der(t)
	}
	next := change(est.NameChange{Subject: rawName(t, pkix.Name{CommonName: "new-1"}), SAN: rawSAN(t, "a.new.example")})
	c := w.client(w.device)
	m := plain(t, c.post("serverkeygen", next))
	if m.cert.Subject.CommonName != "new-1" || len(m.cert.DNSNames) != 1 || m.cert.DNSNames[0] != "a.new.example" {
		t.Errorf("%v %v", m.cert.Subject, m.cert.DNSNames)
	}
	if was := w.intended(m.cert)["changed_from"]; was == "" {
		t.Error("the event does not say that the name changed")
	}
	refused(t, c.post("serverkeygen", change(est.NameChange{SAN: rawSAN(t, "a.elsewhere.example")})), http.StatusForbidden, "a.elsewhere.example")
	refused(t, c.post("off/serverkeygen", next), http.StatusForbidden, "ChangeSubjectName")
	refused(t, w.client(w.certify("device", ca.Subject{CommonName: "another"})).post("serverkeygen", next), http.StatusForbidden, "RFC 6402")
}

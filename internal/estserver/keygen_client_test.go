package estserver_test

import (
	"context"
	"crypto"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/x509"
	"net"
	"testing"

	"chancery/est"
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

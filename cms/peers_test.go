package cms_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"chancery/cms"
	"chancery/internal/peertest"
)

// party is someone with a key and a certificate.
type party struct {
	name string
	key  crypto.PrivateKey
	cert *x509.Certificate
}

func (p party) signer() crypto.Signer { return p.key.(crypto.Signer) }

// parties are made once: RSA keys take their time.
var parties = sync.OnceValue(func() map[string]party {
	made := map[string]party{}
	root, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	serial := int64(1000)
	add := func(name string, key crypto.PrivateKey, err error) {
		if err != nil {
			panic(err)
		}
		serial++
		template := &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
			SubjectKeyId: []byte("key of " + name), BasicConstraintsValid: true, IsCA: name == "root",
		}
		issuer := template
		if name != "root" {
			issuer = made["root"].cert
		}
		public := key.(interface{ Public() crypto.PublicKey }).Public()
		der, err := x509.CreateCertificate(rand.Reader, template, issuer, public, root)
		if err != nil {
			panic(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			panic(err)
		}
		made[name] = party{name, key, cert}
	}
	add("root", root, nil)
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	add("rsa", r, err)
	for name, curve := range map[string]elliptic.Curve{"p256": elliptic.P256(), "p384": elliptic.P384(), "p521": elliptic.P521()} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		add(name, key, err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	add("ed25519", ed, err)
	return made
})

func who(t testing.TB, name string) party {
	t.Helper()
	p, ok := parties()[name]
	if !ok {
		t.Fatalf("nobody is called %s", name)
	}
	return p
}

// desk is a directory with everybody's keys and certificates as openssl reads them.
type desk struct {
	t       *testing.T
	openssl string
	dir     string
}

func newDesk(t *testing.T) desk {
	t.Helper()
	d := desk{t, peertest.Need(t, "openssl"), t.TempDir()}
	for name, p := range parties() {
		key, err := x509.MarshalPKCS8PrivateKey(p.key)
		if err != nil {
			t.Fatal(err)
		}
		d.put(name+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
		d.put(name+".pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.cert.Raw}))
	}
	return d
}

func (d desk) put(name string, content []byte) {
	d.t.Helper()
	if err := os.WriteFile(filepath.Join(d.dir, name), content, 0o600); err != nil {
		d.t.Fatal(err)
	}
}

// run gives openssl's standard output.
func (d desk) run(args ...string) []byte {
	d.t.Helper()
	cmd := exec.Command(d.openssl, args...)
	cmd.Dir = d.dir
	var out, words bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &words
	if err := cmd.Run(); err != nil {
		d.t.Fatalf("openssl %q: %v\n%s", args, err, words.String())
	}
	return out.Bytes()
}

// isKind fails the test unless the error is of that kind.
func isKind(t *testing.T, err error, kind cms.Kind) {
	t.Helper()
	if !errors.Is(err, &cms.Error{Kind: kind}) {
		t.Errorf("the error is %v, not of kind %q", err, kind)
	}
}

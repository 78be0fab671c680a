package estserver_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"chancery/cms"
	"chancery/est"
	"chancery/internal/ca"
	"chancery/internal/estserver"
	"chancery/internal/peertest"
	"chancery/internal/sqldb"
)

// seals encrypts in truth, as storetest's do not.
type seals struct{ cipher.AEAD }

func newSeals(t testing.TB) seals {
	t.Helper()
	key := make([]byte, 32)
	rand.Read(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		t.Fatal(err)
	}
	return seals{gcm}
}

func (s seals) Seal(plain, associated []byte) []byte { return s.AEAD.Seal(nil, nil, plain, associated) }

func (s seals) Open(sealed, associated []byte) ([]byte, error) {
	return s.AEAD.Open(nil, nil, sealed, associated)
}

// maker lets a label make keys; edit may change it.
func keyLabel(edit func(*estserver.Label)) estserver.Label {
	l := plainLabel()
	l.Operations = append([]est.Operation{est.ServerKeyGen, est.CSRAttributes}, allOperations...)
	if edit != nil {
		edit(&l)
	}
	return l
}

// keyWorld is a world that makes keys, and a device with a certificate of it.
type keyWorld struct {
	*world
	device *holder
}

// newKeyWorld has edit change the configuration after the authority is there.
func newKeyWorld(t *testing.T, edit func(*estserver.Config), labels ...estserver.Label) *keyWorld {
	t.Helper()
	w := &keyWorld{}
	w.world = newWorld(t, func(c *estserver.Config) {
		c.Seals = newSeals(t)
		c.Delegate = delegates(c.Authority)
		if edit != nil {
			edit(c)
		}
	}, labels...)
	w.device = w.certify("device", ca.Subject{CommonName: "thing 7", SerialNumber: "7"}, "thing-7.iot.example")
	return w
}

// delegates certifies a key of this service's own, as the daemon does.
func delegates(a *ca.Authority) func(context.Context, string) (estserver.Delegate, error) {
	return func(ctx context.Context, profile string) (estserver.Delegate, error) {
		key, err := ecdsa.GenerateKey(p256(), rand.Reader)
		if err != nil {
			return estserver.Delegate{}, err
		}
		r, err := a.Issue(ctx, ca.Request{ID: "test:" + ca.NewID(), By: ca.Principal{Room: "core", ID: "test"}, Key: key.Public(),
			Subject: ca.Subject{CommonName: "key generation"}, Profile: profile})
		if err != nil {
			return estserver.Delegate{}, err
		}
		cert, err := x509.ParseCertificate(r.DER)
		issuer := a.Issuers().Line(ca.DefaultLine, a.Clock()).Certificate()
		return estserver.Delegate{Key: key, Chain: []*x509.Certificate{cert, issuer}}, err
	}
}

// made is what came of a request for a key.
type made struct {
	key  crypto.Signer
	der  []byte // PKCS #8
	cert *x509.Certificate
}

// parts checks that an answer is the two parts of RFC 7030 §4.4.2, and gives them.
func parts(t testing.TB, r *reply) (key est.Part, cert *x509.Certificate) {
	t.Helper()
	if r.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", r.Status, r.words())
	}
	if kind := r.Header.Get("Content-Type"); !strings.HasPrefix(kind, "multipart/mixed; boundary=") || strings.Contains(kind, `"`) {
		t.Errorf("the answer's type is %s", kind)
	}
	if r.Header.Get("Content-Transfer-Encoding") != "" {
		t.Error("the whole has a Content-Transfer-Encoding, with which Bouncy Castle fails")
	}
	if r.Header.Get("Content-Length") == "" || len(r.TransferEncoding) > 0 {
		t.Error("the answer has no explicit length")
	}
	two, err := est.ParseMultipart(r.Header.Get("Content-Type"), r.body)
	if err != nil || len(two) != 2 {
		t.Fatalf("%d parts, %v:\n%s", len(two), err, r.body)
	}
	if got := two[1].Media.String(); got != "application/pkcs7-mime; smime-type=certs-only" {
		t.Errorf("the certificate's part is %s", got)
	}
	bag, err := cms.ParseBag(two[1].Body)
	if err != nil || len(bag.Certificates) != 1 {
		t.Fatalf("%d certificates, %v", len(bag.Certificates), err)
	}
	return two[0], parse(t, bag.Certificates[0])
}

// plain checks an answer whose key is not encrypted.
func plain(t testing.TB, r *reply) made {
	t.Helper()
	part, cert := parts(t, r)
	if got := part.Media.String(); got != "application/pkcs8" {
		t.Errorf("the key's part is %s", got)
	}
	return fits(t, part.Body, cert)
}

// fits checks that a key is PKCS #8 and that of a certificate, by our own eyes and by
// OpenSSL's.
func fits(t testing.TB, der []byte, cert *x509.Certificate) made {
	t.Helper()
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		t.Fatalf("the key is no PKCS #8: %v", err)
	}
	signer := key.(crypto.Signer)
	if !signer.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(cert.PublicKey) {
		t.Error("the key is not the certificate's")
	}
	f := newFiles(t)
	ofKey := f.openssl("pkey", "-inform", "DER", "-in", f.put(der), "-pubout")
	ofCert := f.openssl("x509", "-inform", "DER", "-in", f.put(cert.Raw), "-noout", "-pubkey")
	if !bytes.Equal(ofKey, ofCert) {
		t.Errorf("OpenSSL reads different keys:\n%s%s", ofKey, ofCert)
	}
	return made{key: signer, der: der, cert: cert}
}

// files are a directory for a foreign program.
type files struct {
	t   testing.TB
	dir string
}

func newFiles(t testing.TB) files {
	t.Helper()
	return files{t, t.TempDir()}
}

func (f files) put(content []byte) string {
	f.t.Helper()
	file, err := os.CreateTemp(f.dir, "")
	if err != nil {
		f.t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.Write(content); err != nil {
		f.t.Fatal(err)
	}
	return file.Name()
}

// openssl runs the program and gives its output.
func (f files) openssl(args ...string) []byte {
	f.t.Helper()
	cmd := exec.Command(peertest.Need(f.t, "openssl"), args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		f.t.Fatalf("openssl %s: %v\n%s", strings.Join(args, " "), err, errs.Bytes())
	}
	return out.Bytes()
}

// unlock has OpenSSL decrypt a key's part and verify what is within: signed under our
// root by a certificate that is enclosed.
func (w *keyWorld) unlock(part est.Part, args ...string) []byte {
	w.t.Helper()
	if got := part.Media.String(); got != "application/pkcs7-mime; smime-type=server-generated-key" {
		w.t.Errorf("the key's part is %s", got)
	}
	f := newFiles(w.t)
	sealed, opened := f.put(part.Body), filepath.Join(f.dir, "signed")
	f.openssl(append([]string{"cms", "-decrypt", "-inform", "DER", "-in", sealed, "-binary", "-out", opened}, args...)...)
	signed, err := os.ReadFile(opened)
	if err != nil {
		w.t.Fatal(err)
	}
	message := f.put(contentInfo(w.t, signed))
	if shown := f.openssl("cms", "-cmsout", "-print", "-noout", "-inform", "DER", "-in", message); !strings.Contains(string(shown), "2.16.840.1.101.2.1.2.78.5") {
		w.t.Errorf("the content is no key package:\n%s", shown)
	}
	roots := f.put(pemOf(w.authority.Issuers().Roots()[0].Raw))
	pack := f.openssl("cms", "-verify", "-inform", "DER", "-in", message, "-CAfile", roots, "-purpose", "any", "-binary")
	keys, err := cms.ParseKeyPackage(pack)
	if err != nil || len(keys) != 1 {
		w.t.Fatalf("%d keys in the package, %v", len(keys), err)
	}
	return keys[0]
}

// register stores a device key as its operation does.
func (w *keyWorld) register(kind estserver.KeyKind, id, content []byte) {
	w.t.Helper()
	k := estserver.DeviceKey{Kind: kind, ID: id, Public: content, Created: w.now()}
	if kind == estserver.Symmetric {
		sealed, err := w.server.SealDeviceKey(id, content)
		if err != nil {
			w.t.Fatal(err)
		}
		k.Sealed, k.Public = sealed, nil
	}
	if err := w.store.AddDeviceKey(context.Background(), k, ca.Principal{Room: "admin", ID: "test"}.Event(w.now(), "est.key.added", hex.EncodeToString(id))); err != nil {
		w.t.Fatal(err)
	}
}

// able gives SMIMECapabilities with what fits a key, or the ones named.
func able(t testing.TB, key any) cms.Attribute {
	t.Helper()
	list, err := cms.CapabilitiesOf(key)
	if err != nil {
		t.Fatal(err)
	}
	return ableTo(t, list...)
}

func ableTo(t testing.TB, list ...cms.Algorithm) cms.Attribute {
	t.Helper()
	der, err := cms.Capabilities(list).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return est.SMIMECapabilities(der)
}

// generate asks for a key as the world's device.
func (w *keyWorld) generate(a ...cms.Attribute) *reply {
	w.t.Helper()
	c := w.client(w.device)
	return c.post("serverkeygen", like(w.device).with(a...).der(w.t))
}

// over asks on a connection that TLS 1.2 and a cipher suite were forced upon.
func (w *keyWorld) over(suite uint16, der []byte) *reply {
	w.t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(w.front.Certificate())
	conn, err := tls.Dial("tcp", w.front.Listener.Addr().String(), &tls.Config{RootCAs: roots, ServerName: "example.com",
		MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{suite}, Certificates: []tls.Certificate{w.device.tls()}})
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close()
	return w.client(w.device).sendOn(conn, http.MethodPost, root+"serverkeygen", est.Encode(der, est.Wrapped))
}

// rsaKeys keeps keys by size: making one takes a second.
var rsaKeys sync.Map

func newRSA(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	if key, ok := rsaKeys.Load(bits); ok {
		return key.(*rsa.PrivateKey)
	}
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	rsaKeys.Store(bits, key)
	return key
}

// intended gives the words for the auditor with which a certificate was intended.
func (w *keyWorld) intended(cert *x509.Certificate) map[string]string {
	w.t.Helper()
	_, detail := w.event("certificate.intended", string(ca.SerialOf(cert.SerialNumber)))
	return detail
}

// event gives who did something and the words about it; nil: nobody did.
func (w *keyWorld) event(kind, subject string) (actor string, detail map[string]string) {
	w.t.Helper()
	err := w.db.Query(context.Background(), `SELECT actor, detail FROM events WHERE kind = $1 AND subject = $2`, []any{kind, subject}, func(row sqldb.Row) error {
		var text string
		if err := row.Scan(&actor, &text); err != nil {
			return err
		}
		return json.Unmarshal([]byte(text), &detail)
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return actor, detail
}

// decode gives the DER of a successful answer.
func decode(t testing.TB, r *reply) []byte {
	t.Helper()
	if r.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", r.Status, r.words())
	}
	der, err := est.Decode(r.body, 1<<16)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

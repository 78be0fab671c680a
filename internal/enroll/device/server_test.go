package device

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"chancery/cms"
	"chancery/est"
	"chancery/internal/certtest"
)

const serverName = certtest.ServerName

// authority is a root with its key.
type authority = certtest.Authority

func makeKey(t testing.TB) *ecdsa.PrivateKey { return certtest.Key(t) }

// sign makes a certificate, by itself if by is nil.
func sign(t testing.TB, by *authority, c x509.Certificate, key crypto.Signer) *x509.Certificate {
	t.Helper()
	return by.Sign(t, c, key)
}

func rootTemplate(name string) x509.Certificate { return certtest.Template(name) }

// server is an EST server as small as can be.
type server struct {
	*httptest.Server
	t     testing.TB
	ca    *authority
	below *authority // what issues

	mutex     sync.Mutex
	clerk     clerk
	bag       []*x509.Certificate
	user      string // "user:password" that first enrolments need
	waits     int    // 202s before each certificate
	refuse    int    // a status for every enrolment
	life      time.Duration
	usage     x509.KeyUsage
	asked     []string
	keys      []string               // public keys that were asked for, in order
	passwords int                    // requests with a password
	before    func(op est.Operation) // called when a request came
	shown     []*x509.Certificate    // the last request's
	sealed    bool                   // the last key was encrypted
	issued    map[string]int         // by public key
}

func start(t testing.TB) *server {
	t.Helper()
	s := &server{t: t, life: 30 * 24 * time.Hour, issued: map[string]int{}, usage: x509.KeyUsageDigitalSignature}
	s.ca = certtest.Root(t, "Root")
	s.below = s.ca.Below(t, "Issuing")
	s.bag = []*x509.Certificate{s.below.Cert, s.ca.Cert}
	s.Server = s.below.Server(t, s.serve)
	s.StartTLS()
	return s
}

func (s *server) serve(w http.ResponseWriter, r *http.Request) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	body, _ := io.ReadAll(r.Body)
	_, op, err := est.ParsePath(r.URL.Path)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	s.asked = append(s.asked, string(op))
	s.shown = r.TLS.PeerCertificates
	if s.before != nil {
		s.before(op)
	}
	switch op {
	case est.CACerts:
		s.give(w, s.bag...)
	case est.FullCMC:
		s.cmc(w, exchange{op, body})
	case est.CSRAttributes:
		w.WriteHeader(http.StatusNoContent)
	default:
		s.enroll(w, r, exchange{op, body})
	}
}

type exchange struct {
	op   est.Operation
	body []byte
}

func (s *server) enroll(w http.ResponseWriter, r *http.Request, x exchange) {
	der, err := est.Decode(x.body, est.RequestMax)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	p, err := est.ParseRequest(der)
	if err == nil {
		err = p.CheckSignature()
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	user, password, given := r.BasicAuth()
	if given {
		s.passwords++
	}
	if s.user != "" && len(s.shown) == 0 && user+":"+password != s.user {
		w.Header()["WWW-Authenticate"] = []string{`Basic realm="est"`}
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if x.op == est.SimpleReenroll && (len(s.shown) == 0 || !bytes.Equal(s.shown[0].RawSubject, p.RawSubject)) {
		http.Error(w, "that is not your certificate", http.StatusForbidden)
		return
	}
	spki, _ := x509.MarshalPKIXPublicKey(p.PublicKey)
	s.keys = append(s.keys, string(spki))
	if s.refuse != 0 {
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(s.refuse)
		_, _ = io.WriteString(w, "not now\x1b[31m")
		return
	}
	if s.waits > 0 {
		s.waits--
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, "the people are asked")
		return
	}
	s.issued[string(spki)]++
	if x.op == est.ServerKeyGen {
		s.generate(w, p)
		return
	}
	s.give(w, s.grant(p, p.PublicKey))
}

func (s *server) grant(p *est.Parsed, key crypto.PublicKey) *x509.Certificate {
	template := x509.Certificate{RawSubject: p.RawSubject, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(s.life), KeyUsage: s.usage}
	return s.below.Grant(s.t, template, p.SAN(), key)
}

func (s *server) give(w http.ResponseWriter, all ...*x509.Certificate) {
	w.Header().Set("Content-Type", est.PKCS7Mime+"; smime-type=certs-only")
	_, _ = w.Write(est.Encode(s.bagOf(all...), est.Wrapped))
}

func (s *server) bagOf(all ...*x509.Certificate) []byte {
	var b cms.Bag
	for _, c := range all {
		b.Certificates = append(b.Certificates, c.Raw)
	}
	der, err := b.Marshal()
	if err != nil {
		s.t.Error(err)
	}
	return der
}

// generate makes a key: encrypted to the shown certificate's if the request names one.
func (s *server) generate(w http.ResponseWriter, p *est.Parsed) {
	key := makeKey(s.t)
	plain, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		s.t.Error(err)
	}
	part := est.Part{Media: est.Media{Type: est.PKCS8}, Body: plain}
	var to cms.Recipient
	if id, ok, _ := p.AsymmetricDecryptKeyIdentifier(); ok && len(s.shown) > 0 {
		to = cms.KeyAgreement{KeyID: id, Key: s.shown[0].PublicKey}
	}
	if id, ok, _ := p.DecryptKeyIdentifier(); ok {
		to = cms.KeyEncryption{ID: id, Key: bytes.Repeat([]byte{'k'}, 16)}
	}
	if s.sealed = to != nil; s.sealed {
		pack, err := cms.MarshalKeyPackage(plain)
		if err != nil {
			s.t.Error(err)
		}
		maker := sign(s.t, s.below, x509.Certificate{Subject: pkix.Name{CommonName: "maker"}, KeyUsage: x509.KeyUsageDigitalSignature}, key)
		signed, err := cms.Sign(cms.SignedContent{Type: cms.OIDKeyPackage, Content: pack, Certificates: [][]byte{maker.Raw, s.below.Cert.Raw}}, cms.Signing{Key: key, Certificate: maker})
		if err != nil {
			s.t.Error(err)
		}
		info, err := cms.ParseContentInfo(signed)
		if err != nil {
			s.t.Error(err)
		}
		der, err := cms.Encrypt(cms.Plain{Type: cms.OIDSignedData, Content: info.Content}, to)
		if err != nil {
			s.t.Error(err)
		}
		part = est.Part{Media: est.Media{Type: est.PKCS7Mime, SMIMEType: est.ServerGeneratedKey}, Body: der}
	}
	kind, body := est.Multipart(part, est.Part{Media: est.Media{Type: est.PKCS7Mime, SMIMEType: est.CertsOnly}, Body: s.bagOf(s.grant(p, key.Public()))})
	w.Header().Set("Content-Type", kind)
	_, _ = w.Write(body)
}

// dial finds the server by whatever name.
func (s *server) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	return certtest.Dial(ctx, network, s.Server)
}

func (s *server) fingerprint() string { return est.Fingerprint(s.ca.Cert.Raw, "sha256") }

// set changes the server under its lock.
func (s *server) set(change func()) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	change()
}

func (s *server) count(op est.Operation) (n int) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for _, a := range s.asked {
		if a == string(op) {
			n++
		}
	}
	return n
}

// open opens a device that finds the server.
func (s *server) open(t testing.TB, dir string, change func(*Options)) *Device {
	t.Helper()
	o := Options{Dial: s.dial, Observe: func(e Event) { t.Logf("%s: %s", e.Kind, e.Message) }}
	if change != nil {
		change(&o)
	}
	d, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// plain are the settings of most tests.
func plain(s *Settings) error {
	s.Server, s.DNS = serverName, []string{"device1.example"}
	return nil
}

// locked runs something under the device's lock with its state configured.
func locked(t testing.TB, d *Device, change func(*Settings) error, do func(*State) error) error {
	t.Helper()
	unlock, err := d.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if change == nil {
		change = func(*Settings) error { return nil }
	}
	s, err := d.Configure(change)
	if err != nil {
		t.Fatal(err)
	}
	return do(s)
}

// nobody refuses everything, and counts.
type nobody struct{ asked int }

func (n *nobody) Trust(context.Context, *est.Offer) (string, error) {
	n.asked++
	return "", ErrNobody
}

func (n *nobody) Follow(context.Context, *url.URL, *url.URL) error { n.asked++; return ErrNobody }

// yes agrees to the first root.
type yes struct{ nobody }

func (y *yes) Trust(_ context.Context, o *est.Offer) (string, error) {
	return strings.ToUpper(est.Fingerprint(o.Roots()[0].Raw, "sha512")), nil
}

package est

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"chancery/cms"
	"chancery/internal/certtest"
)

// issuer is a CA in these tests.
type issuer = certtest.Authority

func testKey(t testing.TB) *ecdsa.PrivateKey { return certtest.Key(t) }

// certify makes a certificate: by an issuer, or, with nil, by itself.
func certify(t testing.TB, by *issuer, template x509.Certificate, key crypto.Signer) *x509.Certificate {
	t.Helper()
	return by.Sign(t, template, key)
}

func newIssuer(t testing.TB, name string, by *issuer) *issuer { return by.Below(t, name) }

// shop is an EST server that a test bends as it needs. Its handler is asked under the
// lock.
type shop struct {
	*httptest.Server
	t       testing.TB
	ca      *issuer
	handler map[Operation]http.HandlerFunc

	mutex sync.Mutex
	log   []string // "POST /.well-known/est/simpleenroll"
	seen  []*http.Request
	dials int
}

const serverName = certtest.ServerName

// open starts a server with a certificate of its CA for its name, or with another one.
func open(t testing.TB, change func(*tls.Config, *issuer)) *shop {
	t.Helper()
	s := &shop{t: t, ca: newIssuer(t, "Test Root", nil), handler: map[Operation]http.HandlerFunc{}}
	s.handler[CACerts] = s.cacerts
	s.handler[SimpleEnroll] = s.enroll
	s.handler[SimpleReenroll] = s.enroll
	s.Server = s.ca.Server(t, s.serve)
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.mutex.Lock()
			s.dials++
			s.mutex.Unlock()
		}
	}
	if change != nil {
		change(s.TLS, s.ca)
	}
	s.StartTLS()
	return s
}

// as shows another certificate of the server's.
func as(by *issuer, template x509.Certificate) func(*tls.Config, *issuer) {
	return func(config *tls.Config, own *issuer) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			panic(err)
		}
		if by == nil {
			by = own
		}
		template.SerialNumber, template.NotBefore, template.NotAfter = certtest.Serial(), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, &template, by.Cert, key.Public(), by.Key)
		if err != nil {
			panic(err)
		}
		config.Certificates = []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}
	}
}

func (s *shop) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.log = append(s.log, r.Method+" "+r.URL.Path)
	s.seen = append(s.seen, r)
	for op, handle := range s.handler {
		if strings.HasSuffix(r.URL.Path, "/"+string(op)) {
			handle(w, r)
			return
		}
	}
	http.NotFound(w, r)
}

// visited lists what was asked.
func (s *shop) visited() []string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return slices.Clone(s.log)
}

func (s *shop) connections() int {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.dials
}

func (s *shop) cacerts(w http.ResponseWriter, _ *http.Request) { s.answerBag(w, s.ca.Cert) }

func (s *shop) answerBag(w http.ResponseWriter, all ...*x509.Certificate) {
	w.Header().Set("Content-Type", PKCS7Mime+"; smime-type=certs-only")
	_, _ = w.Write(Encode(wireBag(all...), Wrapped))
}

func wireBag(all ...*x509.Certificate) []byte {
	var b cms.Bag
	for _, c := range all {
		b.Certificates = append(b.Certificates, c.Raw)
	}
	der, err := b.Marshal()
	if err != nil {
		panic(err)
	}
	return der
}

// requested reads the request of a POST.
func requested(r *http.Request) (*Parsed, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	der, err := Decode(body, RequestMax)
	if err != nil {
		return nil, err
	}
	p, err := ParseRequest(der)
	if err != nil {
		return nil, err
	}
	return p, p.CheckSignature()
}

// certified is what a request asks for, granted.
func (s *shop) certified(p *Parsed) *x509.Certificate {
	return s.ca.Grant(s.t, x509.Certificate{RawSubject: p.RawSubject, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour)}, p.SAN(), p.PublicKey)
}

func (s *shop) enroll(w http.ResponseWriter, r *http.Request) {
	p, err := requested(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.answerBag(w, s.certified(p))
}

// linked refuses a request that is not bound to its connection.
func linked(r *http.Request, p *Parsed) error {
	b, err := BindingOf(r.TLS)
	if err != nil {
		return err
	}
	text, ok, err := p.ChallengePassword()
	if err != nil || !ok || !b.Matches(text) {
		return fmt.Errorf("the request is not linked to this connection (%t, %v)", ok, err)
	}
	return nil
}

// client makes a client of the server: it trusts its CA explicitly and finds it by its
// name, wherever it listens.
func (s *shop) client(t testing.TB, change func(*ClientConfig)) *Client {
	t.Helper()
	config := ClientConfig{Server: "https://" + serverName, Trust: Trust{Explicit: []*x509.Certificate{s.ca.Cert}}, Timeout: 20 * time.Second, Dial: dialing(map[string]*shop{serverName: s})}
	if change != nil {
		change(&config)
	}
	c, err := NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// dialing finds servers by name.
func dialing(at map[string]*shop) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		s := at[host]
		if s == nil {
			return nil, fmt.Errorf("no server is called %s", host)
		}
		return certtest.Dial(ctx, network, s.Server)
	}
}

func pool(all ...*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, c := range all {
		p.AddCert(c)
	}
	return p
}

// device is what the tests ask certificates for.
func device(t testing.TB) Enrolment {
	t.Helper()
	return Enrolment{Key: testKey(t), Request: Request{SubjectName: pkix.Name{CommonName: "device1.example"}, DNSNames: []string{"device1.example"}}}
}

func identity(t testing.TB, by *issuer, template x509.Certificate) ClientIdentity {
	t.Helper()
	key := testKey(t)
	return ClientIdentity{Certificate: certify(t, by, template, key), Key: key}
}

var cmcRA = []asn1.ObjectIdentifier{oidCMCRA}

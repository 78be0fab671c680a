package anchors

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"
)

// publisher is a maker's web server. What it serves can be changed.
type publisher struct {
	*httptest.Server
	asked atomic.Int64
	mu    sync.Mutex
	serve http.HandlerFunc
}

func newPublisher(t *testing.T, serve http.HandlerFunc) *publisher {
	p := &publisher{serve: serve}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.asked.Add(1)
		p.mu.Lock()
		serve := p.serve
		p.mu.Unlock()
		serve(w, r)
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *publisher) now(serve http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.serve = serve
}

func octets(b []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(b) }
}

func TestFetchedCRLs(t *testing.T) {
	root := newRoot(t, "Root")
	p := newPublisher(t, octets(root.crl(t, nil)))
	naming := func(c *x509.Certificate) {
		c.CRLDistributionPoints = []string{"ldap://directory.example/", p.URL + "/1.crl"}
	}
	device := root.device(t, naming)

	// A URL in a certificate does not lead to this machine.
	s := newSet(t, Config{Roots: roots(root), Revocation: CRL})
	expect(t, s, Unchecked, device)
	if n := p.asked.Load(); n != 0 {
		t.Fatalf("%d requests to loopback", n)
	}
	// Unless that is allowed, or an administrator names it.
	for name, c := range map[string]Config{
		"allowed": {Loopback: true}, "configured": {CRLs: []string{p.URL + "/1.crl"}},
	} {
		t.Run(name, func(t *testing.T) {
			p.now(octets(root.crl(t, nil)))
			c.Roots, c.Revocation = roots(root), CRL
			s, before := newSet(t, c), p.asked.Load()
			var wait sync.WaitGroup
			for range 20 {
				wait.Go(func() { expect(t, s, "", device) })
			}
			wait.Wait()
			if n := p.asked.Load() - before; n != 1 {
				t.Errorf("%d fetches; want one for all", n)
			}
			p.now(octets(root.crl(t, nil, device)))
			later := time.Now().Add(31 * time.Minute) // half of what the CRL is good for
			err := s.Verify(context.Background(), []*x509.Certificate{device}, later)
			if err != nil {
				t.Errorf("a CRL that is good was not used while the next one comes: %v", err)
			}
			until(t, func() bool {
				return kindOf(s.Verify(context.Background(), []*x509.Certificate{device}, later)) == Revoked
			})
		})
	}
}

// until waits for what happens in the background.
func until(t *testing.T, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for tick := time.NewTicker(5 * time.Millisecond); !done(); <-tick.C {
		if ctx.Err() != nil {
			t.Fatal("it never happened")
		}
	}
}

func TestFetchesThatFail(t *testing.T) {
	root := newRoot(t, "Root")
	device := root.device(t, nil)
	var elsewhere *publisher
	for name, serve := range map[string]http.HandlerFunc{
		"status":  func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) },
		"no CRL":  octets([]byte("<html>")),
		"endless": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.CopyN(w, zeros{}, maxList+1) },
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusFound)
		},
		"round": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusFound) },
	} {
		t.Run(name, func(t *testing.T) {
			elsewhere = newPublisher(t, octets(root.crl(t, nil)))
			p := newPublisher(t, serve)
			s := newSet(t, Config{Roots: roots(root), Revocation: CRL, CRLs: []string{p.URL}})
			expect(t, s, Unchecked, device)
			before := p.asked.Load()
			expect(t, s, Unchecked, device)
			if n := p.asked.Load() - before; n != 0 || elsewhere.asked.Load() != 0 {
				t.Errorf("asked %d times again at once, %d times elsewhere", n, elsewhere.asked.Load())
			}
			p.now(octets(root.crl(t, nil)))
			if err := s.Verify(context.Background(), []*x509.Certificate{device}, time.Now().Add(2*afterFailure)); err != nil {
				t.Errorf("after a while: %v", err)
			}
		})
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// Who asked can go away; the fetch serves the next one.
func TestFetchOutlivesAsker(t *testing.T) {
	root := newRoot(t, "Root")
	device := root.device(t, nil)
	begun, release := make(chan struct{}), make(chan struct{})
	crl := root.crl(t, nil)
	p := newPublisher(t, func(w http.ResponseWriter, _ *http.Request) {
		close(begun)
		<-release
		_, _ = w.Write(crl)
	})
	s := newSet(t, Config{Roots: roots(root), Revocation: CRL, CRLs: []string{p.URL}})
	ctx, cancel := context.WithCancel(context.Background())
	go func() { <-begun; cancel() }()
	if err := s.Verify(ctx, []*x509.Certificate{device}, time.Now()); err == nil {
		t.Error("accepted before anything was known")
	}
	close(release)
	expect(t, s, "", device)
}

// answering is a responder that signs as told.
func answering(t *testing.T, signer *authority, issuer *x509.Certificate, template func(serial *ocsp.Request) ocsp.Response) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/ocsp-request" {
			t.Errorf("%s, %q, %v", r.Method, r.Header.Get("Content-Type"), err)
		}
		question, err := ocsp.ParseRequest(body)
		if err != nil {
			t.Error(err)
			return
		}
		der, err := ocsp.CreateResponse(issuer, signer.cert, template(question), signer.key)
		if err != nil {
			t.Error(err)
		}
		_, _ = w.Write(der)
	}
}

func TestOCSP(t *testing.T) {
	root := newRoot(t, "Root")
	device := root.device(t, nil)
	signing := func(by *authority, change func(*x509.Certificate)) *authority {
		key := newKey(t)
		template := &x509.Certificate{KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}}
		if change != nil {
			change(template)
		}
		return &authority{by.sign(t, template, key), key}
	}
	delegate := signing(root, nil)
	for name, test := range map[string]struct {
		signer  *authority
		without bool // the signer's certificate is not enclosed
		change  func(*ocsp.Response)
		want    Kind
	}{
		"by the issuer":             {signer: root, without: true},
		"by the issuer, enclosed":   {signer: root},
		"by a delegate":             {signer: delegate},
		"revoked":                   {signer: delegate, change: func(r *ocsp.Response) { r.Status, r.RevokedAt = ocsp.Revoked, time.Now().Add(-time.Hour) }, want: Revoked},
		"unknown":                   {signer: delegate, change: func(r *ocsp.Response) { r.Status = ocsp.Unknown }, want: Unchecked},
		"out of date":               {signer: delegate, change: func(r *ocsp.Response) { r.NextUpdate = time.Now().Add(-time.Minute) }, want: Unchecked},
		"begins later":              {signer: delegate, change: func(r *ocsp.Response) { r.ThisUpdate = time.Now().Add(time.Hour) }, want: Unchecked},
		"of an hour ago":            {signer: delegate, change: func(r *ocsp.Response) { r.NextUpdate = time.Time{} }},
		"of the day before":         {signer: delegate, change: func(r *ocsp.Response) { r.NextUpdate, r.ThisUpdate = time.Time{}, time.Now().Add(-25*time.Hour) }, want: Unchecked},
		"by who is not for OCSP":    {signer: signing(root, func(c *x509.Certificate) { c.ExtKeyUsage = nil }), want: Unchecked},
		"by who has ended":          {signer: signing(root, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), want: Unchecked},
		"by another's delegate":     {signer: signing(newRoot(t, "Root"), nil), want: Unchecked},
		"by another, not enclosed":  {signer: newRoot(t, "Root"), without: true, want: Unchecked},
		"about another certificate": {signer: delegate, change: func(r *ocsp.Response) { r.SerialNumber = root.cert.SerialNumber }, want: Unchecked},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPublisher(t, answering(t, test.signer, root.cert, func(q *ocsp.Request) ocsp.Response {
				r := ocsp.Response{Status: ocsp.Good, SerialNumber: q.SerialNumber, ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: time.Now().Add(time.Hour), IssuerHash: crypto.SHA1}
				if !test.without {
					r.Certificate = test.signer.cert
				}
				if test.change != nil {
					test.change(&r)
				}
				return r
			}))
			s := newSet(t, Config{Roots: roots(root), Revocation: OCSP, OCSP: p.URL})
			expect(t, s, test.want, device)
			expect(t, s, test.want, device)
			if n := p.asked.Load(); test.want != Unchecked && n != 1 {
				t.Errorf("asked %d times; the first answer is good", n)
			}
		})
	}
}

// Where OCSP gives no answer, the CRL does.
func TestAny(t *testing.T) {
	root := newRoot(t, "Root")
	p := newPublisher(t, octets([]byte{0x30, 3, 0x0a, 1, 3})) // tryLater
	device := root.device(t, func(c *x509.Certificate) { c.OCSPServer = []string{p.URL} })
	s := newSet(t, Config{Roots: roots(root), Revocation: Any, CRLs: []string{write(t, root.crl(t, nil, device))}, Loopback: true})
	expect(t, s, Revoked, device)
	if p.asked.Load() != 1 {
		t.Errorf("the responder was asked %d times", p.asked.Load())
	}
	none := root.device(t, nil)
	expect(t, s, "", none)
	s = newSet(t, Config{Roots: roots(root), Revocation: Any, Loopback: true})
	err := s.Verify(context.Background(), []*x509.Certificate{none}, time.Now())
	if kindOf(err) != Unchecked || !strings.Contains(err.Error(), "no OCSP responder") || !strings.Contains(err.Error(), "no CRL") {
		t.Errorf("got %v", err)
	}
}

func TestAddressesOfCertificates(t *testing.T) {
	for where, good := range map[string]bool{
		"127.0.0.1:80": false, "[::1]:80": false, "[::ffff:127.0.0.1]:80": false, "169.254.169.254:80": false, "[fe80::1]:80": false, "0.0.0.0:80": false,
		"[64:ff9b::7f00:1]:80": false, "224.0.0.1:80": false, "10.0.0.1:80": true, "192.0.2.1:443": true, "[2001:db8::1]:80": true, "x": false,
	} {
		if err := outside(where); (err == nil) != good {
			t.Errorf("%s: %v", where, err)
		}
	}
	for text, good := range map[string]bool{
		"http://a.example/x.crl": true, "https://a.example": true, "ldap://a.example": false, "http://u:p@a.example": false, "http:": false, "file:///etc/passwd": false,
		"http://a.example/" + strings.Repeat("x", maxURL): false,
	} {
		if web(text) != good {
			t.Errorf("%.40s: want %t", text, good)
		}
	}
}

// The bounds on what is remembered hold.
func TestBounds(t *testing.T) {
	root := newRoot(t, "Root")
	s := newSet(t, Config{Roots: roots(root), Revocation: Any})
	for n := range maxNamed + 10 {
		s.lists.places(link{&x509.Certificate{CRLDistributionPoints: []string{"http://a.example/" + strings.Repeat("x", n)}}, root.cert})
	}
	if n := len(s.lists.named); n > maxNamed {
		t.Errorf("%d URLs", n)
	}
	now := time.Now()
	for n := range maxAnswers + 10 {
		s.responders.remember(strings.Repeat("x", n), answer{until: now.Add(time.Hour)}, now)
	}
	if n := len(s.responders.known); n > maxAnswers {
		t.Errorf("%d answers", n)
	}
}

func FuzzReadAnswer(f *testing.F) {
	root := newRoot(f, "Root")
	device := root.device(f, nil)
	der, err := ocsp.CreateResponse(root.cert, root.cert, ocsp.Response{SerialNumber: device.SerialNumber, ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour)}, root.key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(der)
	f.Add([]byte{0x30, 3, 0x0a, 1, 3})
	f.Fuzz(func(t *testing.T, body []byte) {
		if found, err := readAnswer(body, link{device, root.cert}, time.Now()); err == nil && found.until.IsZero() {
			t.Fatal(errors.New("an answer without end"))
		}
	})
}

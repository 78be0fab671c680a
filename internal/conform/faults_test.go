package conform

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"strings"
	"sync"

	"chancery/est"
)

// sent gives the body of a request.
func sent(r *http.Request) string {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(err)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return string(body)
}

// asked gives the PKCS #10 request; nil if there is none.
func asked(r *http.Request) *est.Parsed {
	der, err := est.Decode([]byte(sent(r)), 1<<20)
	if err != nil {
		return nil
	}
	p, err := est.ParseRequest(der)
	if err != nil {
		return nil
	}
	return p
}

// named gives the server a certificate for another name.
func (l *little) named(name string) tls.Certificate {
	p := newPair(l.t, &x509.Certificate{DNSNames: []string{name}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, l.issuing)
	return tls.Certificate{Certificate: [][]byte{p.cert.Raw, l.issuing.cert.Raw}, PrivateKey: p.key}
}

// stranger gives a CA's certificate that leads elsewhere.
func (l *little) stranger() *x509.Certificate {
	return newPair(l.t, caTemplate("Strange"), newPair(l.t, caTemplate("Elsewhere"), nil)).cert
}

// torn gives wishes that want one key in the template and another beside it.
func (l *little) torn() est.CSRAttrs {
	list, err := est.Demand{Key: "ecdsa-p384"}.CSRAttrs()
	if err != nil {
		l.t.Fatal(err)
	}
	spec, err := est.ParseKeySpec("ecdsa-p256")
	if err != nil {
		l.t.Fatal(err)
	}
	a, err := est.Template{Key: &spec}.Attribute()
	if err != nil {
		l.t.Fatal(err)
	}
	return append(list, est.AttrOrOID{Type: a.Type, Values: a.Values})
}

// addChain sends the issuer's certificate along.
func (l *little) addChain(r *http.Request, a *answer) {
	if !strings.Contains(r.URL.Path, "enroll") || a.status != 200 {
		return
	}
	b, err := bagOf(&reply{status: 200, body: a.body})
	if err != nil {
		l.t.Error(err)
		return
	}
	a.body = est.Encode(l.wrapped(append(b.certs, l.issuing.cert)...), est.Wrapped)
}

// noLink refuses everything that is bound to its connection, but for the first: that is
// the ordinary one.
func noLink() func(*http.Request, *answer) {
	var mu sync.Mutex
	first := true
	return func(r *http.Request, a *answer) {
		p := asked(r)
		if p == nil || a.status != 200 {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if !first {
			a.refuse(403, "that attribute is not known")
		}
		first = false
	}
}

// once lets one request through and fails for all others.
func once() func(*http.Request, *answer) {
	var mu sync.Mutex
	done := false
	return func(_ *http.Request, a *answer) {
		mu.Lock()
		defer mu.Unlock()
		if a.status == 200 && done {
			a.refuse(500, "what was that")
		}
		done = done || a.status == 200
	}
}

// replay answers renewals with the first certificate.
func replay() func(*http.Request, *answer) {
	var mu sync.Mutex
	var first []byte
	return func(r *http.Request, a *answer) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case a.status != 200:
		case strings.HasSuffix(r.URL.Path, "/simplereenroll"):
			a.body = first
		case strings.HasSuffix(r.URL.Path, "/simpleenroll"):
			first = a.body
		}
	}
}

// rekeyRefused renews for the first key alone.
func rekeyRefused() func(*http.Request, *answer) {
	return func(r *http.Request, a *answer) {
		p := asked(r)
		if p == nil || len(r.TLS.PeerCertificates) == 0 || a.status != 200 {
			return
		}
		if !bytes.Equal(p.RawSPKI, r.TLS.PeerCertificates[0].RawSubjectPublicKeyInfo) {
			a.refuse(400, "keep your key")
		}
	}
}

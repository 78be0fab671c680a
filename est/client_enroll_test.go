package est

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"crypto/rand"

	"chancery/internal/certtest"
)

// waiting answers 202 so many times.
func (s *shop) waiting(times int, header map[string]string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		p, err := requested(r)
		if err == nil {
			err = linked(r, p)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		if times--; times < 0 {
			s.answerBag(w, s.certified(p))
			return
		}
		for name, value := range header {
			w.Header().Set(name, value)
		}
		w.WriteHeader(http.StatusAccepted)
		_, _ = w.Write([]byte("a person has to agree\n"))
	}
}

func TestPending(t *testing.T) {
	date := time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)
	for name, test := range map[string]struct {
		header      map[string]string
		least, most time.Duration
	}{
		"seconds":        {map[string]string{"Retry-After": "120"}, 2 * time.Minute, 2 * time.Minute},
		"a date":         {map[string]string{"Retry-After": date}, 58 * time.Minute, time.Hour},
		"nothing":        {nil, retryDefault, retryDefault},
		"no time":        {map[string]string{"Retry-After": "soon"}, retryDefault, retryDefault},
		"at once":        {map[string]string{"Retry-After": "0"}, retryLeast, retryLeast},
		"never":          {map[string]string{"Retry-After": strconv.Itoa(1 << 60)}, retryMost, retryMost},
		"and hanging up": {map[string]string{"Retry-After": "120", "Connection": "close"}, 2 * time.Minute, 2 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, nil)
			s.handler[SimpleEnroll] = s.waiting(2, test.header)
			_, err := s.client(t, nil).Enroll(t.Context(), device(t))
			p, ok := errors.AsType[*PendingError](err)
			if !ok || p.After < test.least || p.After > test.most || p.Text != "a person has to agree" || !p.Linked {
				t.Fatalf("%+v, %v", p, err)
			}
			// With somebody who waits, the request is repeated, linked to what is the
			// connection then.
			s.handler[SimpleEnroll] = s.waiting(2, test.header)
			waits := 0
			c := s.client(t, func(c *ClientConfig) {
				c.Pending = func(_ context.Context, p *PendingError) error { waits++; s.CloseClientConnections(); return nil }
			})
			if got, err := c.Enroll(t.Context(), device(t)); err != nil || waits != 2 || !got.Linked {
				t.Errorf("%+v after %d waits, %v", got, waits, err)
			}
		})
	}
	no := errors.New("enough")
	s := open(t, nil)
	s.handler[SimpleEnroll] = s.waiting(1, nil)
	c := s.client(t, func(c *ClientConfig) { c.Pending = func(context.Context, *PendingError) error { return no } })
	if _, err := c.Enroll(t.Context(), device(t)); !errors.Is(err, no) {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Wait(ctx, &PendingError{After: time.Hour}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// libest's server says 202 without a length and keeps the connection open.
func TestPendingWithoutALength(t *testing.T) {
	s := open(t, nil)
	hold := make(chan struct{})
	defer close(hold)
	s.handler[SimpleEnroll] = func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = conn.Write([]byte("HTTP/1.1 202 Accepted\r\nRetry-After: 5\r\n\r\nwait"))
		go func() { <-hold; conn.Close() }()
	}
	_, err := s.client(t, nil).Enroll(t.Context(), device(t))
	if p, ok := errors.AsType[*PendingError](err); !ok || p.After != 5*time.Second || p.Text != "wait" {
		t.Errorf("%v", err)
	}
}

// wished makes the client obey what /csrattrs says, and gives the request that came.
func wished(t *testing.T, wishes CSRAttrs, change func(*Enrolment)) (*Parsed, error) {
	t.Helper()
	s := open(t, nil)
	s.handler[CSRAttributes] = func(w http.ResponseWriter, _ *http.Request) {
		der, err := wishes.Marshal()
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", CSRAttrsType)
		_, _ = w.Write(Encode(der, Wrapped))
	}
	var came *Parsed
	s.handler[SimpleEnroll] = func(w http.ResponseWriter, r *http.Request) {
		var err error
		if came, err = requested(r); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s.answerBag(w, s.certified(came))
	}
	c := s.client(t, nil)
	e := device(t)
	var err error
	if e.Wanted, err = c.Wanted(t.Context(), nil); err != nil {
		return nil, err
	}
	if change != nil {
		change(&e)
	}
	_, err = c.Enroll(t.Context(), e)
	return came, err
}

func TestWishesAreObeyed(t *testing.T) {
	bare := func(kinds ...asn1.ObjectIdentifier) (list CSRAttrs) {
		for _, k := range kinds {
			list = append(list, AttrOrOID{Type: k})
		}
		return list
	}
	unknown := asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 7}
	challenge := func(p *Parsed) string { text, _, _ := p.ChallengePassword(); return text }
	identity := func(p *Parsed) string { text, _, _ := p.IdentityLinking(); return text }
	for name, test := range map[string]struct {
		wishes CSRAttrs
		change func(*Enrolment)
		good   func(*Parsed) bool // nil: an error before anything is sent
	}{
		"none":                  {nil, nil, func(p *Parsed) bool { return len(challenge(p)) >= 16 }},
		"unknown ones":          {bare(unknown), nil, func(p *Parsed) bool { return len(challenge(p)) >= 16 }},
		"a hash":                {bare(OIDECDSAWithSHA384), nil, func(p *Parsed) bool { return p.SignatureHash().String() == "SHA-384" }},
		"another kind of key":   {bare(OIDSHA256WithRSA), nil, nil},
		"that kind of key":      {bare(OIDSHA256WithRSA), func(e *Enrolment) { e.Key, _ = rsa.GenerateKey(rand.Reader, 2048) }, func(p *Parsed) bool { _, ok := p.PublicKey.(*rsa.PublicKey); return ok }},
		"identity linking":      {bare(OIDIdentityLinking), nil, func(p *Parsed) bool { return len(identity(p)) >= 16 && challenge(p) == "" }},
		"both, and a secret":    {bare(OIDIdentityLinking, OIDChallengePassword), func(e *Enrolment) { e.Secret = "s3cret" }, func(p *Parsed) bool { return len(identity(p)) >= 16 && challenge(p) == "s3cret" }},
		"a secret in its place": {bare(OIDChallengePassword), func(e *Enrolment) { e.Secret = "s3cret" }, func(p *Parsed) bool { return challenge(p) == "s3cret" && identity(p) == "" }},
		"a one-time password": {bare(OIDOTPChallenge, OIDChallengePassword), func(e *Enrolment) { e.Secret = "123456" }, func(p *Parsed) bool {
			text, _, _ := p.OTPChallenge()
			return text == "123456" && len(challenge(p)) >= 16
		}},
		"no one-time password":   {bare(OIDOTPChallenge), nil, nil},
		"a revocation secret":    {bare(OIDRevocationChallenge), func(e *Enrolment) { e.Revocation = "burn" }, func(p *Parsed) bool { text, _, _ := p.RevocationChallenge(); return text == "burn" }},
		"a secret unasked for":   {nil, func(e *Enrolment) { e.Revocation = "burn" }, func(p *Parsed) bool { text, _, _ := p.RevocationChallenge(); return text == "burn" }},
		"no revocation secret":   {bare(OIDRevocationChallenge), nil, nil},
		"linking switched off":   {nil, func(e *Enrolment) { e.Linking = LinkNever }, func(p *Parsed) bool { return challenge(p) == "" && identity(p) == "" }},
		"off, and demanded":      {bare(OIDChallengePassword), func(e *Enrolment) { e.Linking = LinkNever }, nil},
		"linking by the new way": {nil, func(e *Enrolment) { e.Linking = LinkInIdentity }, func(p *Parsed) bool { return len(identity(p)) >= 16 && challenge(p) == "" }},
		"two in one place":       {nil, func(e *Enrolment) { e.Linking, e.Secret = LinkInChallenge, "s" }, nil},
		"a MAC address untold":   {bare(OIDMACAddress), nil, nil},
		"a MAC address": {bare(OIDMACAddress), func(e *Enrolment) {
			e.Request.Attributes = append(e.Request.Attributes, MACAddress("00:11:22:33:44:55"))
		}, func(p *Parsed) bool { _, ok := p.Attribute(OIDMACAddress); return ok }},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := wished(t, test.wishes, test.change)
			switch {
			case test.good == nil && (err == nil || p != nil):
				t.Errorf("%v, sent: %t", err, p != nil)
			case test.good != nil && (err != nil || !test.good(p)):
				t.Errorf("%+v, %v", p, err)
			}
		})
	}
	p, err := wished(t, Demand{Key: "ecdsa-p256", Template: true, Subject: [][]NameAttribute{{{Type: oid(2, 5, 4, 3)}}}, Extensions: []ExtensionTemplate{{ID: oidExtKeyUsage, Value: []byte{0x30, 0x0a, 6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 2}}}}.list(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	if use, err := p.ExtKeyUsage(); err != nil || len(use) != 1 {
		t.Errorf("the template's extension: %v, %v", use, err)
	}
}

func (d Demand) list(t *testing.T) CSRAttrs {
	t.Helper()
	c, err := d.CSRAttrs()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// 204, 404, 501, an empty body and an empty list are one (RFC 7030 §4.5.2).
func TestNoWishes(t *testing.T) {
	for name, handle := range map[string]http.HandlerFunc{
		"204":        func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) },
		"404":        func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) },
		"501":        func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(501) },
		"empty body": func(http.ResponseWriter, *http.Request) {},
		"empty list": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(Encode([]byte{0x30, 0}, Wrapped)) },
	} {
		s := open(t, nil)
		s.handler[CSRAttributes] = handle
		if got, err := s.client(t, nil).Wanted(t.Context(), nil); err != nil || got != nil {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	for name, handle := range map[string]http.HandlerFunc{
		"403":     func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) },
		"rubbish": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("MAMC")) },
	} {
		s := open(t, nil)
		s.handler[CSRAttributes] = handle
		if got, err := s.client(t, nil).Wanted(t.Context(), nil); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// A renewal keeps the names of the certificate, and its ChangeSubjectName asks for others.
func TestReenrolKeepsNames(t *testing.T) {
	s := open(t, nil)
	old := identity(t, s.ca, x509.Certificate{Subject: pkix.Name{CommonName: "d1", Organization: []string{"O"}}, DNSNames: []string{"d1.example"}, IPAddresses: []net.IP{{192, 0, 2, 1}}})
	var came *Parsed
	s.handler[SimpleReenroll] = func(w http.ResponseWriter, r *http.Request) {
		came, _ = requested(r)
		change, err := came.ChangeSubjectName()
		if err != nil || change == nil {
			s.answerBag(w, old.Certificate, s.certified(came))
			return
		}
		came.RawSubject = change.Subject
		s.answerBag(w, certify(t, s.ca, x509.Certificate{RawSubject: change.Subject, DNSNames: []string{"d2.example"}}, identityKey))
	}
	c := s.client(t, func(c *ClientConfig) { c.Identities = []ClientIdentity{old} })
	e := Enrolment{Key: old.Key, Renews: old.Certificate, Request: Request{DNSNames: []string{"ignored.example"}}}
	got, err := c.Reenroll(t.Context(), e) // the same key: of two certificates the new one counts
	if err != nil || got.Certificate.Equal(old.Certificate) || len(got.Others) != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	if string(came.RawSubject) != string(old.Certificate.RawSubject) || !slices.Equal(got.Certificate.DNSNames, old.Certificate.DNSNames) || len(got.Certificate.IPAddresses) != 1 {
		t.Errorf("asked for %x with %v", came.RawSubject, got.Certificate.DNSNames)
	}
	san, err := Request{DNSNames: []string{"d2.example"}}.SAN()
	if err != nil {
		t.Fatal(err)
	}
	subject, _ := asn1.Marshal(pkix.Name{CommonName: "d2"}.ToRDNSequence())
	change, err := NameChange{Subject: subject, SAN: san}.Attribute()
	if err != nil {
		t.Fatal(err)
	}
	e.Request.Attributes, e.Key = append(e.Request.Attributes, change), identityKey
	if got, err := c.Reenroll(t.Context(), e); err != nil || got.Certificate.Subject.CommonName != "d2" || len(got.Differences) > 0 {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := c.Reenroll(t.Context(), Enrolment{Key: identityKey}); err == nil {
		t.Error("renewed what nobody named")
	}
}

var identityKey = func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
}()

func TestCertificateIsCheckedAgainstTheRequest(t *testing.T) {
	s := open(t, nil)
	other := newIssuer(t, "Another CA", nil)
	template := x509.Certificate{}
	by := s.ca
	s.handler[SimpleEnroll] = func(w http.ResponseWriter, r *http.Request) {
		p, err := requested(r)
		if err != nil {
			t.Error(err)
			return
		}
		next := template
		next.SerialNumber, next.NotBefore = certtest.Serial(), time.Now().Add(-2*time.Hour)
		if next.NotAfter.IsZero() {
			next.NotAfter = time.Now().Add(time.Hour)
		}
		der, err := x509.CreateCertificate(rand.Reader, &next, by.Cert, p.PublicKey, by.Key)
		if err != nil {
			t.Error(err)
			return
		}
		c, _ := x509.ParseCertificate(der)
		s.answerBag(w, c)
	}
	c := s.client(t, nil)
	template = x509.Certificate{Subject: pkix.Name{CommonName: "device1.example"}, DNSNames: []string{"other.example"}}
	_, err := c.Enroll(t.Context(), device(t))
	if failed, ok := errors.AsType[*MismatchError](err); !ok || !slices.Equal(failed.Missing, []string{"dns:device1.example"}) || failed.Issued.Certificate == nil {
		t.Errorf("%v", err)
	}
	lenient := device(t)
	lenient.AcceptChanged = true
	if got, err := c.Enroll(t.Context(), lenient); err != nil || len(got.Differences) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	template = x509.Certificate{Subject: pkix.Name{CommonName: "renamed"}, DNSNames: []string{"DEVICE1.example", "more.example"}}
	if got, err := c.Enroll(t.Context(), device(t)); err != nil || len(got.Differences) > 0 { // the name is in SAN
		t.Errorf("%+v, %v", got, err)
	}
	by = other
	if got, err := c.Enroll(t.Context(), device(t)); err != nil || len(got.Differences) != 1 || !strings.Contains(got.Differences[0], "does not lead to") {
		t.Errorf("%+v, %v", got, err)
	}
	template.NotAfter = time.Now().Add(-time.Hour)
	if _, err := c.Enroll(t.Context(), device(t)); err == nil {
		t.Error("a certificate that has ended is taken")
	}
}

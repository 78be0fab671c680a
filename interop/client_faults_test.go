package interop_test

import (
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"chancery/internal/enroll"
	"chancery/internal/enroll/settings"
	"chancery/internal/enroll/vault"
)

// answer is a fault of all requests whose path holds the text.
func answer(path string, status int, kind, body string) fault {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, path) {
			return false
		}
		w.Header().Set("Content-Type", kind)
		w.Header().Set("Replay-Nonce", "bm9uY2Utb2YtYS10ZXN0LWZyb250")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
		return true
	}
}

// problem answers signed requests to a path with an ACME error.
func problem(path string, status int, typ string, header ...string) fault {
	inner := answer(path, status, "application/problem+json", fmt.Sprintf(`{"type":"urn:ietf:params:acme:error:%s","detail":"a fault of the test"}`, typ))
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPost || !strings.Contains(r.URL.Path, path) {
			return false
		}
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		return inner(w, r)
	}
}

// times lets a fault happen that often and no more.
func times(n int64, f fault) fault {
	var left atomic.Int64
	left.Store(n)
	return func(w http.ResponseWriter, r *http.Request) (did bool) {
		if left.Load() <= 0 {
			return false
		}
		did = true // a fault that hangs up does not return
		defer func() {
			if did {
				left.Add(-1)
			}
		}()
		did = f(w, r)
		return did
	}
}

func hangs(w http.ResponseWriter, r *http.Request) bool {
	<-r.Context().Done()
	panic(http.ErrAbortHandler) // else it would answer a client that is just closing
}

// hangsUp sends a part of the certificate and closes the connection.
func hangsUp(w http.ResponseWriter, r *http.Request) bool {
	if !strings.HasPrefix(r.URL.Path, "/certZ/") {
		return false
	}
	w.Header().Set("Content-Type", "application/pem-certificate-chain")
	w.Header().Set("Content-Length", "4000")
	_, _ = io.WriteString(w, "-----BEGIN CERTIFICATE-----\nMIIB")
	if f, ok := w.(http.Flusher); ok {
		f.Flush()
	}
	panic(http.ErrAbortHandler)
}

// forging gives, in place of the certificate, one that is made of the request.
func (f *front) forging(s *sealer, make func(csr *x509.CertificateRequest) (*x509.Certificate, crypto.PublicKey)) fault {
	return func(w http.ResponseWriter, r *http.Request) bool {
		f.mu.Lock()
		csr := f.csr
		f.mu.Unlock()
		if !strings.HasPrefix(r.URL.Path, "/certZ/") || csr == nil {
			return false
		}
		template, key := make(csr)
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		w.Header().Set("Content-Type", "application/pem-certificate-chain")
		w.Header().Set("Replay-Nonce", "bm9uY2Utb2YtYS10ZXN0LWZyb250")
		_, _ = io.WriteString(w, encodePEM(f.lab.sign(s, template, key)))
		return true
	}
}

// sign is the sealer's, when no test of its own is at hand.
func (l *lab) sign(s *sealer, template *x509.Certificate, key crypto.PublicKey) *x509.Certificate {
	return s.sign(l.t, template, key)
}

// orders changes what orders say.
func (f *front) orders(change func(order map[string]any)) {
	f.setRewrite(func(_ string, object map[string]any) {
		if _, ok := object["finalize"]; ok {
			change(object)
		}
	})
}

// ill is one way for a CA to be ill.
type ill struct {
	name  string
	do    func(f *front)
	class enroll.Class
	most  int64         // requests in one run of two tries
	slow  bool          // it costs the time that there is for a CA
	after time.Duration // it asks to be left alone
}

// illnesses are what the CAs of the field have had. good signs what the clients trust,
// and bad what they do not.
func (l *lab) illnesses(good, bad *sealer) []ill {
	spoil := func(f fault) func(*front) { return func(x *front) { x.set(f) } }
	forge := func(s *sealer, make func(*x509.CertificateRequest) (*x509.Certificate, crypto.PublicKey)) func(*front) {
		return func(x *front) { x.set(x.forging(s, make)) }
	}
	other := ecKey(l.t).Public()
	return []ill{
		{name: "refuses TLS", do: func(f *front) { f.down() }, class: enroll.ClassUnavailable, most: 4},
		{name: "hangs", do: spoil(hangs), class: enroll.ClassUnavailable, most: 4, slow: true},
		{name: "hangs after the directory", do: spoil(func(w http.ResponseWriter, r *http.Request) bool {
			return r.URL.Path != "/.well-known/acme" && hangs(w, r)
		}), class: enroll.ClassUnavailable, most: 6, slow: true},
		{name: "500 everywhere", do: spoil(answer("/", 500, "text/plain", "broken")), class: enroll.ClassUnavailable, most: 2},
		{name: "HTML", do: spoil(answer("/", 200, "text/html", "<html><body>Welcome to nginx!")), class: enroll.ClassUnavailable, most: 2},
		{name: "half a JSON", do: spoil(answer("/", 200, "application/json", `{"newNonce":"https://ca1.test/n","newAcc`)), class: enroll.ClassUnavailable, most: 2},
		{name: "wrong types", do: spoil(answer("/", 200, "application/json", `{"newNonce":5,"newAccount":["x"],"newOrder":{},"meta":"none"}`)), class: enroll.ClassUnavailable, most: 2},
		{name: "orders of wrong types", do: spoil(answer("/order-plz", 201, "application/json", `{"status":1,"authorizations":"all"}`)), class: enroll.ClassUnavailable, most: 10},
		{name: "authorisations in half", do: spoil(answer("/authZ/", 200, "application/json", `{"status":"pend`)), class: enroll.ClassUnavailable, most: 14},
		{name: "badNonce each time", do: spoil(problem("/", 400, "badNonce")), class: enroll.ClassUnavailable, most: 60},
		{name: "limited for long", do: spoil(problem("/order-plz", 429, "rateLimited", "Retry-After", "7200")), class: enroll.ClassLimited, most: 6, after: 2 * time.Hour},
		{name: "limited without a time", do: spoil(problem("/order-plz", 429, "rateLimited")), class: enroll.ClassLimited, most: 6, after: time.Minute},
		{name: "busy for long", do: spoil(answer503), class: enroll.ClassUnavailable, most: 2, after: 15 * time.Minute},
		{name: "finalize fails", do: spoil(problem("/finalize-order", 500, "serverInternal")), class: enroll.ClassUnavailable, most: 30},
		{name: "the order becomes invalid", do: func(f *front) {
			f.orders(func(o map[string]any) {
				if o["status"] == "processing" || o["status"] == "valid" {
					o["status"] = "invalid"
					delete(o, "certificate")
					o["error"] = map[string]any{"type": "urn:ietf:params:acme:error:serverInternal", "detail": "the signer is broken"}
				}
			})
		}, class: enroll.ClassUnavailable, most: 40},
		{name: "processing for ever", do: func(f *front) {
			f.orders(func(o map[string]any) {
				if o["status"] == "valid" {
					o["status"] = "processing"
					delete(o, "certificate")
				}
			})
		}, class: enroll.ClassUnfinished, most: 40, slow: true},
		{name: "hangs up in the certificate", do: spoil(hangsUp), class: enroll.ClassUnavailable, most: 40},
		{name: "other names", do: forge(good, func(csr *x509.CertificateRequest) (*x509.Certificate, crypto.PublicKey) {
			return &x509.Certificate{DNSNames: append(slices.Clone(csr.DNSNames), "more.test")}, csr.PublicKey
		}), class: enroll.ClassWrong, most: 16},
		{name: "another key", do: forge(good, func(csr *x509.CertificateRequest) (*x509.Certificate, crypto.PublicKey) {
			return &x509.Certificate{DNSNames: csr.DNSNames}, other
		}), class: enroll.ClassWrong, most: 16},
		{name: "an untrusted root", do: forge(bad, func(csr *x509.CertificateRequest) (*x509.Certificate, crypto.PublicKey) {
			return &x509.Certificate{DNSNames: csr.DNSNames, Subject: pkix.Name{CommonName: csr.DNSNames[0]}}, csr.PublicKey
		}), class: enroll.ClassWrong, most: 16},
		{name: "expired", do: forge(good, func(csr *x509.CertificateRequest) (*x509.Certificate, crypto.PublicKey) {
			return &x509.Certificate{DNSNames: csr.DNSNames, NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(-time.Hour)}, csr.PublicKey
		}), class: enroll.ClassWrong, most: 16},
	}
}

func answer503(w http.ResponseWriter, r *http.Request) bool {
	w.Header().Set("Retry-After", "3600")
	return answer("/", 503, "text/plain", "maintenance")(w, r)
}

// Three CAs in the owner's order. The first is ill in each way, then the first and the
// second in two ways: the best of those that are left issues, nobody is hammered, what
// was sent wrongly is not installed, and who asked for peace has it in the next run.
func TestClientSurvivesFaults(t *testing.T) {
	const lanes = 3 // labs beside each other
	for lane := range lanes {
		t.Run(fmt.Sprint(lane), func(t *testing.T) {
			l := newLab(t)
			l.serveWebroot()
			good := newSealer(t, "Good Root")
			directory := l.pebble(pebbleSetup{})
			l.anchor(good.cert)
			for range 3 {
				l.front(directory)
			}
			all := l.illnesses(good, newSealer(t, "Bad Root"))
			for n, first := range all {
				if n%lanes != lane {
					continue
				}
				second := all[(n+5)%len(all)]
				t.Run(first.name, func(t *testing.T) { l.endures(t, first) })
				if !first.slow || !second.slow {
					t.Run(first.name+", "+second.name, func(t *testing.T) { l.endures(t, first, second) })
				}
			}
		})
	}
}

// endures has the first CAs of the lab fall ill, and the next one issue.
func (l *lab) endures(t *testing.T, ills ...ill) {
	name := fmt.Sprintf("n%d.test", len(l.dialled())+time.Now().Nanosecond())
	var records []string
	for i, f := range l.fronts {
		f.well()
		records = append(records, fmt.Sprintf("%s; priority=%d", f.issuer, i+1))
	}
	l.caa(name, records...)
	patience := settings.Duration("8s")
	for i, one := range ills {
		one.do(l.fronts[i])
		if one.slow {
			patience = "1s"
		}
	}
	o := opening{change: func(s *settings.Settings) { s.Retry.PerCA = patience }}
	d := l.open(name, o)
	out := d.from(t, l.fronts[len(ills)], name)
	leaf := d.leaf(t, out)
	if err := leaf.VerifyHostname(name); err != nil || len(leaf.DNSNames) != 1 {
		t.Errorf("installed for %q: %v", leaf.DNSNames, err)
	}
	for i, one := range ills {
		a := out.Attempts[i]
		if a.Class != one.class || a.Error == "" || a.Advice == "" {
			t.Errorf("%s: class %q (want %q), error %q, advice %q", a.Issuer, a.Class, one.class, a.Error, a.Advice)
		}
		if n := l.fronts[i].seen.Load(); n == 0 || n > one.most {
			t.Errorf("%s got %d requests, at most %d", a.Issuer, n, one.most)
		}
		if (one.after > 0) != !a.RetryAfter.IsZero() || one.after > 0 && time.Until(a.RetryAfter) < one.after-time.Minute {
			t.Errorf("%s is to be left alone until %s", a.Issuer, a.RetryAfter)
		}
	}
	if n := l.fronts[2].seen.Load(); len(ills) == 1 && n != 0 {
		t.Errorf("%s got %d requests, and nobody needed it", l.fronts[2].issuer, n)
	}
	if rec, err := d.Vault.Record(out.Certificate); err != nil || rec.Pending != nil {
		t.Errorf("an order is still pending: %v", err)
	}
	l.leavesAlone(t, o, name, ills)
}

// leavesAlone runs again, as a new process, and expects no request at who asked for that.
func (l *lab) leavesAlone(t *testing.T, o opening, name string, ills []ill) {
	if !slices.ContainsFunc(ills, func(i ill) bool { return i.after > 0 }) {
		return
	}
	for _, f := range l.fronts {
		f.seen.Store(0)
	}
	l.open(name, o).from(t, l.fronts[len(ills)], name)
	for i, one := range ills {
		if n := l.fronts[i].seen.Load(); one.after > 0 && n != 0 {
			t.Errorf("%s asked to be left alone and got %d requests", l.fronts[i].issuer, n)
		}
		l.fronts[i].well()
	}
	o.ahead = ills[0].after + ills[len(ills)-1].after + 25*time.Hour
	l.open(name, o).from(t, l.fronts[0], name)
}

// What passes is waited for, and costs no change of CA.
func TestClientWaitsForShortFaults(t *testing.T) {
	l := newLab(t)
	l.serveWebroot()
	directory := l.pebble(pebbleSetup{})
	best, second := l.front(directory), l.front(directory)
	for _, c := range []struct {
		name string
		bad  fault
		wait float64 // seconds at least
	}{
		{"limited for a second", times(1, problem("/order-plz", 429, "rateLimited", "Retry-After", "1")), 1},
		{"busy for a second", times(1, func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Retry-After", "1")
			return answer("/sign-me-up", 503, "text/plain", "")(w, r)
		}), 1},
		{"one 500 at the directory", times(1, answer("/.well-known/acme", 500, "text/plain", "")), 0},
		{"one hang-up in the certificate", times(1, func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasPrefix(r.URL.Path, "/certZ/") {
				panic(http.ErrAbortHandler)
			}
			return false
		}), 0},
		{"five refused nonces", times(5, problem("/order-plz", 400, "badNonce")), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			best.well()
			second.well()
			best.set(c.bad)
			name := strings.ReplaceAll(c.name, " ", "-") + ".test"
			l.caa(name, best.issuer+"; priority=1", second.issuer+"; priority=2")
			d := l.open(name, opening{})
			out := d.from(t, best, name)
			if n := second.seen.Load(); n != 0 {
				t.Errorf("the second CA got %d requests", n)
			}
			for _, e := range d.events(enroll.EventRetry) {
				if e.Wait < c.wait {
					t.Errorf("it waited %v s, and %v were asked for", e.Wait, c.wait)
				}
			}
			if known, err := d.Vault.CA(out.Issued.Directory); err != nil || known.Incident != nil || known.Circuit.Failures != 0 {
				t.Errorf("it counts against the CA: %+v, %v", known, err)
			}
			if n := len(best.sent("csr")); n != 1 {
				t.Errorf("%d certificates were asked for", n)
			}
		})
	}
}

// Two names of one machine at the same moment, at a CA that is down: both have a
// certificate from the next, one message tells of the CA, and one when it is well again.
func TestClientTwoRunsOneIncident(t *testing.T) {
	l := newLab(t)
	l.serveWebroot()
	directory := l.pebble(pebbleSetup{})
	best, second := l.front(directory), l.front(directory)
	for _, n := range []string{"a.test", "b.test", "c.test"} {
		l.caa(n, best.issuer+"; priority=1", second.issuer+"; priority=2")
	}
	best.down()
	a, b := l.open("data", opening{}), l.open("data", opening{})
	done := make(chan error, 2)
	for name, d := range map[string]*patron{"a.test": a, "b.test": b} {
		go func() {
			out, err := d.Engine.Get(t.Context(), vault.Sheet{Names: []string{name}}, enroll.Options{})
			if err == nil && out.Issued.Issuer != second.issuer {
				err = fmt.Errorf("%s is from %s", name, out.Issued.Issuer)
			}
			done <- err
		}()
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	failing := append(a.messages("ca-failing"), b.messages("ca-failing")...)
	if len(failing) != 1 || !strings.Contains(failing[0].Subject, best.issuer) {
		t.Errorf("%d messages about the CA that is down: %+v", len(failing), failing)
	}
	best.well()
	later := l.open("data", opening{ahead: 48 * time.Hour})
	later.from(t, best, "c.test")
	if n := len(later.messages("ca-recovered")); n != 1 {
		t.Errorf("%d messages that it serves again", n)
	}
	if n := len(later.messages("ca-failing")); n != 0 {
		t.Errorf("%d more messages about the same incident", n)
	}
}

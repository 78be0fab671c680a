package estserver_test

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"chancery/est"
	"chancery/internal/anchors"
	"chancery/internal/ca"
	"chancery/internal/certtest"
	"chancery/internal/estserver"
	"chancery/internal/limit"
)

// shown is one set of means that a client may come with; each is good by itself.
type shown struct {
	means  []estserver.Means
	client func(*world) *client
}

// everyShown lists all combinations that a client of HTTPS can show. The device, the
// maker's device and the users may all have dev1.example.
func everyShown(device, made *holder) []shown {
	certs := []struct {
		means  []estserver.Means
		holder *holder
	}{{nil, nil}, {[]estserver.Means{estserver.ByCertificate}, device}, {[]estserver.Means{estserver.ByMaker}, made}}
	logins := []struct {
		means          []estserver.Means
		user, password string
	}{{nil, "", ""}, {[]estserver.Means{estserver.ByPassword}, "alice", "standing"}, {[]estserver.Means{estserver.ByOneTime}, "bob", ""}}
	var all []shown
	for _, cert := range certs {
		for _, login := range logins {
			all = append(all, shown{slices.Concat(cert.means, login.means), func(w *world) *client {
				c := w.client(cert.holder)
				switch login.user {
				case "alice":
					c.login = w.basic("alice", "standing").login
				case "bob":
					password := ca.NewID()
					w.oneTime("bob", password, "*")
					c.login = w.basic("bob", password).login
				}
				return c
			}})
		}
	}
	return all
}

// TestWays tries every combination of what labels accept with everything that clients
// show, for both enrolments: exactly those get a certificate that meet a way.
func TestWays(t *testing.T) {
	const cert, made, password, oneTime = estserver.ByCertificate, estserver.ByMaker, estserver.ByPassword, estserver.ByOneTime
	ways := [][]estserver.Way{
		{{cert}}, {{made}}, {{password}}, {{oneTime}}, {{cert, password}}, {{made, oneTime}}, {{cert, oneTime}}, {{made, password}},
		{{cert}, {password}}, {{made}, {oneTime}}, {{cert}, {made}}, {{password}, {oneTime}}, {{cert}, {made, password}, {oneTime}},
	}
	var labels []estserver.Label
	for i, accept := range ways {
		l := plainLabel()
		l.Name, l.Accept, l.Makers, l.Names = fmt.Sprintf("way%d", i), accept, []string{"acme"}, []string{"own", "dev1.example", "CN=dev1"}
		labels = append(labels, l)
	}
	w := newWorld(t, nil, labels...)
	w.standing("alice", "standing", "*")
	device := w.certify("device", ca.Subject{CommonName: "dev1"}, "dev1.example")
	idevid := w.maker.device(t, pkix.Name{CommonName: "dev1", SerialNumber: "17"}, nil)
	tried := 0
	for i, accept := range ways {
		for _, show := range everyShown(device, idevid) {
			for _, op := range allOperations {
				tried++
				got := show.client(w).post(fmt.Sprintf("way%d/%s", i, op), asking("dev1", "dev1.example").der(t))
				taken := func(m estserver.Means) bool {
					return slices.ContainsFunc(accept, func(way estserver.Way) bool { return slices.Contains(way, m) })
				}
				// A password that is looked at has to count, whatever else is shown.
				wrong := slices.Contains(show.means, password) && !taken(password) && taken(oneTime) ||
					slices.Contains(show.means, oneTime) && !taken(oneTime) && taken(password)
				met := !wrong && slices.ContainsFunc(accept, func(way estserver.Way) bool {
					return !slices.ContainsFunc(way, func(m estserver.Means) bool { return !slices.Contains(show.means, m) })
				})
				if (got.StatusCode == http.StatusOK) != met {
					t.Errorf("%v accepts %v: %s for %v: %s", op, accept, got.Status, show.means, got.words())
				}
				if !met && got.StatusCode != http.StatusUnauthorized && got.StatusCode != http.StatusForbidden {
					t.Errorf("%v accepts %v: %s for %v", op, accept, got.Status, show.means)
				}
			}
		}
	}
	if tried != len(ways)*9*2 {
		t.Errorf("%d combinations were tried", tried)
	}
}

// TestPasswordIsAskedFor: a challenge comes where a password would help, and words
// where it would not.
func TestPasswordIsAskedFor(t *testing.T) {
	both, certOnly := plainLabel(), plainLabel()
	both.Name, both.Accept = "both", []estserver.Way{{estserver.ByCertificate, estserver.ByPassword}}
	certOnly.Name, certOnly.Accept = "cert", []estserver.Way{{estserver.ByCertificate}}
	w := newWorld(t, nil, plainLabel(), both, certOnly)
	w.standing("alice", "standing", "*")
	device := w.certify("device", ca.Subject{CommonName: "dev1"}, "dev1.example")
	ask := asking("dev1", "dev1.example").keyed(t).der(t)
	refused(t, w.client(nil).post("simpleenroll", ask), http.StatusUnauthorized)
	refused(t, w.client(nil).post("simpleenroll", nil), http.StatusUnauthorized) // curl --digest begins so
	refused(t, w.basic("alice", "wrong").post("simpleenroll", ask), http.StatusUnauthorized)
	refused(t, w.basic("nobody", "standing").post("simpleenroll", ask), http.StatusUnauthorized)
	refused(t, w.client(device).post("both/simpleenroll", ask), http.StatusUnauthorized)
	refused(t, w.basic("alice", "standing").post("both/simpleenroll", ask), http.StatusForbidden, "certificate+password")
	refused(t, w.client(nil).post("cert/simpleenroll", ask), http.StatusForbidden, "certificate")
	together := w.client(device)
	together.login = w.basic("alice", "standing").login
	cert := granted(t, together.post("both/simpleenroll", ask))
	if by := w.record(cert).By.ID; !strings.HasPrefix(by, "certificate:") || !strings.HasSuffix(by, "+user:alice") {
		t.Errorf("the identity is %q", by)
	}
	together.login = w.basic("alice", "wrong").login
	refused(t, together.post("simpleenroll", ask), http.StatusUnauthorized)
	together.login = "Bearer x"
	refused(t, together.post("simpleenroll", ask), http.StatusUnauthorized)
	together.login = "Basic ???"
	refused(t, together.post("simpleenroll", ask), http.StatusBadRequest, "Basic")
	// Where no password is taken, what comes as one is not looked at.
	together.login = w.basic("alice", "wrong").login
	granted(t, together.post("cert/simpleenroll", ask))
}

// TestEmptyUserName: a password alone authenticates (RFC 7030 §3.2.3).
func TestEmptyUserName(t *testing.T) {
	w := newWorld(t, nil, plainLabel())
	w.standing("", "of the house", "*.lab.example", "CN=*")
	cert := granted(t, w.basic("", "of the house").post("simpleenroll", asking("x", "x.lab.example").der(t)))
	if by := w.record(cert).By.ID; by != "user:" {
		t.Errorf("the identity is %q", by)
	}
	refused(t, w.basic("", "of another house").post("simpleenroll", asking("x", "x.lab.example").der(t)), http.StatusUnauthorized)
	refused(t, w.basic("alice", "of the house").post("simpleenroll", asking("x", "x.lab.example").der(t)), http.StatusUnauthorized)
	once := w.oneTime("", "only once", "*.lab.example", "CN=*")
	cert = granted(t, w.basic("some name", "only once").post("simpleenroll", asking("y", "y.lab.example").der(t)))
	if by := w.record(cert).By.ID; by != "one-time:"+once.ID {
		t.Errorf("the identity is %q", by)
	}
}

// TestCredentialsCount: only where and while they are meant to.
func TestCredentialsCount(t *testing.T) {
	other := plainLabel()
	other.Name = "other"
	w := newWorld(t, nil, plainLabel(), other)
	w.add(estserver.Credential{User: "here", Hash: estserver.HashPassword("p"), Names: []string{"*"}, Labels: []string{"other"}})
	w.add(estserver.Credential{User: "brief", Hash: estserver.HashPassword("p"), Names: []string{"*"}, Expires: w.now().Add(time.Hour)})
	w.standing("few", "p", "few.example")
	ask := asking("a", "a.example").der(t)
	granted(t, w.basic("here", "p").post("other/simpleenroll", ask))
	refused(t, w.basic("here", "p").post("simpleenroll", ask), http.StatusUnauthorized)
	granted(t, w.basic("brief", "p").post("simpleenroll", ask))
	w.pass(2 * time.Hour)
	refused(t, w.basic("brief", "p").post("simpleenroll", ask), http.StatusUnauthorized)
	refused(t, w.basic("few", "p").post("simpleenroll", ask), http.StatusForbidden, "a.example", `CN="a"`)
	granted(t, w.basic("few", "p").post("simpleenroll", asking("few.example", "few.example").der(t)))
	if log := w.log.String(); strings.Contains(log, "password=p") || !strings.Contains(log, "identity=user:few") {
		t.Errorf("the log says\n%s", log)
	}
}

// TestAttempts: who failed too often has to wait, with the right password, too, and
// nobody else has.
func TestAttempts(t *testing.T) {
	l, err := limit.New(limit.Rule{Name: "log-ins", Count: 3, Per: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, func(c *estserver.Config) { c.Attempts = l.Allow }, plainLabel())
	w.standing("alice", "right", "*")
	w.standing("bob", "right", "*")
	ask := asking("a", "a.example").der(t)
	for range 4 {
		refused(t, w.basic("alice", "wrong").post("simpleenroll", ask), http.StatusUnauthorized)
	}
	got := w.basic("alice", "right").post("simpleenroll", ask)
	refused(t, got, http.StatusTooManyRequests, "too many")
	if got.Header.Get("Retry-After") == "" {
		t.Error("nothing says when to come back")
	}
	granted(t, w.basic("bob", "right").post("simpleenroll", ask))
	w.pass(time.Hour)
	granted(t, w.basic("alice", "right").post("simpleenroll", ask))
}

// TestCertificatesThatDoNotCount get words with 403, never an alert: of another
// profile, revoked, expired, forged, unknown, a third party's.
func TestCertificatesThatDoNotCount(t *testing.T) {
	l := plainLabel()
	l.Accept = []estserver.Way{{estserver.ByCertificate}}
	other := plainLabel()
	other.Name, other.Profile, other.Accept = "other", "ldevid", l.Accept
	w := newWorld(t, nil, l, other)
	ask := asking("dev1", "dev1.example").der(t)
	good := w.certify("device", ca.Subject{CommonName: "dev1"}, "dev1.example")
	granted(t, w.client(good).post("simpleenroll", ask))
	refused(t, w.client(good).post("other/simpleenroll", ask), http.StatusForbidden, "profile device")
	refused(t, w.client(w.certify("tls-server", ca.Subject{}, "dev1.example")).post("simpleenroll", ask), http.StatusForbidden, "profile tls-server")
	refused(t, w.client(w.certify("ra", ca.Subject{CommonName: "RA"})).post("simpleenroll", ask), http.StatusForbidden, "profile ra")
	refused(t, w.client(w.maker.device(t, pkix.Name{CommonName: "dev1"}, nil)).post("simpleenroll", ask), http.StatusForbidden, "not issued by this authority")

	revoked := w.certify("device", ca.Subject{CommonName: "dev1"}, "dev1.example")
	w.revoke(revoked.cert)
	refused(t, w.client(revoked).post("simpleenroll", ask), http.StatusForbidden, "revoked on", "cessationOfOperation")
	refused(t, w.client(revoked).post("simplereenroll", like(revoked).der(t)), http.StatusForbidden, "revoked on")

	// Another authority of the very same name.
	refused(t, w.client(w.impostor("dev1")).post("simpleenroll", ask), http.StatusForbidden, "not issued by this authority")

	// Our very signature on what the ledger does not know.
	refused(t, w.client(w.forged("dev1")).post("simpleenroll", ask), http.StatusForbidden, "its ledger does not know it")

	w.pass(400 * 24 * time.Hour)
	refused(t, w.client(good).post("simpleenroll", ask), http.StatusForbidden, "expired on")
	refused(t, w.client(good).post("simplereenroll", like(good).der(t)), http.StatusForbidden, "expired on")
}

// impostor is a certificate by an authority that only has the name of ours.
func (w *world) impostor(cn string) *holder {
	w.t.Helper()
	return w.signed(cn, certtest.Key(w.t))
}

// forged is a certificate that somebody made with our authority's key, past the core.
func (w *world) forged(cn string) *holder {
	w.t.Helper()
	key, err := w.keys.Load(w.t.Context(), w.authority.Issuers().Line(ca.DefaultLine, w.now()).Key)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.signed(cn, key)
}

func (w *world) signed(cn string, key crypto.Signer) *holder {
	w.t.Helper()
	ours, own := parse(w.t, w.authority.Issuers().Line(ca.DefaultLine, w.now()).Certs[0]), certtest.Key(w.t)
	issuer := &x509.Certificate{RawSubject: ours.RawSubject, SubjectKeyId: ours.SubjectKeyId, PublicKey: key.Public()}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(77), Subject: pkix.Name{CommonName: cn},
		NotBefore: w.now().Add(-time.Hour), NotAfter: w.now().Add(time.Hour)}, issuer, own.Public(), key)
	if err != nil {
		w.t.Fatal(err)
	}
	return &holder{key: own, cert: parse(w.t, der)}
}

// TestRevokedCertificateBesideAPassword: what does not count is no identity, and the
// password's is left.
func TestRevokedCertificateBesideAPassword(t *testing.T) {
	w := newWorld(t, nil, plainLabel())
	w.standing("alice", "p", "*")
	device := w.certify("device", ca.Subject{CommonName: "dev1"}, "dev1.example")
	w.revoke(device.cert)
	c := w.client(device)
	ask := asking("dev1", "dev1.example").der(t)
	refused(t, c.post("simpleenroll", ask), http.StatusUnauthorized)
	c.login = w.basic("alice", "p").login
	if by := w.record(granted(t, c.post("simpleenroll", ask))).By.ID; by != "user:alice" {
		t.Errorf("the identity is %q", by)
	}
}

// TestExplicitAndImplicit: what a third party's certificate says of itself, our
// subject or id-kp-cmcRA, makes it nothing but that (RFC 7030 §3.3.2, §3.7).
func TestExplicitAndImplicit(t *testing.T) {
	l := plainLabel()
	l.Accept = append([]estserver.Way{{estserver.ByMaker}}, anyWay...)
	l.Makers, l.RAs, l.RANames = []string{"acme"}, []string{"ra"}, []string{"*"}
	w := newWorld(t, nil, l)
	device := w.certify("device", ca.Subject{CommonName: "dev1", SerialNumber: "17"})
	twin := w.maker.device(t, pkix.Name{}, func(c *x509.Certificate) { c.RawSubject = device.cert.RawSubject })
	// Its names are its own, so that it may enrol with them. But it is not the holder of
	// our certificate, so it renews nothing … unless policy gives it the names anyway.
	foreign := w.certify("device", ca.Subject{CommonName: "dev1", SerialNumber: "17"}, "dev1.example")
	other := w.maker.device(t, pkix.Name{}, func(c *x509.Certificate) { c.RawSubject = foreign.cert.RawSubject })
	refused(t, w.client(other).post("simplereenroll", like(foreign).der(t)), http.StatusForbidden, "no valid certificate")
	if cert := granted(t, w.client(twin).post("simpleenroll", like(device).der(t))); !strings.HasPrefix(w.record(cert).By.ID, "maker:acme:") {
		t.Errorf("the identity is %q", w.record(cert).By.ID)
	}
	ra := w.maker.device(t, pkix.Name{CommonName: "RA"}, func(c *x509.Certificate) {
		c.UnknownExtKeyUsage = []asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 28}}
	})
	refused(t, w.client(ra).post("simpleenroll", asking("x", "x.example").der(t)), http.StatusForbidden, "may not ask")
	own := w.certify("ra", ca.Subject{CommonName: "RA"})
	cert := granted(t, w.client(own).post("simpleenroll", asking("x", "x.example").der(t)))
	if text := w.evidence(cert); !strings.Contains(text, "registration-authority") {
		t.Errorf("the evidence is %q", text)
	}
}

// evidence gives what the intent's event says of why.
func (w *world) evidence(cert *x509.Certificate) string { return w.detail(cert)["evidence"] }

// TestMakersDevices: as makers ship them (E3).
func TestMakersDevices(t *testing.T) {
	l := plainLabel()
	l.Profile, l.Accept, l.Makers = "ldevid", []estserver.Way{{estserver.ByMaker}}, []string{"acme"}
	l.Names = []string{"own", "{serial}.iot.example", "CN={serial}"}
	off := l
	off.Name, off.Accept, off.Makers = "off", []estserver.Way{{estserver.ByCertificate}}, nil
	w := newWorld(t, nil, l, off)
	device := w.maker.device(t, pkix.Name{SerialNumber: "A1234"}, nil)
	ask := asking("A1234", "a1234.iot.example").der(t)
	cert := granted(t, w.client(device).post("simpleenroll", ask))
	if cert.Subject.CommonName != "A1234" {
		t.Error(cert.Subject)
	}
	refused(t, w.client(device).post("simpleenroll", asking("A1234", "b1234.iot.example").der(t)), http.StatusForbidden, "b1234.iot.example")
	refused(t, w.client(device).post("off/simpleenroll", ask), http.StatusForbidden)
	stranger := newMaker(t).device(t, pkix.Name{SerialNumber: "A1234"}, nil)
	refused(t, w.client(stranger).post("simpleenroll", ask), http.StatusForbidden, "acme devices")
	hardware := wish{Request: est.Request{SubjectName: pkix.Name{SerialNumber: "A1234"}}}
	granted(t, w.client(device).post("simpleenroll", hardware.der(t)))
}

// TestMakersWordIsLast: whose roots stand above a device refuses it, and no laxer
// anchors make that good; those that do not know it are passed over.
func TestMakersWordIsLast(t *testing.T) {
	l := plainLabel()
	l.Accept, l.Makers = []estserver.Way{{estserver.ByMaker}}, []string{"other", "strict", "acme"}
	lax := l
	lax.Name, lax.Makers = "lax", []string{"other", "acme"}
	w := newWorld(t, nil, plainLabel())
	for name, c := range map[string]anchors.Config{
		"other":  {Name: "other", Roots: []*x509.Certificate{newMaker(t).root}},
		"strict": {Name: "strict", Roots: []*x509.Certificate{w.maker.root}, Revocation: anchors.CRL, CRLs: []string{"http://127.0.0.1:1/crl"}},
	} {
		set, err := anchors.New(c)
		if err != nil {
			t.Fatal(err)
		}
		w.config.Makers[name] = set
	}
	w.config.Labels = []estserver.Label{l, lax}
	device := w.client(w.maker.device(t, pkix.Name{CommonName: "dev1"}, nil))
	device.front = w.serve(w.another().Handler())
	got := device.post("simpleenroll", asking("dev1").der(t))
	refused(t, got, http.StatusServiceUnavailable, `"strict"`, "now")
	if got.Header.Get("Retry-After") == "" {
		t.Error("nothing says when to come back")
	}
	granted(t, device.post("lax/simpleenroll", asking("dev1").der(t)))

	// The same beside a password, with which it counts for nothing.
	l.Name, l.Accept = "either", []estserver.Way{{estserver.ByMaker}, {estserver.ByPassword}}
	w.config.Labels = append(w.config.Labels, l)
	w.standing("alice", "p", "*", "CN=*")
	device.front = w.serve(w.another().Handler())
	refused(t, device.post("either/simpleenroll", asking("dev1").der(t)), http.StatusServiceUnavailable, `"strict"`)
	device.login = w.basic("alice", "p").login
	granted(t, device.post("either/simpleenroll", asking("dev1").der(t)))
}

// TestSpraying: who fails with one user after the other has to wait as well, and with him
// all users of his address.
func TestSpraying(t *testing.T) {
	rule := func(count int) estserver.Limit {
		l, err := limit.New(limit.Rule{Name: "log-ins", Count: count, Per: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		return l.Allow
	}
	w := newWorld(t, func(c *estserver.Config) { c.Attempts, c.AddressAttempts = rule(3), rule(5) }, plainLabel())
	w.standing("alice", "right", "*")
	ask := asking("a", "a.example").der(t)
	for i := range 6 {
		refused(t, w.basic(fmt.Sprint("user", i), "Summer2026").post("simpleenroll", ask), http.StatusUnauthorized)
	}
	refused(t, w.basic("alice", "right").post("simpleenroll", ask), http.StatusTooManyRequests, "too many")
	w.pass(time.Hour)
	granted(t, w.basic("alice", "right").post("simpleenroll", ask))
}

// TestUsualRefusals: what happens in the course of every good enrolment is no line of the
// log, but for debugging; what a person should look at is one.
func TestUsualRefusals(t *testing.T) {
	w := newWorld(t, nil, plainLabel())
	w.standing("alice", "right", "*")
	ask := asking("a", "a.example").der(t)
	usual := func() {
		refused(t, w.client(nil).post("simpleenroll", ask), http.StatusUnauthorized)
		refused(t, w.client(nil).get("csrattrs"), http.StatusNotFound)
	}
	const line = "an EST request was refused"
	if usual(); strings.Contains(w.log.String(), line) {
		t.Errorf("the log says\n%s", w.log)
	}
	for name, do := range map[string]func(){
		"a wrong password": func() { refused(t, w.basic("alice", "wrong").post("simpleenroll", ask), http.StatusUnauthorized) },
		"a strange certificate": func() {
			refused(t, w.client(w.maker.device(t, pkix.Name{CommonName: "x"}, nil)).post("simpleenroll", ask), http.StatusUnauthorized)
		},
		"an operation of no use": func() { refused(t, w.client(nil).post("serverkeygen", ask), http.StatusNotImplemented) },
		"a scheme that is not on": func() {
			c := w.client(nil)
			c.header = http.Header{"Authorization": {"Bearer x"}}
			refused(t, c.post("simpleenroll", ask), http.StatusUnauthorized)
		},
	} {
		w.log.reset()
		if do(); strings.Count(w.log.String(), line) != 1 {
			t.Errorf("%s: the log says\n%s", name, w.log)
		}
	}
	w.config.Logger = slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	w.front = w.serve(w.another().Handler())
	w.log.reset()
	if usual(); strings.Count(w.log.String(), line) != 2 {
		t.Errorf("for debugging the log says\n%s", w.log)
	}
}

package estserver_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"net/http"
	"testing"
	"time"

	"chancery/est"
	"chancery/internal/ca"
	"chancery/internal/certtest"
	"chancery/internal/estserver"
)

// TestReenroll: renewed with the same key, rekeyed with another, both recorded, and
// the old certificate stays good (RFC 7030 §4.2.2).
func TestReenroll(t *testing.T) {
	w := newWorld(t, nil, plainLabel())
	device := w.certify("device", ca.Subject{CommonName: "dev1", Organization: "Works"}, "b.example", "a.example")
	cert := granted(t, w.client(device).post("simplereenroll", like(device).der(t)))
	serial := string(ca.SerialOf(device.cert.SerialNumber))
	if d := w.detail(cert); d["change"] != "renew" || d["renews"] != serial || d["operation"] != "simplereenroll" {
		t.Errorf("%v", d)
	}
	rekey := like(device)
	rekey.key, rekey.RawSAN, rekey.DNSNames = certtest.Key(t), nil, []string{"a.example", "B.EXAMPLE"} // another order and case
	cert = granted(t, w.client(device).post("simplereenroll", rekey.der(t)))
	if d := w.detail(cert); d["change"] != "rekey" || d["renews"] != serial {
		t.Errorf("%v", d)
	}
	if r := w.record(device.cert); !r.RevokedAt.IsZero() {
		t.Error("the old certificate was revoked")
	}
	for name, edit := range map[string]func(*wish){
		"one name more":  func(a *wish) { a.RawSAN, a.DNSNames = nil, []string{"a.example", "b.example", "c.example"} },
		"one name fewer": func(a *wish) { a.RawSAN, a.DNSNames = nil, []string{"a.example"} },
		"no names":       func(a *wish) { a.RawSAN = nil },
		"another name":   func(a *wish) { a.RawSAN, a.DNSNames = nil, []string{"a.example", "c.example"} },
		"another subject": func(a *wish) {
			a.Subject, a.SubjectName = nil, pkix.Name{CommonName: "dev2", Organization: []string{"Works"}}
		},
		"less subject": func(a *wish) { a.Subject, a.SubjectName = nil, pkix.Name{CommonName: "dev1"} },
		"no subject":   func(a *wish) { a.Subject = nil },
	} {
		ask := like(device)
		edit(&ask)
		if got := w.client(device).post("simplereenroll", ask.der(t)); got.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %s", name, got.Status)
		}
	}
}

// TestReenrollByName: without the certificate itself, by another of the same subject and
// the same alternative names, or by a user whom the names are given to, and by nobody else
// (RFC 7030 §2.3, §3.3.2).
func TestReenrollByName(t *testing.T) {
	l := plainLabel()
	l.Holders = []string{"device", "ldevid"}
	w := newWorld(t, nil, l)
	w.standing("alice", "p", "x.example", "CN=x")
	w.standing("bob", "p", "bob.example")
	lost := granted(t, w.basic("alice", "p").post("simpleenroll", asking("x", "x.example").der(t)))
	ask := like(&holder{key: certtest.Key(t), cert: lost})
	cert := granted(t, w.basic("alice", "p").post("simplereenroll", ask.der(t)))
	if d := w.detail(cert); d["renews"] != string(ca.SerialOf(lost.SerialNumber)) {
		t.Errorf("%v", d)
	}
	refused(t, w.basic("bob", "p").post("simplereenroll", ask.der(t)), http.StatusForbidden, "no valid certificate")
	refused(t, w.basic("alice", "p").post("simplereenroll", asking("y", "x.example").der(t)), http.StatusForbidden, "no valid certificate")

	// Another certificate of the same names, of a profile that the label takes.
	second := w.certify("ldevid", ca.Subject{CommonName: "x"}, "x.example")
	if d := w.detail(granted(t, w.client(second).post("simplereenroll", ask.der(t)))); d["renews"] == "" {
		t.Errorf("%v", d)
	}
	for _, cn := range []string{"z", "x"} { // the subject alone is not enough
		third := w.certify("ldevid", ca.Subject{CommonName: cn})
		refused(t, w.client(third).post("simplereenroll", ask.der(t)), http.StatusForbidden, "has not the names of your certificate")
	}

	// Once it is revoked there is nothing to renew.
	records, err := w.store.Renewable(t.Context(), estserver.Renewal{Subject: "CN=x", Names: w.record(lost).Names, Profiles: []string{"device"}, After: w.now()})
	if err != nil || len(records) != 3 {
		t.Fatalf("%d records, %v", len(records), err)
	}
	for _, r := range records {
		w.revoke(parse(t, r.DER))
	}
	refused(t, w.basic("alice", "p").post("simplereenroll", ask.der(t)), http.StatusForbidden, "no valid certificate")
}

// TestReenrollOfAnothers: two devices of one owner have his name as their subject, and
// neither gets, or has revoked, what is the other's. What patterns let it enrol, it may
// renew, and the other keeps its certificate.
func TestReenrollOfAnothers(t *testing.T) {
	l, open := plainLabel(), plainLabel()
	l.RevokeOld = true
	open.Name, open.RevokeOld, open.Names = "open", true, []string{"own", "*.example"}
	w := newWorld(t, nil, l, open)
	w.standing("fleet", "p", "*.example", "O=Works")
	a := w.certify("device", ca.Subject{Organization: "Works"}, "a.example")
	b := w.certify("device", ca.Subject{Organization: "Works"}, "b.example")
	ask := like(b).keyed(t)
	refused(t, w.client(a).post("simplereenroll", ask.der(t)), http.StatusForbidden, "has not the names of your certificate")
	refused(t, w.client(a).post("simpleenroll", ask.der(t)), http.StatusForbidden, "b.example")
	for _, c := range []*client{w.client(a), w.basic("fleet", "p")} {
		if d := w.detail(granted(t, c.post("open/simplereenroll", ask.der(t)))); d["renews"] == "" {
			t.Errorf("%v", d)
		}
	}
	if r := w.record(b.cert); !r.RevokedAt.IsZero() {
		t.Error("somebody else had the certificate revoked")
	}
	granted(t, w.client(b).post("simplereenroll", like(b).der(t)))
	if r := w.record(b.cert); r.Reason != ca.Superseded {
		t.Errorf("its holder did not: %+v", r)
	}
}

// TestReenrollByPassword: a password that several have opens nobody's names to the
// others, be it beside a maker's certificate, or one of several that one user has.
func TestReenrollByPassword(t *testing.T) {
	l, line := plainLabel(), plainLabel()
	l.Makers, l.Accept = []string{"acme"}, []estserver.Way{{estserver.ByMaker, estserver.ByPassword}}
	line.Name = "line"
	w := newWorld(t, nil, l, line)
	w.standing("fleet", "p")
	device := func(cn string) *client {
		c := w.basic("fleet", "p")
		c.holder = w.maker.device(t, pkix.Name{CommonName: cn}, func(c *x509.Certificate) { c.DNSNames = []string{cn + ".example"} })
		return c
	}
	a, b := device("a"), device("b")
	granted(t, a.post("simpleenroll", like(a.holder).der(t)))
	refused(t, b.post("simpleenroll", like(a.holder).keyed(t).der(t)), http.StatusForbidden, "a.example")
	refused(t, b.post("simplereenroll", like(a.holder).keyed(t).der(t)), http.StatusForbidden, "no valid certificate")
	if d := w.detail(granted(t, a.post("simplereenroll", like(a.holder).keyed(t).der(t)))); d["renews"] == "" {
		t.Errorf("%v", d)
	}

	w.oneTime("line-3", "password-of-a", "a.example")
	w.oneTime("line-3", "password-of-b", "b.example")
	granted(t, w.basic("line-3", "password-of-a").post("line/simpleenroll", asking("", "a.example").der(t)))
	for _, op := range []string{"simpleenroll", "simplereenroll"} {
		if got := w.basic("line-3", "password-of-b").post("line/"+op, asking("", "a.example").der(t)); got.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %s", op, got.Status)
		}
	}
	granted(t, w.basic("line-3", "password-of-b").post("line/simpleenroll", asking("", "b.example").der(t)))
}

// TestReenrollExpired: where policy gives a time of grace, for re-enrolment alone.
func TestReenrollExpired(t *testing.T) {
	l := plainLabel()
	l.ExpiredGrace = 30 * 24 * time.Hour
	w := newWorld(t, nil, l)
	device := w.certify("device", ca.Subject{CommonName: "dev1"}, "dev1.example")
	w.pass(370 * 24 * time.Hour)
	refused(t, w.client(device).post("simpleenroll", like(device).der(t)), http.StatusUnauthorized)
	granted(t, w.client(device).post("simplereenroll", like(device).der(t)))
	w.pass(30 * 24 * time.Hour)
	c := w.client(device)
	refused(t, c.post("simplereenroll", like(device).der(t)), http.StatusUnauthorized)
}

// TestReenrollSupersedes where policy says so, and then for good.
func TestReenrollSupersedes(t *testing.T) {
	l := plainLabel()
	l.RevokeOld, l.Accept = true, []estserver.Way{{estserver.ByCertificate}}
	w := newWorld(t, nil, l)
	device := w.certify("device", ca.Subject{CommonName: "dev1"}, "dev1.example")
	granted(t, w.client(device).post("simplereenroll", like(device).der(t)))
	if r := w.record(device.cert); r.Reason != ca.Superseded || r.RevokedAt.IsZero() {
		t.Errorf("%+v", r)
	}
	refused(t, w.client(device).post("simplereenroll", like(device).der(t)), http.StatusForbidden, "superseded")
}

func rawName(t *testing.T, n pkix.Name) []byte {
	t.Helper()
	der, err := asn1.Marshal(n.ToRDNSequence())
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func rawSAN(t *testing.T, names ...string) []byte {
	t.Helper()
	der, err := est.Request{DNSNames: names}.SAN()
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// TestChangeSubjectName: the request keeps the old names and the attribute has the
// new; an absent field is nothing (RFC 6402 §2.8); within policy, where it is on.
func TestChangeSubjectName(t *testing.T) {
	l, off := plainLabel(), plainLabel()
	l.ChangeSubject, l.Names, l.Makers = true, []string{"own", "*.new.example", "CN=new-*"}, []string{"acme"}
	l.Accept = append([]estserver.Way{{estserver.ByMaker}}, anyWay...)
	off.Name = "off"
	w := newWorld(t, nil, l, off)
	device := w.certify("device", ca.Subject{CommonName: "dev1"}, "dev1.example")
	change := func(c est.NameChange) []byte {
		a, err := c.Attribute()
		if err != nil {
			t.Fatal(err)
		}
		return like(device).with(a).der(t)
	}
	all := change(est.NameChange{Subject: rawName(t, pkix.Name{CommonName: "new-1"}), SAN: rawSAN(t, "a.new.example")})
	cert := granted(t, w.client(device).post("simplereenroll", all))
	if cert.Subject.CommonName != "new-1" || len(cert.DNSNames) != 1 || cert.DNSNames[0] != "a.new.example" {
		t.Errorf("%v %v", cert.Subject, cert.DNSNames)
	}
	if d := w.detail(cert); d["changed_from"] != "CN=dev1" || d["renews"] == "" {
		t.Errorf("%v", d)
	}
	cert = granted(t, w.client(device).post("simplereenroll", change(est.NameChange{SAN: rawSAN(t, "a.new.example", "dev1.example")})))
	if len(cert.Subject.Names) != 0 || len(cert.DNSNames) != 2 {
		t.Errorf("%v %v", cert.Subject, cert.DNSNames)
	}
	cert = granted(t, w.client(device).post("simplereenroll", change(est.NameChange{Subject: rawName(t, pkix.Name{CommonName: "new-2"})})))
	if cert.Subject.CommonName != "new-2" || len(cert.DNSNames) != 0 {
		t.Errorf("%v %v", cert.Subject, cert.DNSNames)
	}
	refused(t, w.client(device).post("simplereenroll", change(est.NameChange{SAN: rawSAN(t, "a.elsewhere.example")})), http.StatusForbidden, "a.elsewhere.example")
	refused(t, w.client(device).post("off/simplereenroll", all), http.StatusForbidden, "ChangeSubjectName")
	refused(t, w.client(device).post("simpleenroll", all), http.StatusForbidden, "4.2.1")

	// Enrolment with a maker's certificate, whose names cannot be certified here.
	made := w.maker.device(t, pkix.Name{CommonName: "idevid", SerialNumber: "17"}, func(c *x509.Certificate) {
		c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: []byte{0x30, 0x05, 0x88, 0x03, 0x2a, 0x03, 0x04}}} // a registeredID
	})
	a, err := est.NameChange{Subject: rawName(t, pkix.Name{CommonName: "new-17"}), SAN: rawSAN(t, "d17.new.example")}.Attribute()
	if err != nil {
		t.Fatal(err)
	}
	first := like(made).with(a)
	first.key = certtest.Key(t)
	cert = granted(t, w.client(made).post("simpleenroll", first.der(t)))
	if cert.Subject.CommonName != "new-17" || cert.DNSNames[0] != "d17.new.example" {
		t.Errorf("%v %v", cert.Subject, cert.DNSNames)
	}
	first.Subject = rawName(t, pkix.Name{CommonName: "somebody else"})
	refused(t, w.client(made).post("simpleenroll", first.der(t)), http.StatusForbidden, "RFC 6402")
}

// TestQuota bounds what one identity gets, and no registration authority.
func TestQuota(t *testing.T) {
	l := plainLabel()
	l.Quota, l.QuotaPer, l.RAs, l.RANames = 2, time.Hour, []string{"ra"}, []string{"*"}
	w := newWorld(t, nil, l)
	w.standing("alice", "p", "*")
	ask := asking("a", "a.example").der(t)
	granted(t, w.basic("alice", "p").post("simpleenroll", ask))
	granted(t, w.basic("alice", "p").post("simpleenroll", ask))
	got := w.basic("alice", "p").post("simpleenroll", ask)
	refused(t, got, http.StatusTooManyRequests, "2 certificates")
	if got.Header.Get("Retry-After") != "1800" {
		t.Errorf("Retry-After is %q", got.Header.Get("Retry-After"))
	}
	ra := w.client(w.certify("ra", ca.Subject{CommonName: "RA"}))
	for range 3 {
		granted(t, ra.post("simpleenroll", ask))
	}
	w.pass(2 * time.Hour)
	granted(t, w.basic("alice", "p").post("simpleenroll", ask))
}

// TestQuotaOverRenewals: a certificate's holder is the same whichever certificate it
// shows, and in whichever order its names come; another with the same subject is another.
func TestQuotaOverRenewals(t *testing.T) {
	l := plainLabel()
	l.Quota, l.QuotaPer = 2, 24*time.Hour
	w := newWorld(t, nil, l)
	device := w.certify("device", ca.Subject{CommonName: "dev1"}, "a.example", "b.example")
	renew := func(edit func(*wish)) *reply {
		ask := like(device).keyed(t)
		edit(&ask)
		got := w.client(device).post("simplereenroll", ask.der(t))
		if got.StatusCode == http.StatusOK {
			device = &holder{key: ask.key, cert: granted(t, got)}
		}
		return got
	}
	granted(t, renew(func(*wish) {}))
	before := w.record(device.cert).By
	granted(t, renew(func(a *wish) { a.RawSAN, a.DNSNames = nil, []string{"b.example", "a.example"} }))
	if by := w.record(device.cert).By; by != before {
		t.Errorf("it was %v and is %v", before, by)
	}
	if d := w.detail(device.cert); d["client_certificate"] == "" || d["client_certificate"] != d["renews"] {
		t.Errorf("%v", d)
	}
	refused(t, renew(func(*wish) {}), http.StatusTooManyRequests, "2 certificates")
	other := w.certify("device", ca.Subject{CommonName: "dev1"}, "c.example")
	granted(t, w.client(other).post("simplereenroll", like(other).der(t)))
}

// TestPendingLimitOverRenewals: nor do the requests of a holder that wait begin anew.
func TestPendingLimitOverRenewals(t *testing.T) {
	l := manualLabel()
	l.PendingLimit = 1
	w := newWorld(t, nil, l)
	device := w.certify("device", ca.Subject{CommonName: "dev1"}, "dev1.example")
	w.waits(w.client(device).post("simpleenroll", asking("one", "one.example").der(t)))
	ask := like(device).keyed(t)
	next := &holder{key: ask.key, cert: granted(t, w.client(device).post("simplereenroll", ask.der(t)))}
	refused(t, w.client(next).post("simpleenroll", asking("two", "two.example").der(t)), http.StatusTooManyRequests)
}

// TestCostOfAnEnrolment holds what a device's enrolment costs: two durable writes
// (intent and settlement) and few reads.
func TestCostOfAnEnrolment(t *testing.T) {
	w := newWorld(t, nil, plainLabel())
	device := w.client(w.certify("device", ca.Subject{CommonName: "dev1"}, "dev1.example"))
	cost := func(path string, der []byte) (writes, reads uint64) {
		before := w.db.Stats()
		granted(t, device.post(path, der))
		after := w.db.Stats()
		return after.Batches - before.Batches, after.Queries - before.Queries
	}
	if writes, reads := cost("simpleenroll", asking("dev1", "dev1.example").der(t)); writes != 2 || reads != 1 {
		t.Errorf("an enrolment cost %d writes and %d reads; want 2 and 1", writes, reads)
	}
	if writes, reads := cost("simplereenroll", like(device.holder).der(t)); writes != 2 || reads != 1 {
		t.Errorf("a re-enrolment cost %d writes and %d reads; want 2 and 1", writes, reads)
	}
}

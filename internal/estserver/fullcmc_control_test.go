package estserver_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"chancery/cms"
	"chancery/cms/cmc"
	"chancery/est"
	"chancery/internal/ca"
	"chancery/internal/estserver"
)

func revocationOf(c *x509.Certificate, reason int, secret string) cmc.RevokeRequest {
	v := cmc.RevokeRequest{Issuer: c.RawIssuer, Serial: c.SerialNumber, Reason: reason}
	if secret != "" {
		v.Secret = cmc.Secret(secret)
	}
	return v
}

// TestFullCMCRevokes: by the key, by who got it, by its secret, by an RA that could enrol
// it; not by others.
func TestFullCMCRevokes(t *testing.T) {
	w := newCMCWorld(t, cmcLabel(func(l *estserver.Label) { l.RAs, l.RANames = []string{"ra"}, []string{"*.iot.example"} }))
	w.shares("alice", "correct horse", "*.alice.example")
	w.sharesOnce("once", "good once", "*.once.example")
	got := func(user, secret, name string) *holder {
		l := newLetter(t).numbered()
		k := of(t, "", name)
		l.pkcs10(k)
		return &holder{key: k.key, cert: w.ask(l.byKey(k.key).proving(user, secret)).granted(k.key)}
	}
	mine, other, third, once := got("alice", "correct horse", "a.alice.example"), got("alice", "correct horse", "b.alice.example"), got("alice", "correct horse", "c.alice.example"), got("once", "good once", "o.once.example")
	ra := w.certify("ra", ca.Subject{CommonName: "ra"})
	pump, organised := w.certify("device", ca.Subject{}, "pump.iot.example"), w.certify("device", ca.Subject{Organization: "Works"}, "pump.iot.example")
	revoked := func(h *holder) bool { return !w.record(h.cert).RevokedAt.IsZero() }

	id := cmc.BodyPartID(1)
	w.ask(newLetter(t, revocationOf(w.device.cert, 1, "")).by(mine)).refused(http.StatusForbidden, cmc.BadIdentity, id)
	w.ask(newLetter(t, revocationOf(mine.cert, 1, ""))).refused(http.StatusForbidden, cmc.BadIdentity, id)
	w.ask(newLetter(t, revocationOf(mine.cert, 1, "wrong"))).refused(http.StatusForbidden, cmc.BadIdentity, id)
	w.ask(newLetter(t, revocationOf(mine.cert, 1, "good once"))).refused(http.StatusForbidden, cmc.BadIdentity, id)
	w.ask(newLetter(t, revocationOf(mine.cert, 8, "")).by(mine)).refused(http.StatusBadRequest, cmc.BadRequest, id)
	wrong := revocationOf(mine.cert, 1, "")
	wrong.Serial = big.NewInt(42)
	w.ask(newLetter(t, wrong).by(mine)).refused(http.StatusNotFound, cmc.BadCertID, id)
	wrong = revocationOf(mine.cert, 1, "")
	wrong.Issuer = mine.cert.RawSubject
	w.ask(newLetter(t, wrong).by(mine)).refused(http.StatusNotFound, cmc.BadCertID, id)
	for _, others := range []*holder{w.device, mine, organised} {
		w.ask(newLetter(t, revocationOf(others.cert, 3, "")).by(ra)).refused(http.StatusForbidden, cmc.BadIdentity, id)
	}
	if revoked(mine) || revoked(w.device) || revoked(organised) {
		t.Fatal("revoked without right")
	}

	w.ask(newLetter(t, revocationOf(mine.cert, 1, "")).by(mine)).granted(nil)
	w.ask(newLetter(t, revocationOf(other.cert, 4, "correct horse"))).granted(nil)
	w.ask(newLetter(t, revocationOf(once.cert, 0, "good once"))).granted(nil)
	w.ask(newLetter(t, revocationOf(third.cert, 5, "")).numbered().proving("alice", "correct horse")).granted(nil)
	w.ask(newLetter(t, revocationOf(pump.cert, 3, "")).by(ra)).granted(nil)
	for h, reason := range map[*holder]ca.Reason{mine: 1, other: 4, once: 0, third: 5, pump: 3} {
		if !revoked(h) || w.record(h.cert).Reason != reason {
			t.Errorf("%v is not revoked as %v", h.cert.DNSNames, reason)
		}
	}
	// Once more is no fault.
	w.ask(newLetter(t, revocationOf(pump.cert, 3, "")).by(ra)).granted(nil)
}

// TestFullCMCWaits: approval with the state of simpleenroll's, asked for by the token.
func TestFullCMCWaits(t *testing.T) {
	w := newCMCWorld(t, func() estserver.Label {
		l := cmcLabel(nil)
		l.Manual, l.PendingLife, l.RetryAfter, l.Names = true, 24*time.Hour, 90*time.Second, nil
		return l
	}())
	w.shares("alice", "correct horse")
	for _, crmf := range []bool{false, true} {
		name := map[bool]string{true: "crmf.corp.example", false: "p10.corp.example"}[crmf]
		k := of(t, "", name)
		send := func() *told {
			l := newLetter(t).numbered()
			if crmf {
				l.crmf(k, nil)
			} else {
				l.pkcs10(k)
			}
			return w.ask(l.by(w.device))
		}
		a := send()
		if a.StatusCode != http.StatusAccepted || a.Header.Get("Retry-After") != "90" || a.statuses[0].Status != cmc.Pending || a.statuses[0].Pend == nil {
			t.Fatalf("%s: %s", a.Status, a)
		}
		token := a.statuses[0].Pend.Token
		if again := send(); again.StatusCode != http.StatusAccepted || !bytes.Equal(again.statuses[0].Pend.Token, token) {
			t.Fatalf("a repeat is another request: %s", again)
		}
		if a.statuses[0].Pend.Time.Before(w.now().Add(time.Minute)) {
			t.Errorf("ask again at %v", a.statuses[0].Pend.Time)
		}
		poll := func(l *letter) *told { return w.ask(l) }
		if a := poll(newLetter(t, cmc.QueryPending(token)).numbered().by(w.device)); a.StatusCode != http.StatusAccepted || !bytes.Equal(a.statuses[0].Pend.Token, token) {
			t.Fatalf("%s: %s", a.Status, a)
		}
		// Another's, an unknown one and nobody's.
		poll(newLetter(t, cmc.QueryPending(token)).numbered().proving("alice", "correct horse")).refused(http.StatusBadRequest, cmc.BadRequest, 1)
		poll(newLetter(t, cmc.QueryPending(ca.NewID())).by(w.device)).refused(http.StatusBadRequest, cmc.BadRequest, 1)
		poll(newLetter(t, cmc.QueryPending("x")).by(w.device)).refused(http.StatusBadRequest, cmc.BadRequest, 1)
		poll(newLetter(t, cmc.QueryPending(token))).refused(http.StatusForbidden, cmc.BadIdentity, 1)
		w.decide(string(token), estserver.Approved, "")
		first := poll(newLetter(t, cmc.QueryPending(token)).numbered().by(w.device)).granted(k.key)
		if second := send().granted(k.key); !second.Equal(first) || first.DNSNames[0] != name {
			t.Error("a repeat got another certificate")
		}
	}
	l := newLetter(t)
	k := of(t, "", "no.corp.example")
	l.pkcs10(k)
	a := w.ask(l.by(w.device))
	w.decide(string(a.statuses[0].Pend.Token), estserver.Refused, "not yours")
	got := w.ask(newLetter(t, cmc.QueryPending(a.statuses[0].Pend.Token)).by(w.device))
	got.refused(http.StatusForbidden, cmc.BadRequest, 1)
	if !strings.Contains(got.String(), "not yours") {
		t.Errorf("the reason is missing: %s", got)
	}
}

// TestFullCMCLooksUp certificates and CRLs.
func TestFullCMCLooksUp(t *testing.T) {
	w := newCMCWorld(t, cmcLabel(nil))
	if _, err := w.authority.RefreshCRLs(context.Background()); err != nil {
		t.Fatal(err)
	}
	general := append([]byte{0xA4, 0x81, byte(len(w.device.cert.RawIssuer))}, w.device.cert.RawIssuer...)
	if len(w.device.cert.RawIssuer) < 128 {
		general = append([]byte{0xA4, byte(len(w.device.cert.RawIssuer))}, w.device.cert.RawIssuer...)
	}
	other := w.certify("device", ca.Subject{CommonName: "thing 9"}, "thing-9.iot.example")
	a := w.ask(newLetter(t, cmc.GetCert{Issuer: general, Serial: other.cert.SerialNumber}).by(w.device))
	a.granted(other.key)
	w.ask(newLetter(t, cmc.GetCert{Issuer: general, Serial: big.NewInt(7)}).by(w.device)).refused(http.StatusNotFound, cmc.BadCertID, 1)
	w.ask(newLetter(t, cmc.GetCert{Issuer: []byte{0x82, 1, 'a'}, Serial: other.cert.SerialNumber}).by(w.device)).refused(http.StatusNotFound, cmc.BadCertID, 1)
	w.ask(newLetter(t, cmc.GetCert{Issuer: general, Serial: other.cert.SerialNumber})).refused(http.StatusForbidden, cmc.BadIdentity, 1)

	issuer := w.authority.Issuers().Line(ca.DefaultLine, w.now()).Certificate()
	a = w.ask(newLetter(t, cmc.GetCRL{Issuer: issuer.RawSubject}).by(w.device))
	a.granted(nil)
	lists := a.message.CRLs()
	if len(lists) != 1 {
		t.Fatalf("%d CRLs", len(lists))
	}
	crl, err := x509.ParseRevocationList(lists[0])
	if err != nil || crl.CheckSignatureFrom(issuer) != nil {
		t.Error(err)
	}
	url := issuerOf(w).CRLURL(0)
	named := append([]byte{0x86, byte(len(url))}, url...)
	if a := w.ask(newLetter(t, cmc.GetCRL{Issuer: issuer.RawSubject, CRLName: named}).by(w.device)); a.granted(nil) != nil || len(a.message.CRLs()) != 1 {
		t.Error("a CRL cannot be named")
	}
	w.ask(newLetter(t, cmc.GetCRL{Issuer: issuer.RawSubject, CRLName: []byte{0x86, 1, 'a'}}).by(w.device)).refused(http.StatusNotFound, cmc.BadCertID, 1)
	w.ask(newLetter(t, cmc.GetCRL{Issuer: w.device.cert.RawSubject}).by(w.device)).refused(http.StatusNotFound, cmc.BadCertID, 1)
	w.ask(newLetter(t, cmc.GetCRL{Issuer: issuer.RawSubject, Time: w.now().Add(5 * 365 * 24 * time.Hour)}).by(w.device)).refused(http.StatusNotFound, cmc.BadCertID, 1)
	w.ask(newLetter(t, cmc.GetCRL{Issuer: issuer.RawSubject})).refused(http.StatusForbidden, cmc.BadIdentity, 1)
}

func issuerOf(w *cmcWorld) *ca.Issuer { return w.authority.Issuers().Line(ca.DefaultLine, w.now()) }

// TestFullCMCTells: acceptance, registration information, data, statuses.
func TestFullCMCTells(t *testing.T) {
	w := newCMCWorld(t, cmcLabel(nil))
	k := like(w.device).keyed(t)
	l := newLetter(t, cmc.RegInfo("room 12"), cmc.DataReturn("one"), cmc.DataReturn{0}, cmc.StatusInfoV2{Status: cmc.Success, Bodies: []cmc.Reference{{ID: 9}}}).numbered()
	l.pkcs10(k)
	a := w.ask(l.by(w.device))
	cert := a.granted(k.key)
	if d := w.detail(cert); d["registration_info"] != "room 12" {
		t.Errorf("%v", d)
	}
	if info := oneOf[cmc.ResponseInfo](a); !strings.Contains(string(info), "7 octets") {
		t.Errorf("%s", info)
	}
	data, err := cmc.All[cmc.DataReturn](a.message.Controls())
	if err != nil || len(data) != 2 || string(data[0].Value) != "one" || !bytes.Equal(data[1].Value, []byte{0}) {
		t.Errorf("%v, %v", data, err)
	}
	confirm := cmc.ConfirmCertAcceptance{Issuer: cert.RawIssuer, Serial: cert.SerialNumber}
	next := &holder{key: k.key, cert: cert}
	w.ask(newLetter(t, confirm).by(next)).granted(nil)
	if got := w.details("certificate.accepted", string(ca.SerialOf(cert.SerialNumber))); len(got) != 1 {
		t.Errorf("%d events", len(got))
	}
	stranger := w.certify("device", ca.Subject{CommonName: "other"}, "other.example")
	w.ask(newLetter(t, confirm).by(stranger)).refused(http.StatusForbidden, cmc.BadRequest, 1)
	w.ask(newLetter(t, confirm)).refused(http.StatusForbidden, cmc.BadIdentity, 1)
	w.ask(newLetter(t, cmc.ConfirmCertAcceptance{Issuer: cert.RawIssuer, Serial: big.NewInt(3)}).by(next)).refused(http.StatusNotFound, cmc.BadCertID, 1)
}

// TestFullCMCPublishesAnchors to who asks nothing, and, vouched for by a secret, to who
// shares one.
func TestFullCMCPublishesAnchors(t *testing.T) {
	w := newCMCWorld(t, cmcLabel(nil))
	w.shares("alice", "correct horse", "*.alice.example")
	a := w.ask(newLetter(t).numbered())
	a.granted(nil)
	v := oneOf[cmc.PublishTrustAnchors](a)
	found, missing, err := v.Anchors(a.message.Certificates(), cmc.Options{})
	if err != nil || len(found) != 1 || len(missing) > 0 || !bytes.Equal(found[0], w.authority.Issuers().Roots()[0].Raw) {
		t.Fatalf("%d, %d, %v", len(found), len(missing), err)
	}
	b := w.ask(newLetter(t).numbered().proving("alice", "correct horse"))
	b.granted(nil)
	inner, err := b.message.AuthData(cmc.Opener{Authenticate: func(d *cms.Authenticated) error { return d.Verify(cms.Passphrase("correct horse"), 0) }})
	if err != nil || inner == nil {
		t.Fatal(err)
	}
	again, err := cmc.One[cmc.PublishTrustAnchors](inner.Controls())
	if err != nil || again == nil || again.Value.Sequence.Cmp(v.Sequence) != 0 || len(again.Value.Hashes) != 1 {
		t.Errorf("%+v, %v", again, err)
	}
	if _, err := w.authority.RolloverRoot(context.Background(), ca.Principal{Room: "admin", ID: "test"}, "root"); err != nil {
		t.Fatal(err)
	}
	c := w.ask(newLetter(t).numbered())
	if next := oneOf[cmc.PublishTrustAnchors](c); next.Sequence.Cmp(v.Sequence) < 0 || len(next.Hashes) != 2 {
		t.Errorf("after a rollover: %v then %v, %d anchors", v.Sequence, next.Sequence, len(next.Hashes))
	}
	if signed, ok, err := cms.Time(c.message.Signers()[0].Info.Signed); err != nil || !ok || w.now().Sub(signed).Abs() > time.Minute {
		t.Errorf("signed at %v, %v", signed, err)
	}
}

// TestFullCMCReadsAuthData: controls in an AuthenticatedData that authData points to.
func TestFullCMCReadsAuthData(t *testing.T) {
	w := newCMCWorld(t, cmcLabel(nil))
	w.shares("alice", "correct horse", "*.alice.example")
	for password, good := range map[string]bool{"correct horse": true, "wrong": false} {
		inner := newLetter(t, cmc.Identification("alice"), cmc.RegInfo("within"))
		inner.wrap.Authenticate = cms.Password{Passphrase: cms.Passphrase(password), Iterations: 1000}
		l := newLetter(t)
		part := l.data.AddCMS(inner.der())
		a := w.ask(l.add(cmc.AuthData(part)).by(w.device))
		if good {
			a.granted(nil)
			oneOf[cmc.ResponseInfo](a)
		} else {
			a.refused(http.StatusForbidden, cmc.AuthDataFail)
		}
	}
}

// TestFullCMCUnknown controls are named, and nothing is done (RFC 5272 §3.2.1.1).
func TestFullCMCUnknown(t *testing.T) {
	w := newCMCWorld(t, cmcLabel(nil))
	w.ask(newLetter(t)) // has the responder certified
	k := like(w.device).keyed(t)
	l := newLetter(t)
	l.pkcs10(k)
	l.data.Controls = append(l.data.Controls,
		cmc.Control{ID: 77, Type: []int{1, 3, 6, 1, 4, 1, 99999, 1}, Values: [][]byte{{5, 0}}},
		cmc.Control{ID: 78, Type: []int{1, 3, 6, 1, 4, 1, 99999, 2}, Values: [][]byte{{5, 0}}})
	before := w.issued()
	w.ask(l.by(w.device)).refused(http.StatusBadRequest, cmc.BadRequest, 77, 78)
	if w.issued() != before {
		t.Error("something was issued")
	}
	for name, test := range map[string]struct {
		v      cmc.Value
		status cmc.Status
	}{
		"publishCert":  {cmc.PublishCert{Hash: sha256Algorithm, Hashes: [][]byte{{1}}, Publish: true}, cmc.NoSupport},
		"anchors":      {cmc.PublishTrustAnchors{Sequence: big.NewInt(1), Hash: sha256Algorithm, Hashes: [][]byte{{1}}}, cmc.NoSupport},
		"responseInfo": {cmc.ResponseInfo("x"), cmc.Failed},
	} {
		a := w.ask(newLetter(t, test.v).by(w.device))
		if a.StatusCode != http.StatusBadRequest || a.statuses[0].Status != test.status || a.statuses[0].Bodies[0].ID != 1 {
			t.Errorf("%s: %s, %s", name, a.Status, a)
		}
	}
	critical := like(w.device).keyed(t)
	critical.Extensions = append(critical.Extensions, extension(true, 1, 2, 3, 4))
	for _, crmf := range []bool{false, true} {
		l := newLetter(t)
		if crmf {
			l.crmf(critical, nil)
		} else {
			l.pkcs10(critical)
		}
		w.ask(l.by(w.device)).refused(http.StatusBadRequest, cmc.UnsupportedExt, 1)
	}
}

var sha256Algorithm = cms.Algorithm{OID: []int{2, 16, 840, 1, 101, 3, 4, 2, 1}}

// TestFullCMCPossession: what proves nothing gets nothing.
func TestFullCMCPossession(t *testing.T) {
	w := newCMCWorld(t, cmcLabel(func(l *estserver.Label) { l.Names = []string{"own", "*.iot.example"} }))
	send := func(add func(l *letter)) *told {
		l := newLetter(t)
		add(l)
		return w.ask(l.by(w.device))
	}
	send(func(l *letter) {
		der := of(t, "", "x.iot.example").der(t)
		der[len(der)-1] ^= 1
		l.request(cmc.Request{PKCS10: der})
	}).refused(http.StatusForbidden, cmc.POPFailed, 1)
	send(func(l *letter) {
		k := of(t, "", "x.iot.example")
		l.crmf(k, func(m *cmc.CertReqMsg) {
			if err := m.Sign(k.key, crypto.SHA256); err != nil {
				t.Fatal(err)
			}
			m.Request.Template.Subject = []byte{0x30, 0}
			m.Request.Template.Extensions[0].Value = slices.Clone(m.Request.Template.Extensions[0].Value)
			m.Request.Template.Extensions[0].Value[5] ^= 1
		})
	}).refused(http.StatusForbidden, cmc.POPFailed, 1)
	send(func(l *letter) {
		l.crmf(of(t, "", "x.iot.example"), func(m *cmc.CertReqMsg) { m.POP = &cmc.POP{RAVerified: true} })
	}).refused(http.StatusForbidden, cmc.POPFailed, 1)
	send(func(l *letter) {
		l.request(cmc.Request{ID: 1, Other: &cmc.OtherRequest{Type: []int{1, 2, 3}, Value: []byte{5, 0}}})
	}).refused(http.StatusBadRequest, cmc.BadRequest, 1)
	send(func(l *letter) { l.crmf(of(t, "", "x.elsewhere.example"), nil) }).refused(http.StatusForbidden, cmc.BadRequest, 1)
}

// TestFullCMCMalformed: what is no message is refused in words, and what is a message that
// cannot be taken with a CMC response.
func TestFullCMCMalformed(t *testing.T) {
	w := newCMCWorld(t, cmcLabel(nil))
	l := newLetter(t)
	l.pkcs10(like(w.device).keyed(t))
	good := l.by(w.device).der()
	post := func(der []byte, kind string) *reply {
		c := w.client(nil)
		c.header = http.Header{"Content-Type": {kind}}
		return c.post("fullcmc", der)
	}
	const kind = "application/pkcs7-mime; smime-type=CMC-request"
	bag, err := cms.Bag{Certificates: [][]byte{w.device.cert.Raw}}.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	data, err := cms.ContentInfo{Type: cms.OIDData, Content: []byte{4, 0}}.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		der    []byte
		kind   string
		status int
		words  string
	}{
		"nothing":            {nil, kind, 400, "empty"},
		"a bare PKCS #10":    {like(w.device).keyed(t).der(t), kind, 400, "simpleenroll"},
		"garbage":            {[]byte("garbage"), kind, 400, "no Full PKI Request"},
		"data":               {data, kind, 400, "SignedData"},
		"cut":                {good[:len(good)-3], kind, 400, "no Full PKI Request"},
		"another smime-type": {good, "application/pkcs7-mime; smime-type=certs-only", 415, "CMC-request"},
		"PKCS #10's type":    {good, "application/pkcs10", 415, "application/pkcs7-mime"},
		"too long":           {make([]byte, 300<<10), kind, 413, ""},
	} {
		t.Run(name, func(t *testing.T) { refused(t, post(test.der, test.kind), test.status, test.words) })
	}
	if r := post(good, "application/pkcs7-mime"); r.StatusCode != http.StatusOK {
		t.Errorf("without the parameter: %s, %s", r.Status, r.words())
	}
	w.askAt("fullcmc", bag).refused(http.StatusBadRequest, cmc.BadRequest, 0)
	broken := slices.Clone(good)
	broken[len(broken)-1] ^= 1
	w.askAt("fullcmc", broken).refused(http.StatusBadRequest, cmc.BadMessageCheck, 0)
	sealed := newLetter(t)
	sealed.by(w.device).wrap.Encrypt = []cms.Recipient{cms.KeyAgreement{Certificate: w.device.cert}}
	w.askAt("fullcmc", sealed.der()).refused(http.StatusBadRequest, cmc.BadMessageCheck, 0)
	unknown := newLetter(t)
	unknown.pkcs10(of(t, "", "x.example"))
	stranger := w.maker.device(t, like(w.device).SubjectName, nil)
	w.ask(unknown.by(stranger)).refused(http.StatusForbidden, cmc.BadIdentity, 0)
	twice := newLetter(t)
	twice.by(w.device).by(w.certify("device", ca.Subject{CommonName: "b"}, "b.example"))
	w.ask(twice).refused(http.StatusBadRequest, cmc.BadRequest, 0)
	deep := newLetter(t)
	for range 5 {
		outer := newLetter(t)
		outer.data.AddCMS(deep.by(w.device).der())
		deep = outer
	}
	if a := w.ask(deep.by(w.device)); a.StatusCode != http.StatusBadRequest || !strings.Contains(a.String(), "deep") {
		t.Errorf("%s: %s", a.Status, a)
	}
}

// TestFullCMCByMakers' certificates, under a label that takes them.
func TestFullCMCByMakers(t *testing.T) {
	w := newCMCWorld(t, cmcLabel(func(l *estserver.Label) {
		l.Accept, l.Makers, l.Names = []estserver.Way{{estserver.ByMaker}}, []string{"acme"}, []string{"{serial}.iot.example"}
	}))
	r := est.Request{}
	r.SubjectName.SerialNumber = "77"
	device := w.maker.device(t, r.SubjectName, nil)
	k := of(t, "", "77.iot.example")
	l := newLetter(t)
	l.pkcs10(k)
	cert := w.ask(l.by(device)).granted(k.key)
	if got := w.record(cert).By.ID; !strings.HasPrefix(got, "maker:acme:") {
		t.Error(got)
	}
	w.ask(newLetter(t, cmc.GetCert{Issuer: []byte{0x82, 1, 'a'}, Serial: big.NewInt(1)}).by(w.device)).refused(http.StatusForbidden, cmc.BadIdentity)
}

// TestSecretOfAnotherWay: a certificate that was got without a password is revoked by
// none, not even by that of the user without a name.
func TestSecretOfAnotherWay(t *testing.T) {
	w := newCMCWorld(t, cmcLabel(nil))
	w.standing("", "fleet-password", "*")
	victim := granted(t, w.client(w.device).post("simpleenroll", like(w.device).der(t)))
	revoke := func(cert *x509.Certificate, secret string) *told {
		l := newLetter(t, cmc.RevokeRequest{Issuer: cert.RawIssuer, Serial: cert.SerialNumber, Reason: 1, Secret: []byte(secret)}).numbered()
		l.wrap.Signers = append(l.wrap.Signers, cms.Signing{NoSignature: true, KeyID: []byte{1}})
		return w.ask(l)
	}
	revoke(victim, "fleet-password").refused(http.StatusForbidden, cmc.BadIdentity)
	if !w.record(victim).RevokedAt.IsZero() {
		t.Error("a password that has nothing to do with a certificate revoked it")
	}
	own := granted(t, w.basic("", "fleet-password").post("simpleenroll", asking("x", "x.example").der(t)))
	revoke(own, "fleet-passwort").refused(http.StatusForbidden, cmc.BadIdentity)
	revoke(own, "fleet-password").granted(nil)
	if w.record(own).RevokedAt.IsZero() {
		t.Error("the password that got a certificate did not revoke it")
	}
}

// TestFullCMCLog: who signed is named once, and who TLS says the client is beside it.
func TestFullCMCLog(t *testing.T) {
	w := newCMCWorld(t, cmcLabel(nil))
	w.shares("alice", "correct horse", "*.alice.example")
	message := func() []byte {
		k := of(t, "", "a.alice.example")
		l := newLetter(t).numbered()
		l.pkcs10(k)
		return l.byKey(k.key).proving("alice", "correct horse").der()
	}
	for name, from := range map[string]*holder{"without a certificate": nil, "with one": w.device} {
		c := w.client(from)
		c.header = http.Header{"Content-Type": {"application/pkcs7-mime; smime-type=CMC-request"}}
		w.log.reset()
		if r := c.post("fullcmc", message()); r.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s", name, r.words())
		}
		lines := 0
		for line := range strings.Lines(w.log.String()) {
			if !strings.Contains(line, "operation=fullcmc") {
				continue
			}
			lines++
			own, beside := strings.Count(line, " identity="), strings.Count(line, " tls_identity=certificate:")
			if own != 1 || !strings.Contains(line, " identity=user:alice") || (beside == 1) != (from != nil) || strings.Contains(line, "identity=\"\"") || strings.Contains(line, "beside=") {
				t.Errorf("%s: %s", name, line)
			}
		}
		if lines == 0 {
			t.Errorf("%s: nothing is logged", name)
		}
	}
}

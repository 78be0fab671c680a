package estserver_test

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/http"
	"testing"

	"chancery/cms"
	"chancery/cms/cmc"
	"chancery/est"
	"chancery/internal/ca"
	"chancery/internal/certtest"
	"chancery/internal/estserver"
)

// TestFullCMCEnrols: PKCS #10 and CRMF, by each way of saying who asks.
func TestFullCMCEnrols(t *testing.T) {
	w := newCMCWorld(t, cmcLabel(func(l *estserver.Label) { l.Names = []string{"own", "*.iot.example"} }))
	w.shares("alice", "correct horse", "*.iot.example", "CN=*") // instead of the label's
	for name, make := range map[string]func(l *letter, k crypto.Signer) string{
		"signed by a holder": func(l *letter, _ crypto.Signer) string { l.by(w.device); return "certificate:" },
		"signed by a holder who encloses nothing": func(l *letter, _ crypto.Signer) string {
			l.wrap.Signers = []cms.Signing{{Key: w.device.key, Certificate: w.device.cert}}
			return "certificate:"
		},
		"by key identifier": func(l *letter, _ crypto.Signer) string {
			l.wrap.Signers = []cms.Signing{{Key: w.device.key, KeyID: w.device.cert.SubjectKeyId}}
			return "certificate:"
		},
		"by the request's key and a secret": func(l *letter, k crypto.Signer) string {
			l.byKey(k).proving("alice", "correct horse")
			return "user:alice"
		},
		"by a self-signed certificate and a secret": func(l *letter, k crypto.Signer) string {
			template := &x509.Certificate{SerialNumber: big.NewInt(5), Subject: pkix.Name{CommonName: "self"}}
			der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
			if err != nil {
				t.Fatal(err)
			}
			l.by(&holder{key: k, cert: parse(t, der)}).proving("alice", "correct horse")
			return "user:alice"
		},
		"in an AuthenticatedData": func(l *letter, _ crypto.Signer) string {
			l.add(cmc.Identification("alice"))
			l.wrap.Authenticate = cms.Password{Passphrase: cms.Passphrase("correct horse"), Iterations: 1000}
			return "user:alice"
		},
		"encrypted to the server": func(l *letter, _ crypto.Signer) string {
			d, err := w.config.Delegate(t.Context(), "cmc-responder")
			if err != nil {
				t.Fatal(err)
			}
			l.by(w.device).wrap.Encrypt = []cms.Recipient{cms.KeyAgreement{Certificate: d.Chain[0]}}
			return "certificate:"
		},
		"signed, encrypted and signed": func(l *letter, _ crypto.Signer) string {
			d, err := w.config.Delegate(t.Context(), "cmc-responder")
			if err != nil {
				t.Fatal(err)
			}
			l.by(w.device).wrap.Encrypt = []cms.Recipient{cms.KeyAgreement{Certificate: d.Chain[0]}}
			l.wrap.Outer = l.wrap.Signers
			return "certificate:"
		},
	} {
		for _, crmf := range []bool{false, true} {
			domain := ".iot.example"
			l := newLetter(t).numbered()
			k := of(t, "", "new"+domain)
			k.DNSNames = []string{"new" + domain}
			id := cmc.BodyPartID(0)
			if crmf {
				id = l.crmf(k, nil)
			} else {
				id = l.pkcs10(k)
			}
			who := make(l, k.key)
			a := w.ask(l)
			cert := a.granted(k.key)
			if cert.DNSNames[0] != "new"+domain || a.statuses[0].Bodies[0].ID != id {
				t.Errorf("%s: %v, %+v", name, cert.DNSNames, a.statuses)
			}
			if r := w.record(cert); !bytes.HasPrefix([]byte(r.By.ID), []byte(who)) || r.By.Room != "est" {
				t.Errorf("%s: it is had by %s, want %s", name, r.By.ID, who)
			}
			d := w.detail(cert)
			if d["operation"] != "fullcmc" || d["possession"] != "signature" || d["transaction"] != "4711" || (d["format"] == "crmf") != crmf {
				t.Errorf("%s: recorded as %v", name, d)
			}
			if oneOf[cmc.TransactionID](a).Number.Int64() != 4711 || len(oneOf[cmc.SenderNonce](a)) != 16 {
				t.Errorf("%s: the transaction is not kept", name)
			}
			sent, _ := cmc.One[cmc.SenderNonce](l.data.Controls)
			if !bytes.Equal(oneOf[cmc.RecipientNonce](a), sent.Value) {
				t.Errorf("%s: the nonce is not given back", name)
			}
		}
	}
}

// TestFullCMCManyAsk: each request in a message is answered by itself.
func TestFullCMCManyAsk(t *testing.T) {
	w := newCMCWorld(t, cmcLabel(func(l *estserver.Label) { l.Names = []string{"own", "*.iot.example"} }))
	l := newLetter(t, cmc.DataReturn("mine")).numbered()
	a, b, c := of(t, "", "a.iot.example"), of(t, "", "b.elsewhere.example"), of(t, "", "c.iot.example")
	l.pkcs10(a)
	bad := l.pkcs10(b)
	l.crmf(c, nil)
	got := w.ask(l.by(w.device))
	if got.StatusCode != http.StatusOK || len(got.statuses) != 3 {
		t.Fatalf("%s: %s", got.Status, got)
	}
	got.certified(a.key.Public())
	got.certified(c.key.Public())
	got.refused(http.StatusOK, cmc.BadRequest, bad)
	if string(oneOf[cmc.DataReturn](got)) != "mine" {
		t.Error("the data is not given back")
	}
	if v := oneOf[cmc.PublishTrustAnchors](got); len(v.Hashes) != len(w.authority.Issuers().Roots()) {
		t.Errorf("%d anchors are published", len(v.Hashes))
	}
	many := newLetter(t)
	for range 33 {
		many.pkcs10(wish{Request: a.Request, key: a.key})
	}
	w.ask(many.by(w.device)).refused(http.StatusBadRequest, cmc.BadRequest, 0)
}

// TestFullCMCRenews: a holder who asks for the same again.
func TestFullCMCRenews(t *testing.T) {
	w := newCMCWorld(t, cmcLabel(func(l *estserver.Label) {
		l.RevokeOld, l.ChangeSubject = true, true
		l.Names = []string{"own", "*.new.example"}
	}))
	again := like(w.device).keyed(t)
	l := newLetter(t)
	l.pkcs10(again)
	cert := w.ask(l.by(w.device)).granted(again.key)
	if d := w.detail(cert); d["change"] != "rekey" || w.record(w.device.cert).RevokedAt.IsZero() {
		t.Errorf("%v, revoked %v", d, w.record(w.device.cert).RevokedAt)
	}
	// The old certificate counts no more.
	w.ask(l).refused(http.StatusForbidden, cmc.BadIdentity, 0)
	next := &holder{key: again.key, cert: cert}
	change, err := est.NameChange{SAN: sanOf(t, "a.new.example")}.Attribute()
	if err != nil {
		t.Fatal(err)
	}
	for _, crmf := range []bool{false, true} {
		k := like(next).keyed(t).with(change)
		l := newLetter(t)
		if crmf {
			l.crmf(k, nil)
		} else {
			l.pkcs10(k)
		}
		cert := w.ask(l.by(next)).granted(k.key)
		if cert.Subject.CommonName != "" || len(cert.DNSNames) != 1 || cert.DNSNames[0] != "a.new.example" {
			t.Errorf("%v, %v", cert.Subject, cert.DNSNames)
		}
		next = w.certify("device", ca.Subject{CommonName: "thing 8", SerialNumber: "8"}, "thing-8.iot.example")
	}
}

func sanOf(t *testing.T, name string) []byte {
	t.Helper()
	r := est.Request{DNSNames: []string{name}}
	der, err := r.SAN()
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// TestFullCMCSecrets: what proves identity and what does not.
func TestFullCMCSecrets(t *testing.T) {
	sha1 := cmcLabel(func(l *estserver.Label) { l.Name, l.SHA1CMC = "old", true })
	w := newCMCWorld(t, cmcLabel(nil), sha1)
	w.shares("alice", "correct horse", "*.alice.example")
	w.standing("bob", "no shared secret", "*.alice.example")
	send := func(path string, finish func(l *letter, k crypto.Signer)) *told {
		l := newLetter(t).numbered()
		k := of(t, "", "x.alice.example")
		l.pkcs10(k)
		finish(l, k.key)
		return w.askAt(path, l.der())
	}
	send("fullcmc", func(l *letter, k crypto.Signer) { l.byKey(k).proving("alice", "correct horse") }).granted(nil)
	send("fullcmc", func(l *letter, k crypto.Signer) { l.byKey(k).proving("alice", "wrong") }).refused(http.StatusForbidden, cmc.BadIdentity)
	send("fullcmc", func(l *letter, k crypto.Signer) { l.byKey(k).proving("bob", "no shared secret") }).refused(http.StatusForbidden, cmc.BadIdentity)
	send("fullcmc", func(l *letter, k crypto.Signer) { l.byKey(k).proving("", "correct horse") }).refused(http.StatusForbidden, cmc.BadIdentity)
	send("fullcmc", func(l *letter, k crypto.Signer) { l.byKey(k) }).refused(http.StatusForbidden, cmc.BadIdentity, 0)
	send("fullcmc", func(l *letter, k crypto.Signer) { l.proving("alice", "correct horse") }).granted(nil)
	send("fullcmc", func(l *letter, k crypto.Signer) {}).refused(http.StatusBadRequest, cmc.BadMessageCheck, 0)
	send("fullcmc", func(l *letter, k crypto.Signer) {
		l.wrap.Signers = []cms.Signing{{NoSignature: true, KeyID: []byte{1}}}
	}).refused(http.StatusBadRequest, cmc.BadMessageCheck, 0)
	send("fullcmc", func(l *letter, k crypto.Signer) { l.byKey(certtest.Key(t)).proving("alice", "correct horse") }).refused(http.StatusBadRequest, cmc.BadMessageCheck, 0)
	old := func(l *letter, k crypto.Signer) {
		l.add(cmc.Identification("alice"))
		requests, err := l.data.RequestBytes()
		if err != nil {
			t.Fatal(err)
		}
		v, err := cmc.ProveIdentityV1(cmc.Identity{Secret: cmc.Secret("correct horse"), Name: "alice"}, requests)
		if err != nil {
			t.Fatal(err)
		}
		l.byKey(k).add(v)
	}
	send("fullcmc", old).refused(http.StatusBadRequest, cmc.BadAlg)
	send("old/fullcmc", old).granted(nil)
	// The same message a second time.
	l := newLetter(t).numbered()
	k := of(t, "", "y.alice.example")
	l.pkcs10(k)
	l.byKey(k.key).proving("alice", "correct horse")
	w.ask(l).granted(k.key)
	w.ask(l).refused(http.StatusConflict, cmc.BadRequest, 0)
	without := newLetter(t)
	without.pkcs10(k)
	without.byKey(k.key).proving("alice", "correct horse")
	w.ask(without).granted(k.key)
	w.ask(without).refused(http.StatusConflict, cmc.BadRequest, 0)
}

// TestFullCMCOneTime: a one-time password gets one certificate.
func TestFullCMCOneTime(t *testing.T) {
	w := newCMCWorld(t, cmcLabel(nil))
	w.sharesOnce("dev", "once only", "*.dev.example")
	k := of(t, "", "x.dev.example")
	send := func(k wish) *told {
		l := newLetter(t).numbered()
		l.pkcs10(k)
		return w.ask(l.byKey(k.key).proving("dev", "once only"))
	}
	first := send(k).granted(k.key)
	if again := send(k).granted(k.key); !again.Equal(first) {
		t.Error("the repeat got another certificate")
	}
	send(of(t, "", "x.dev.example")).refused(http.StatusForbidden, cmc.BadRequest)
}

// TestFullCMCLinks: requests are tied to the secret, and to the connection.
func TestFullCMCLinks(t *testing.T) {
	demands := cmcLabel(func(l *estserver.Label) { l.Name, l.RequireLinking, l.SHA1CMC = "demands", true, true })
	w := newCMCWorld(t, cmcLabel(nil), demands)
	w.shares("alice", "correct horse", "*.alice.example")
	attribute := func(v cmc.Value, err error) cms.Attribute {
		if err != nil {
			t.Fatal(err)
		}
		a, err := cmc.Attribute(v)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	send := func(path string, secret string, old, crmf, random bool) (*told, crypto.Signer) {
		r := cmc.NewPOPLinkRandom()
		l := newLetter(t).numbered()
		if random {
			l.add(r)
		}
		k := of(t, "", "x.alice.example")
		switch {
		case old:
			v, err := cmc.LinkV1(cmc.Secret(secret), r)
			k = k.with(attribute(v, err))
		case secret != "":
			v, err := cmc.Link(cmc.Secret(secret), r, crypto.SHA256)
			k = k.with(attribute(v, err))
		}
		if crmf {
			l.crmf(k, nil)
		} else {
			l.pkcs10(k)
		}
		return w.askAt(path, l.byKey(k.key).proving("alice", "correct horse").der()), k.key
	}
	for _, crmf := range []bool{false, true} {
		for _, path := range []string{"fullcmc", "demands/fullcmc"} {
			a, key := send(path, "correct horse", false, crmf, true)
			if d := w.detail(a.granted(key)); d["linking"] != "shared secret by popLinkWitness" {
				t.Errorf("%v", d)
			}
		}
		a, _ := send("fullcmc", "another", false, crmf, true)
		a.refused(http.StatusForbidden, cmc.POPFailed)
		a, _ = send("fullcmc", "", false, crmf, true)
		a.refused(http.StatusForbidden, cmc.POPFailed)
		a, _ = send("fullcmc", "correct horse", false, crmf, false)
		a.refused(http.StatusForbidden, cmc.POPFailed)
		a, _ = send("demands/fullcmc", "", false, crmf, false)
		a.refused(http.StatusForbidden, cmc.POPFailed)
		a, _ = send("fullcmc", "correct horse", true, crmf, true)
		a.refused(http.StatusBadRequest, cmc.BadAlg)
		a, key := send("demands/fullcmc", "correct horse", true, crmf, true)
		a.granted(key)
	}
	for _, crmf := range []bool{false, true} {
		for _, right := range []bool{true, false} {
			c := w.client(nil)
			c.header = http.Header{"Content-Type": {`APPLICATION/PKCS7-MIME; Smime-Type="cmc-REQUEST"`}}
			var key crypto.Signer
			got := w.read(c.send(http.MethodPost, root+"demands/fullcmc", func(cs tls.ConnectionState) []byte {
				b, err := est.BindingOf(&cs)
				if err != nil {
					t.Fatal(err)
				}
				text := b.Text()
				if !right {
					text = "AAAA"
				}
				k := like(w.device).keyed(t).with(est.ChallengePassword(text))
				key = k.key
				l := newLetter(t)
				if crmf {
					l.crmf(k, nil)
				} else {
					l.pkcs10(k)
				}
				return est.Encode(l.by(w.device).der(), est.Bare)
			}))
			if !right {
				got.refused(http.StatusForbidden, cmc.POPFailed)
				continue
			}
			if d := w.detail(got.granted(key)); d["linking"] != "tls-exporter by challengePassword" {
				t.Errorf("%v", d)
			}
		}
	}
}

// TestFullCMCChallenges keys that cannot sign (RFC 5272 §6.7): RSA and elliptic curves, in
// CRMF and in the no-signature form, with a message that the key cannot sign either.
func TestFullCMCChallenges(t *testing.T) {
	w := newCMCWorld(t, cmcLabel(func(l *estserver.Label) { l.Names = []string{"own", "*.iot.example"} }))
	w.shares("alice", "correct horse", "*.alice.example")
	strong, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	another, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	challenge := cmc.ChallengeResponse
	for name, test := range map[string]struct {
		key  crypto.Signer
		code bool // the message is in an AuthenticatedData
		add  func(l *letter, k wish) cmc.BodyPartID
	}{
		"RSA in CRMF": {strong, true, func(l *letter, k wish) cmc.BodyPartID {
			return l.crmf(k, func(m *cmc.CertReqMsg) { m.POP = &cmc.POP{KeyEncipherment: &cmc.POPPrivKey{Subsequent: &challenge}} })
		}},
		"P-256 in CRMF": {certtest.Key(t), false, func(l *letter, k wish) cmc.BodyPartID {
			return l.crmf(k, func(m *cmc.CertReqMsg) { m.POP = &cmc.POP{KeyAgreement: &cmc.POPPrivKey{Subsequent: &challenge}} })
		}},
		"no POP at all": {certtest.Key(t), true, func(l *letter, k wish) cmc.BodyPartID {
			return l.crmf(k, func(*cmc.CertReqMsg) {})
		}},
		"no-signature": {another, false, func(l *letter, k wish) cmc.BodyPartID {
			p, err := est.ParseRequest(k.der(t))
			if err != nil {
				t.Fatal(err)
			}
			der, err := cmc.Unsigned(p.RawTBS, crypto.SHA256)
			if err != nil {
				t.Fatal(err)
			}
			return l.request(cmc.Request{PKCS10: der})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			k := asking("", "k.alice.example")
			k.key = test.key
			send := func(answer func(l *letter, id cmc.BodyPartID)) *told {
				l := newLetter(t).numbered()
				id := test.add(l, k)
				if answer != nil {
					answer(l, id)
				}
				if test.code {
					l.add(cmc.Identification("alice"))
					l.wrap.Authenticate = cms.Password{Passphrase: cms.Passphrase("correct horse"), Iterations: 1000}
					return w.ask(l)
				}
				l.wrap.Signers = []cms.Signing{{NoSignature: true, KeyID: []byte{1}}}
				return w.ask(l.proving("alice", "correct horse"))
			}
			a := send(nil)
			if a.StatusCode != http.StatusOK || a.statuses[0].Status != cmc.POPRequired || w.issuedFor(test.key) != nil {
				t.Fatalf("%s: %s", a.Status, a)
			}
			v := oneOf[cmc.EncryptedPOP](a)
			proof, err := v.Open(test.key, cmc.Options{})
			if err != nil {
				t.Fatal(err)
			}
			reply := func(proof []byte) func(l *letter, id cmc.BodyPartID) {
				return func(l *letter, id cmc.BodyPartID) {
					answer, err := v.Answer(proof, l.data.Requests[0], cmc.Options{})
					if err != nil {
						t.Fatal(err)
					}
					l.add(answer)
				}
			}
			send(reply(bytes.Repeat([]byte{7}, 32))).refused(http.StatusForbidden, cmc.POPFailed)
			cert := send(reply(proof)).granted(test.key)
			if d := w.detail(cert); d["possession"] != "challenge" {
				t.Errorf("%v", d)
			}
		})
	}
	x, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(x.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	l := newLetter(t)
	l.crmf(of(t, "", "k.iot.example"), func(m *cmc.CertReqMsg) { m.Request.Template.PublicKey = spki })
	if a := w.ask(l.by(w.device)); a.statuses[0].Status != cmc.POPRequired {
		// No profile takes such keys: the challenge can be had, the certificate cannot.
		a.refused(http.StatusBadRequest, cmc.BadAlg)
	}
}

// issuedFor finds a certificate for the key.
func (w *cmcWorld) issuedFor(key crypto.Signer) *x509.Certificate {
	w.t.Helper()
	records, _, err := w.store.List(w.t.Context(), ca.Query{Now: w.now(), Limit: 1000})
	if err != nil {
		w.t.Fatal(err)
	}
	hash, err := ca.KeyHash(key.Public())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, r := range records {
		if bytes.Equal(r.KeyHash, hash) {
			return parse(w.t, r.DER)
		}
	}
	return nil
}

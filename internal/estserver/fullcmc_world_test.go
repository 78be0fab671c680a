package estserver_test

import (
	"context"
	"crypto"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"chancery/cms"
	"chancery/cms/cmc"
	"chancery/est"
	"chancery/internal/ca"
	"chancery/internal/estserver"
)

// cmcWorld is a world that offers fullcmc, and a device with a certificate of it.
type cmcWorld struct {
	*world
	device *holder
	seals  seals
}

func cmcLabel(edit func(*estserver.Label)) estserver.Label {
	l := plainLabel()
	l.Operations = append([]est.Operation{est.FullCMC}, allOperations...)
	if edit != nil {
		edit(&l)
	}
	return l
}

func newCMCWorld(t testing.TB, labels ...estserver.Label) *cmcWorld {
	t.Helper()
	w := &cmcWorld{seals: newSeals(t)}
	w.world = newWorld(t, func(c *estserver.Config) {
		c.Seals = w.seals
		make := delegates(c.Authority)
		var mu sync.Mutex
		known := map[string]estserver.Delegate{}
		c.Delegate = func(ctx context.Context, profile string) (estserver.Delegate, error) {
			mu.Lock()
			defer mu.Unlock()
			if d, ok := known[profile]; ok {
				return d, nil
			}
			d, err := make(ctx, profile)
			known[profile] = d
			return d, err
		}
	}, labels...)
	w.device = w.certify("device", ca.Subject{CommonName: "thing 7", SerialNumber: "7"}, "thing-7.iot.example")
	return w
}

// shares gives a user a password that CMC can use.
func (w *cmcWorld) shares(user, password string, names ...string) estserver.Credential {
	k := estserver.Credential{ID: ca.NewID(), User: user, Hash: estserver.HashPassword(password), Names: names}
	k.Sealed = w.seals.Seal([]byte(password), []byte("chancery est shared secret\x00"+k.ID))
	return w.put(k)
}

func (w *cmcWorld) sharesOnce(user, password string, names ...string) estserver.Credential {
	k := estserver.Credential{ID: ca.NewID(), User: user, OneTime: true, Digest: estserver.OneTimeDigest(password), Names: names}
	k.Sealed = w.seals.Seal([]byte(password), []byte("chancery est shared secret\x00"+k.ID))
	return w.put(k)
}

func (w *cmcWorld) put(k estserver.Credential) estserver.Credential {
	w.t.Helper()
	k.Created = w.now()
	e := ca.Principal{Room: "admin", ID: "test"}.Event(w.now(), "est.credential.added", k.ID)
	if err := w.store.AddCredential(context.Background(), k, e); err != nil {
		w.t.Fatal(err)
	}
	return k
}

// letter is a Full PKI Request in the making.
type letter struct {
	t    testing.TB
	data cmc.PKIData
	wrap cmc.Wrapping
}

func newLetter(t testing.TB, values ...cmc.Value) *letter {
	l := &letter{t: t}
	return l.add(values...)
}

// numbered gives it a transaction and a nonce.
func (l *letter) numbered() *letter {
	return l.add(cmc.TransactionID{Number: big.NewInt(4711)}, cmc.NewSenderNonce())
}

func (l *letter) add(values ...cmc.Value) *letter {
	l.t.Helper()
	if err := l.data.Add(values...); err != nil {
		l.t.Fatal(err)
	}
	return l
}

func (l *letter) request(q cmc.Request) cmc.BodyPartID {
	l.t.Helper()
	if q.CRMF != nil && q.ID == 0 {
		q.ID = q.CRMF.Request.ID
	}
	id, err := l.data.AddRequest(q)
	if err != nil {
		l.t.Fatal(err)
	}
	return id
}

// pkcs10 asks for a certificate.
func (l *letter) pkcs10(w wish) cmc.BodyPartID {
	return l.request(cmc.Request{PKCS10: w.der(l.t)})
}

// crmf asks by RFC 4211, with the POP that pop makes; nil: a signature.
func (l *letter) crmf(w wish, pop func(*cmc.CertReqMsg)) cmc.BodyPartID {
	l.t.Helper()
	m := crmfOf(l.t, w, l.data.Next())
	if pop != nil {
		pop(m)
	} else if err := m.Sign(w.key, crypto.SHA256); err != nil {
		l.t.Fatal(err)
	}
	return l.request(cmc.Request{CRMF: m})
}

func crmfOf(t testing.TB, w wish, id cmc.BodyPartID) *cmc.CertReqMsg {
	t.Helper()
	p, err := est.ParseRequest(w.der(t))
	if err != nil {
		t.Fatal(err)
	}
	m := &cmc.CertReqMsg{Request: cmc.CertRequest{ID: id, Template: cmc.CertTemplate{Subject: p.RawSubject, PublicKey: p.RawSPKI, Extensions: p.Extensions}}}
	for _, a := range p.Attributes {
		if !a.Type.Equal(cmc.OIDExtensionRequest) {
			m.Request.Controls = append(m.Request.Controls, cmc.AttributeTypeAndValue{Type: a.Type, Value: a.Values[0]})
		}
	}
	return m
}

// by signs with a certificate.
func (l *letter) by(h *holder) *letter {
	l.wrap.Signers = append(l.wrap.Signers, cms.Signing{Key: h.key, Certificate: h.cert})
	l.wrap.Certificates = append(l.wrap.Certificates, h.cert.Raw)
	return l
}

// byKey signs with a key that is to be certified.
func (l *letter) byKey(key crypto.Signer) *letter {
	l.t.Helper()
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		l.t.Fatal(err)
	}
	id := sha1.Sum(spki)
	l.wrap.Signers = append(l.wrap.Signers, cms.Signing{Key: key, KeyID: id[:]})
	return l
}

// proving proves identity by a secret; it comes last.
func (l *letter) proving(user, secret string) *letter {
	l.t.Helper()
	if user != "" {
		l.add(cmc.Identification(user))
	}
	requests, err := l.data.RequestBytes()
	if err != nil {
		l.t.Fatal(err)
	}
	v, err := cmc.ProveIdentity(cmc.Identity{Secret: cmc.Secret(secret), Name: cmc.Identification(user)}, crypto.SHA256, requests)
	if err != nil {
		l.t.Fatal(err)
	}
	return l.add(v)
}

func (l *letter) der() []byte {
	l.t.Helper()
	der, err := cmc.FullRequest(&l.data, l.wrap)
	if err != nil {
		l.t.Fatal(err)
	}
	return der
}

// told is what came back.
type told struct {
	*reply
	t        testing.TB
	message  *cmc.Message
	statuses []cmc.StatusInfoV2
}

func (w *cmcWorld) ask(l *letter) *told {
	l.t.Helper()
	return w.askAt("fullcmc", l.der())
}

func (w *cmcWorld) askAt(path string, der []byte) *told {
	w.t.Helper()
	c := w.client(nil)
	c.header = http.Header{"Content-Type": {"application/pkcs7-mime; smime-type=CMC-request"}}
	return w.read(c.post(path, der))
}

func (w *cmcWorld) read(r *reply) *told {
	w.t.Helper()
	if got := r.Header.Get("Content-Type"); got != "application/pkcs7-mime; smime-type=CMC-response" {
		w.t.Fatalf("%s: an answer of type %q: %s", r.Status, got, r.words())
	}
	der, err := est.Decode(r.body, 1<<20)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.readFull(r, der)
}

// readFull verifies that a response is signed by the responder, whom our root vouches for.
func (w *cmcWorld) readFull(r *reply, der []byte) *told {
	w.t.Helper()
	m, err := cmc.Opener{}.Open(der)
	if err != nil || m.Response == nil {
		w.t.Fatalf("%v", err)
	}
	if err := m.Response.Check(); err != nil {
		w.t.Error(err)
	}
	signers := m.Signers()
	if len(signers) != 1 || signers[0].Certificate == nil {
		w.t.Fatal("it is not signed by one who is enclosed")
	}
	if err := m.Verify(signers[0], signers[0].Certificate.PublicKey, cmc.Options{}); err != nil {
		w.t.Fatal(err)
	}
	pool, more := x509.NewCertPool(), x509.NewCertPool()
	for _, root := range w.authority.Issuers().Roots() {
		pool.AddCert(root)
	}
	for _, c := range m.Certificates() {
		more.AddCert(parse(w.t, c))
	}
	if _, err := signers[0].Certificate.Verify(x509.VerifyOptions{Roots: pool, Intermediates: more, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}, CurrentTime: w.now()}); err != nil {
		w.t.Error(err)
	}
	list, err := cmc.Statuses(m.Controls())
	if err != nil || len(list) == 0 {
		w.t.Fatalf("%d statuses, %v", len(list), err)
	}
	return &told{reply: r, t: w.t, message: m, statuses: list}
}

// certified gives the certificate for a key.
func (a *told) certified(key crypto.PublicKey) *x509.Certificate {
	a.t.Helper()
	for _, der := range a.message.Certificates() {
		cert := parse(a.t, der)
		if key.(interface{ Equal(crypto.PublicKey) bool }).Equal(cert.PublicKey) {
			return cert
		}
	}
	a.t.Fatalf("no certificate for the key: %s, %s", a.Status, a)
	return nil
}

func (a *told) String() string {
	var b strings.Builder
	for _, s := range a.statuses {
		b.WriteString(s.Status.String())
		if s.Fail != nil {
			b.WriteString(" " + s.Fail.String())
		}
		b.WriteString(": " + s.Text + "; ")
	}
	return b.String()
}

// granted checks that all went well, and gives the certificate for the key.
func (a *told) granted(key crypto.Signer) *x509.Certificate {
	a.t.Helper()
	if a.StatusCode != http.StatusOK || slices.ContainsFunc(a.statuses, func(s cmc.StatusInfoV2) bool { return s.Status != cmc.Success }) {
		a.t.Fatalf("%s: %s", a.Status, a)
	}
	if key == nil {
		return nil
	}
	return a.certified(key.Public())
}

// refused checks one failure: its HTTP status, its reason and the parts that it names.
func (a *told) refused(status int, fail cmc.FailInfo, parts ...cmc.BodyPartID) {
	a.t.Helper()
	for _, s := range a.statuses {
		if s.Status != cmc.Failed || s.Fail == nil || *s.Fail != fail {
			continue
		}
		var got []cmc.BodyPartID
		for _, r := range s.Bodies {
			got = append(got, r.ID)
		}
		if (parts == nil || slices.Equal(got, parts)) && a.StatusCode == status {
			return
		}
		a.t.Errorf("%s: the parts %v, want %d and %v: %s", a.Status, got, status, parts, a)
		return
	}
	a.t.Errorf("%s: want %d %s: %s", a.Status, status, fail, a)
}

func oneOf[V cmc.Value](a *told) V {
	a.t.Helper()
	v, err := cmc.One[V](a.message.Controls())
	if err != nil || v == nil {
		a.t.Fatalf("the answer has not that control: %v", err)
	}
	return v.Value
}

// of makes a wish with a key.
func of(t testing.TB, cn string, names ...string) wish { return asking(cn, names...).keyed(t) }

// extension makes one whose content nobody reads.
func extension(critical bool, oid ...int) pkix.Extension {
	return pkix.Extension{Id: asn1.ObjectIdentifier(oid), Critical: critical, Value: []byte{5, 0}}
}

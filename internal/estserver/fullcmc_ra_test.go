package estserver_test

import (
	"crypto/x509/pkix"
	"net/http"
	"testing"

	"chancery/cms"
	"chancery/cms/cmc"
	"chancery/internal/ca"
	"chancery/internal/certtest"
	"chancery/internal/estserver"
)

func raWorld(t *testing.T) (w *cmcWorld, ra, device *holder) {
	w = newCMCWorld(t, cmcLabel(func(l *estserver.Label) {
		l.RAs, l.RANames, l.RAUnlinked = []string{"ra"}, []string{"*.iot.example", "O=*"}, true
	}))
	return w, w.certify("ra", ca.Subject{CommonName: "ra"}), w.device
}

// TestFullCMCByRA: an RA wraps what a client made, and says what it found (RFC 5272 §6.5,
// §6.8, RFC 6402 §2.5).
func TestFullCMCByRA(t *testing.T) {
	w, ra, device := raWorld(t)
	key := certtest.Key(t)
	client := func() *letter {
		l := newLetter(t).numbered()
		k := asking("", "client.iot.example")
		k.key = key
		l.crmf(k, func(*cmc.CertReqMsg) {}) // no proof of possession
		l.wrap.Signers = []cms.Signing{{NoSignature: true, KeyID: []byte{1}}}
		return l.proving("known to the RA", "known to the RA alone")
	}
	request := client().data.Requests[0].ID
	proof := cmc.BodyPartID(0)
	for _, c := range client().data.Controls {
		if c.Type.Equal(cmc.OIDIdentityProofV2) {
			proof = c.ID
		}
	}
	wrap := func(by *holder, values func(part cmc.BodyPartID) []cmc.Value) *told {
		l := newLetter(t).numbered()
		part := l.data.AddCMS(client().der())
		l.add(values(part)...)
		return w.ask(l.by(by))
	}
	all := func(part cmc.BodyPartID) []cmc.Value {
		return []cmc.Value{cmc.RAIdentityWitness{part, proof}, cmc.LRAPOPWitness{PKIData: part, Bodies: []cmc.BodyPartID{request}}}
	}
	a := wrap(ra, all)
	cert := a.granted(key)
	if d := w.detail(cert); d["possession"] != "registration authority" || cert.DNSNames[0] != "client.iot.example" {
		t.Errorf("%v", d)
	}
	if s := a.statuses[0]; len(s.Bodies) != 1 || len(s.Bodies[0].Path) != 2 || s.Bodies[0].Path[1] != request {
		t.Errorf("the status names %+v", s.Bodies)
	}
	// Without the word for the key, it is challenged; without that for the identity, the
	// proof is looked at.
	if a := wrap(ra, func(part cmc.BodyPartID) []cmc.Value { return all(part)[:1] }); a.statuses[0].Status != cmc.POPRequired {
		t.Errorf("%s", a)
	}
	wrap(ra, func(part cmc.BodyPartID) []cmc.Value { return all(part)[1:] }).refused(http.StatusForbidden, cmc.BadIdentity)
	// controlProcessed is such a word, too.
	wrap(ra, func(part cmc.BodyPartID) []cmc.Value {
		return append(all(part)[1:], cmc.ControlProcessed{{Path: cmc.Path{part, proof}}})
	}).granted(key)
	// From anybody else it is worth nothing.
	wrap(device, all).refused(http.StatusBadRequest, cmc.BadRequest)
	// Nor does an RA get what it may not ask for.
	key = certtest.Key(t)
	l := newLetter(t)
	k := asking("", "elsewhere.example")
	k.key = key
	id := l.pkcs10(k)
	w.ask(l.by(ra)).refused(http.StatusForbidden, cmc.BadRequest, id)
}

// TestFullCMCChangedByRA: modCertTemplate and addExtensions, in the message itself and in
// a nested one, the outer last.
func TestFullCMCChangedByRA(t *testing.T) {
	w, ra, device := raWorld(t)
	san := func(name string) []pkix.Extension {
		return []pkix.Extension{{Id: []int{2, 5, 29, 17}, Value: sanOf(t, name)}}
	}
	for name, test := range map[string]struct {
		values func(part cmc.Path, q cmc.BodyPartID) []cmc.Value
		want   string
		fail   cmc.FailInfo
	}{
		"modCertTemplate": {func(p cmc.Path, q cmc.BodyPartID) []cmc.Value {
			return []cmc.Value{cmc.ModCertTemplate{PKIData: p, Requests: []cmc.BodyPartID{q}, Template: cmc.CertTemplate{Extensions: san("m.iot.example")}}}
		}, "m.iot.example", 0},
		"addExtensions": {func(p cmc.Path, q cmc.BodyPartID) []cmc.Value {
			return []cmc.Value{cmc.AddExtensions{PKIData: p[0], Requests: []cmc.BodyPartID{q}, Extensions: san("e.iot.example")}}
		}, "e.iot.example", 0},
		"what is not certified": {func(p cmc.Path, q cmc.BodyPartID) []cmc.Value {
			return []cmc.Value{cmc.AddExtensions{PKIData: p[0], Requests: []cmc.BodyPartID{q}, Extensions: []pkix.Extension{extension(false, 1, 2, 3)}}}
		}, "", cmc.UnsupportedExt},
		"a validity": {func(p cmc.Path, q cmc.BodyPartID) []cmc.Value {
			return []cmc.Value{cmc.ModCertTemplate{PKIData: p, Requests: []cmc.BodyPartID{q}, Template: cmc.CertTemplate{Validity: &cmc.Validity{NotAfter: w.now()}}}}
		}, "", cmc.BadRequest},
		"a name that is not the RA's": {func(p cmc.Path, q cmc.BodyPartID) []cmc.Value {
			return []cmc.Value{cmc.ModCertTemplate{PKIData: p, Requests: []cmc.BodyPartID{q}, Template: cmc.CertTemplate{Extensions: san("m.elsewhere.example")}}}
		}, "", cmc.BadRequest},
	} {
		for _, nested := range []bool{false, true} {
			k := of(t, "", "asked.iot.example")
			l, path := newLetter(t), cmc.Path{cmc.Current}
			q := cmc.BodyPartID(0)
			if nested {
				inner := newLetter(t)
				q = inner.pkcs10(k)
				path[0] = l.data.AddCMS(inner.byKey(k.key).der())
			} else {
				q = l.crmf(k, nil)
			}
			l.add(test.values(path, q)...)
			a := w.ask(l.by(ra))
			if test.want == "" {
				a.refused(a.StatusCode, test.fail)
				if a.StatusCode < 400 {
					t.Errorf("%s: %s", name, a.Status)
				}
				continue
			}
			cert := a.granted(k.key)
			if len(cert.DNSNames) != 1 || cert.DNSNames[0] != test.want || w.detail(cert)["changed_by"] == "" {
				t.Errorf("%s, nested %v: %v", name, nested, cert.DNSNames)
			}
			if !nested {
				l.wrap = cmc.Wrapping{}
				w.ask(l.by(device)).refused(http.StatusBadRequest, cmc.BadRequest)
			}
		}
	}
}

// TestFullCMCVouchedByRA: raVerified in an RA's own message.
func TestFullCMCVouchedByRA(t *testing.T) {
	w, ra, _ := raWorld(t)
	k := of(t, "", "v.iot.example")
	l := newLetter(t)
	l.crmf(k, func(m *cmc.CertReqMsg) { m.POP = &cmc.POP{RAVerified: true} })
	if d := w.detail(w.ask(l.by(ra)).granted(k.key)); d["possession"] != "registration authority" {
		t.Errorf("%v", d)
	}
}

// TestFullCMCBatch: each message of a batch has its own answer (RFC 5272 §6.17).
func TestFullCMCBatch(t *testing.T) {
	w, ra, device := raWorld(t)
	for _, by := range []*holder{ra, device} {
		own := func(cn string) (*letter, wish) {
			k := like(device).keyed(t)
			if by == ra {
				k = of(t, "", cn)
			}
			l := newLetter(t).numbered()
			l.pkcs10(k)
			return l.by(device), k
		}
		a, first := own("a.iot.example")
		b, second := own("b.iot.example")
		bad := newLetter(t)
		bad.pkcs10(of(t, "", "bad.elsewhere.example"))
		l := newLetter(t)
		parts := cmc.BatchRequests{l.data.AddCMS(a.der()), l.data.AddCMS(b.der()), l.data.AddCMS(bad.by(device).der())}
		got := w.ask(l.add(parts).by(by))
		got.granted(nil)
		ids := oneOf[cmc.BatchResponses](got)
		if len(ids) != 3 {
			t.Fatalf("%d answers", len(ids))
		}
		for i, k := range []wish{first, second} {
			inner := w.part(got, ids[i])
			inner.granted(k.key)
			if oneOf[cmc.TransactionID](inner).Number.Int64() != 4711 {
				t.Error("the answer has not its own transaction")
			}
		}
		w.part(got, ids[2]).refused(http.StatusOK, cmc.BadRequest)
	}
}

// part reads a nested response.
func (w *cmcWorld) part(a *told, id cmc.BodyPartID) *told {
	w.t.Helper()
	for _, c := range a.message.Response.CMS {
		if c.ID == id {
			return w.readFull(a.reply, c.ContentInfo)
		}
	}
	w.t.Fatalf("there is no part %d", id)
	return nil
}

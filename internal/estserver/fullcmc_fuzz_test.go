package estserver_test

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"testing"

	"chancery/cms"
	"chancery/cms/cmc"
	"chancery/est"
	"chancery/internal/certtest"
)

// FuzzFullCMC: whatever is sent is answered, never as a fault of ours, and nothing that
// nobody signed gets a certificate.
func FuzzFullCMC(f *testing.F) {
	l := newLetter(f, cmc.DataReturn("x"), cmc.QueryPending("y"), cmc.RegInfo("z")).numbered()
	k := asking("a", "a.iot.example")
	k.key = certtest.Key(f)
	l.pkcs10(k)
	l.crmf(k, nil)
	l.byKey(k.key)
	f.Add(l.der())
	nested := newLetter(f)
	nested.add(cmc.BatchRequests{nested.data.AddCMS(l.der())})
	f.Add(nested.der())
	coded := newLetter(f, cmc.Identification("alice"))
	coded.wrap.Authenticate = cms.Password{Passphrase: cms.Passphrase("p"), Iterations: 1000}
	f.Add(coded.der())
	proven := newLetter(f)
	proven.pkcs10(k)
	proof, err := cmc.ProveIdentity(cmc.Identity{Secret: cmc.Secret("s")}, crypto.SHA256, []byte{0x30, 0})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(proven.add(proof).der())
	// One world for all: what an input leaves there must not bring the next further.
	w := newCMCWorld(f, cmcLabel(nil))
	w.ask(newLetter(f)) // has the responder certified
	before := w.issued()
	handler := w.server.Handler()
	f.Fuzz(func(t *testing.T, der []byte) {
		w.t = t
		w.log.reset()
		r := httptest.NewRequest(http.MethodPost, root+"fullcmc", bytes.NewReader(est.Encode(der, est.Bare)))
		r.Header.Set("Content-Type", "application/pkcs7-mime; smime-type=CMC-request")
		r.TLS = &tls.ConnectionState{Version: tls.VersionTLS13}
		got := httptest.NewRecorder()
		handler.ServeHTTP(got, r)
		if got.Code >= http.StatusInternalServerError || got.Code != http.StatusOK && got.Body.Len() == 0 {
			t.Errorf("%d: %s", got.Code, got.Body)
		}
		if w.issued() != before {
			t.Error("something was issued")
		}
	})
}

package device

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"chancery/cms"
	"chancery/cms/cmc"
	"chancery/est"
)

// clerk answers /fullcmc.
type clerk struct {
	sequence int64    // of publishTrustAnchors; 0: none
	revoked  []string // serials
	polls    int
	proof    *est.Proof        // that each message has to have; nil: none
	granted  *x509.Certificate // what a poll is answered with
}

func (s *server) cmc(w http.ResponseWriter, x exchange) {
	der, err := est.Decode(x.body, 1<<20)
	if err != nil {
		s.t.Error(err)
		return
	}
	m, err := cmc.Opener{}.Open(der)
	if err != nil {
		s.t.Error(err)
		return
	}
	p, status := &cmc.PKIResponse{}, http.StatusOK
	info := cmc.StatusInfoV2{Status: cmc.Success, Bodies: []cmc.Reference{{ID: cmc.Current}}}
	key := makeKey(s.t)
	signer := sign(s.t, s.below, x509.Certificate{Subject: pkix.Name{CommonName: "CMC"}, KeyUsage: x509.KeyUsageDigitalSignature, UnknownExtKeyUsage: []asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 28}}}, key)
	enclosed := [][]byte{signer.Raw, s.below.Cert.Raw}
	if want := s.clerk.proof; want != nil {
		name, _ := cmc.One[cmc.Identification](m.Controls())
		if err := m.Data.VerifyIdentity(cmc.Secret(want.Secret), cmc.Options{}); err != nil || name == nil || string(name.Value) != want.Name {
			http.Error(w, "who are you?", http.StatusForbidden)
			return
		}
		if asks := len(m.Data.Requests) > 0; asks != (len(m.Signers()) > 0) {
			s.t.Errorf("%d requests, %d signers", len(m.Data.Requests), len(m.Signers()))
		}
	}
	for _, q := range m.Data.Requests {
		r, err := est.ParseRequest(q.PKCS10)
		if err != nil {
			s.t.Error(err)
			return
		}
		made := s.grant(r, r.PublicKey)
		if s.waits > 0 {
			s.waits--
			s.clerk.granted, status = made, http.StatusAccepted
			info.Status, info.Text, info.Pend = cmc.Pending, "the people are asked", &cmc.PendInfo{Token: []byte("tok"), Time: time.Now().Add(time.Second).UTC().Truncate(time.Second)}
			continue
		}
		enclosed = append(enclosed, made.Raw)
	}
	if poll, err := cmc.One[cmc.QueryPending](m.Controls()); err == nil && poll != nil && string(poll.Value) == "tok" {
		s.clerk.polls++
		enclosed = append(enclosed, s.clerk.granted.Raw)
	}
	if r, err := cmc.One[cmc.RevokeRequest](m.Controls()); err == nil && r != nil {
		s.clerk.revoked = append(s.clerk.revoked, r.Value.Serial.Text(16))
	}
	transaction, _ := cmc.One[cmc.TransactionID](m.Controls())
	nonce, _ := cmc.One[cmc.SenderNonce](m.Controls())
	err = p.Add(info, transaction.Value, cmc.RecipientNonce(nonce.Value))
	if s.clerk.sequence > 0 && err == nil {
		enclosed = append(enclosed, s.ca.Cert.Raw)
		var v cmc.PublishTrustAnchors
		if v, err = cmc.Publish(big.NewInt(s.clerk.sequence), s.ca.Cert.Raw); err == nil {
			err = p.Add(v)
		}
	}
	if err != nil {
		s.t.Error(err)
	}
	out, err := cmc.FullResponse(p, cmc.Wrapping{Certificates: enclosed, Signers: []cms.Signing{{Key: key, Certificate: signer, Extra: []cms.Attribute{cms.SigningTime(time.Now())}}}})
	if err != nil {
		s.t.Error(err)
	}
	w.Header().Set("Content-Type", est.PKCS7Mime+"; smime-type="+est.CMCResponse)
	if status == http.StatusAccepted {
		w.Header().Set("Retry-After", "1")
	}
	w.WriteHeader(status)
	_, _ = w.Write(est.Encode(out, est.Wrapped))
}

// A request by CMC waits, is asked for by its token from another process, and the
// certificate that came of it is revoked.
func TestByCMC(t *testing.T) {
	s := start(t)
	s.waits = 1
	c := &clock{}
	dir := t.TempDir()
	at := func(o *Options) { o.Now = c.now }
	d := s.open(t, dir, at)
	order := func(d *Device, f Full) error {
		return locked(t, d, plain, func(state *State) error { _, err := d.FullEnroll(t.Context(), state, f); return err })
	}
	err := order(d, Full{Ask: Ask{Fingerprint: s.fingerprint()}})
	if p, ok := errors.AsType[*est.PendingError](err); !ok || p.Text != "the people are asked" {
		t.Fatalf("%v", err)
	}
	key, err := os.ReadFile(d.path(pendingKey))
	if err != nil {
		t.Fatal(err)
	}
	c.move(5 * time.Second)
	if p := pass(t, s.open(t, dir, at)); p.Err != nil || s.clerk.polls != 1 {
		t.Fatalf("%+v, %d polls", p, s.clerk.polls)
	}
	if got, err := os.ReadFile(d.Paths().Key); err != nil || string(got) != string(key) {
		t.Errorf("another key is certified: %v", err)
	}
	state, err := d.State()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Revoke(t.Context(), state, est.Revocation{Reason: 1}); err != nil || len(s.clerk.revoked) != 1 || s.clerk.revoked[0] != state.Current.Serial {
		t.Errorf("%v, %v", s.clerk.revoked, err)
	}
}

// Who proved a shared secret to ask proves it to ask again: from where it was, or told
// anew; without it the request stays.
func TestProofOfARequestThatWaits(t *testing.T) {
	for _, kept := range []bool{true, false} {
		s := start(t)
		s.waits, s.clerk.proof = 1, &est.Proof{Name: "line1", Secret: "s3cret"}
		c := &clock{}
		d := s.open(t, t.TempDir(), func(o *Options) { o.Now = c.now })
		order := func(f Full) error {
			return locked(t, d, plain, func(state *State) error { _, err := d.FullEnroll(t.Context(), state, f); return err })
		}
		f := Full{Ask: Ask{Fingerprint: s.fingerprint()}, Proof: s.clerk.proof}
		if kept {
			path := filepath.Join(t.TempDir(), "secret")
			if err := os.WriteFile(path, []byte("s3cret\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			f.Where = &Login{Proof: "file:" + path}
		}
		if _, ok := errors.AsType[*est.PendingError](order(f)); !ok {
			t.Fatal("it does not wait")
		}
		c.move(5 * time.Second)
		err := order(Full{})
		if kept != (err == nil) {
			t.Fatalf("kept %t: %v", kept, err)
		}
		if kept {
			continue
		}
		if state, err := d.State(); err != nil || state.Pending == nil || state.Pending.PendToken == nil || s.clerk.polls != 0 {
			t.Fatalf("%+v, %v", state, err)
		}
		if err := order(Full{Proof: s.clerk.proof}); err != nil || s.clerk.polls != 1 {
			t.Errorf("told again: %v", err)
		}
	}
}

// Published anchors: the first by fingerprint, later ones by a higher number.
func TestPublished(t *testing.T) {
	s := start(t)
	s.clerk.sequence = 5
	d := s.open(t, t.TempDir(), nil)
	take := func(fingerprint string) error {
		return locked(t, d, plain, func(state *State) error { return d.Published(t.Context(), state, fingerprint) })
	}
	if err := take(""); !errors.Is(err, ErrNobody) || len(s.asked) > 0 {
		t.Errorf("%v", err)
	}
	if err := take(s.fingerprint()); err != nil {
		t.Fatal(err)
	}
	if err := take(""); err != nil { // the same again is nothing new
		t.Errorf("%v", err)
	}
	s.set(func() { s.clerk.sequence = 4 })
	if err := take(""); !est.Is(err, est.Untrusted) {
		t.Errorf("%v", err)
	}
	s.set(func() { s.clerk.sequence = 6 })
	if err := take(""); err != nil {
		t.Error(err)
	}
	if state, err := d.State(); err != nil || state.Sequence != "6" {
		t.Errorf("%+v, %v", state, err)
	}
}

package estserver_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"net"
	"testing"
	"time"

	"chancery/est"
	"chancery/internal/certtest"
	"chancery/internal/estserver"
)

// own gives our client, who trusts the server's TLS and our root; label "" is none.
func (w *cmcWorld) own(label string) *est.Client {
	w.t.Helper()
	c, err := est.NewClient(est.ClientConfig{
		Server: "example.com", Label: label, Trust: est.Trust{Explicit: []*x509.Certificate{w.front.Certificate(), w.authority.Issuers().Roots()[0]}},
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, w.front.Listener.Addr().String())
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(c.Close)
	return c
}

func (h *holder) identity() *est.ClientIdentity {
	return &est.ClientIdentity{Certificate: h.cert, Key: h.key}
}

// TestFullCMCOwnClient: what our client asks, our server answers.
func TestFullCMCOwnClient(t *testing.T) {
	manual := cmcLabel(func(l *estserver.Label) {
		l.Name, l.Manual, l.RetryAfter, l.PendingLife, l.Names = "manual", true, time.Second, time.Hour, nil
	})
	free := cmcLabel(func(l *estserver.Label) { l.Name = "free" })
	w := newCMCWorld(t, cmcLabel(func(l *estserver.Label) { l.RequireLinking = true }), manual, free)
	w.shares("alice", "correct horse", "*.alice.example")
	order := func(name string) est.Enrolment {
		return est.Enrolment{Key: certtest.Key(t), Request: est.Request{SubjectName: pkix.Name{CommonName: name}, DNSNames: []string{name}}}
	}
	proof := &est.Proof{Name: "alice", Secret: "correct horse"}
	for name, f := range map[string]est.Full{
		"PKCS #10 by a secret":      {Enrolment: order("a.alice.example"), Proof: proof},
		"CRMF by a secret":          {Enrolment: order("b.alice.example"), Proof: proof, CRMF: true},
		"PKCS #10 by a certificate": {Enrolment: order("thing-7.iot.example"), Signer: w.device.identity()},
	} {
		a, err := w.own("").FullCMC(t.Context(), f)
		if err != nil || a.Issued == nil || a.Publication == nil || len(a.Publication.Anchors) != 1 {
			t.Errorf("%s: %+v, %v", name, a, err)
			continue
		}
		issued := &holder{key: f.Key, cert: a.Issued.Certificate}
		if _, err := w.own("").FullCMC(t.Context(), est.Full{Signer: issued.identity(), Revoke: &est.Revocation{Certificate: issued.cert, Reason: 1}}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if w.record(issued.cert).RevokedAt.IsZero() {
			t.Errorf("%s: it is not revoked", name)
		}
	}
	sealed, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	e := order("thing-7.iot.example")
	e.Key = nil
	a, err := w.own("free").FullCMC(t.Context(), est.Full{Enrolment: e, Sealed: sealed, Signer: w.device.identity()})
	if err != nil || !sealed.PublicKey.Equal(a.Issued.Certificate.PublicKey) {
		t.Errorf("a key that can only decrypt: %v", err)
	}
	if _, err := w.own("").FullCMC(t.Context(), est.Full{Enrolment: order("x.elsewhere.example"), Proof: proof}); err == nil {
		t.Error("another's name is given")
	} else if failed, ok := errors.AsType[*est.FullError](err); !ok || failed.HTTP != 403 || failed.Pending {
		t.Errorf("%v", err)
	}

	e = order("m.corp.example")
	_, err = w.own("manual").FullCMC(t.Context(), est.Full{Enrolment: e, Signer: w.device.identity()})
	failed, ok := errors.AsType[*est.FullError](err)
	if !ok || !failed.Pending {
		t.Fatalf("%v", err)
	}
	w.decide(string(failed.Token), estserver.Approved, "")
	a, err = w.own("manual").FullCMC(t.Context(), est.Full{Enrolment: est.Enrolment{Key: e.Key, Request: e.Request}, Signer: w.device.identity(), Poll: failed.Token, Transaction: failed.Transaction})
	if err != nil || a.Issued == nil || w.record(a.Issued.Certificate).By.Room != estserver.Room {
		t.Errorf("%v", err)
	}
}

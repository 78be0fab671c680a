package testca_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"chancery/acme"
	"chancery/testca"
)

// answering is an http-01 solver on the CA's port.
type answering struct{ mux *http.ServeMux }

func (a answering) Types(acme.Identifier) []acme.ChallengeType {
	return []acme.ChallengeType{"http-01"}
}

func (a answering) Present(_ context.Context, _ acme.Identifier, c acme.Challenge, keyAuth string) error {
	a.mux.HandleFunc(acme.HTTP01Path(c.Token), func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, keyAuth) })
	return nil
}

func (a answering) CleanUp(context.Context, acme.Identifier, acme.Challenge, string) error {
	return nil
}

func TestObtainFromAwkwardCA(t *testing.T) {
	// The client asks eleven times: one in 10^10 runs would be refused so often.
	ca := testca.Start(t, testca.Awkward(testca.Trouble{BadNonces: 0.1, Delay: 10 * time.Millisecond, Seed: 25}))
	solver := answering{http.NewServeMux()}
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", ca.HTTPPort))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: solver.mux}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	client := &acme.Client{Directory: ca.Directory, HTTP: ca.HTTP(), Key: key}
	if _, err := client.Register(ctx, acme.Registration{}); err != nil {
		t.Fatal(err)
	}
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	got, err := client.Obtain(ctx, acme.ObtainRequest{
		Identifiers: []acme.Identifier{{Type: "dns", Value: "shop.example"}}, Key: leafKey, Solver: solver,
	})
	if err != nil {
		t.Fatal(err)
	}
	above := x509.NewCertPool()
	for _, c := range got.Certificates[1:] {
		above.AddCert(c)
	}
	if _, err := got.Certificates[0].Verify(x509.VerifyOptions{DNSName: "shop.example", Roots: ca.Pool(), Intermediates: above}); err != nil {
		t.Fatal(err)
	}
}

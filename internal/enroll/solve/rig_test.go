package solve_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"net"
	"strings"
	"testing"

	"chancery/acme"
	"chancery/internal/enroll/solve"
	"chancery/internal/resolver"
	"chancery/testca"
)

const (
	token      = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA"
	thumbprint = "9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI"
	keyAuth    = token + "." + thumbprint
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func name(value string) acme.Identifier {
	return acme.Identifier{Type: acme.IdentifierDNS, Value: value}
}

func address(value string) acme.Identifier {
	return acme.Identifier{Type: acme.IdentifierIP, Value: value}
}

func challenge(typ acme.ChallengeType, token string) acme.Challenge {
	return acme.Challenge{Type: typ, Token: token}
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	return key
}

// register gives a client with an account.
func register(t testing.TB, ca *testca.CA) *acme.Client {
	t.Helper()
	client := &acme.Client{Directory: ca.Directory, HTTP: ca.HTTP(), Key: newKey(t)}
	_, err := client.Register(t.Context(), acme.Registration{})
	must(t, err)
	return client
}

// obtain gets a certificate and checks that it is for the identifiers.
func obtain(ctx context.Context, client *acme.Client, set *solve.Set, job solve.Job) error {
	job.Account = client.AccountURL
	task, err := set.Begin(ctx, job)
	if err != nil {
		return err
	}
	defer task.Close(ctx)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	chain, err := client.Obtain(ctx, acme.ObtainRequest{Identifiers: job.Identifiers, Key: key, Solver: task})
	if err != nil {
		return err
	}
	for _, id := range job.Identifiers {
		if err := verify(chain.Certificates[0], id); err != nil {
			return err
		}
	}
	return nil
}

func verify(c *x509.Certificate, id acme.Identifier) error {
	return c.VerifyHostname(strings.Replace(id.Value, "*", "x", 1))
}

// loopback is the address of a port on it.
func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// free says whether a port can be listened on.
func free(address string) error {
	l, err := net.Listen("tcp", address)
	if err == nil {
		l.Close()
	}
	return err
}

func ask(t testing.TB, servers ...string) *resolver.Resolver {
	t.Helper()
	r, err := resolver.New(resolver.Config{Servers: servers, Attempts: 1})
	must(t, err)
	return r
}

package interop_test

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"chancery/internal/desk"
	"chancery/testca"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
)

// xcrypto is golang.org/x/crypto/acme with an account.
type xcrypto struct {
	*stage
	*acme.Client
	ctx context.Context
}

func newXCrypto(t *testing.T, key crypto.Signer, options ...testca.Option) xcrypto {
	w := start(t, options...)
	x := xcrypto{newStage(w), &acme.Client{Key: key, DirectoryURL: w.Directory, HTTPClient: w.HTTP()}, t.Context()}
	if _, err := x.Register(x.ctx, &acme.Account{Contact: []string{"mailto:who@a.example"}}, acme.AcceptTOS); err != nil {
		t.Fatal(err)
	}
	return x
}

// put puts up the response to a challenge.
func (x xcrypto) put(id acme.AuthzID, c *acme.Challenge) error {
	switch c.Type {
	case "http-01":
		text, err := x.HTTP01ChallengeResponse(c.Token)
		if err != nil {
			return err
		}
		return x.putFile(x.HTTP01ChallengePath(c.Token), text)
	case "dns-01":
		value, err := x.DNS01ChallengeRecord(c.Token)
		if err != nil {
			return err
		}
		request, err := http.NewRequestWithContext(x.ctx, http.MethodPut, x.control+"/txt/_acme-challenge."+id.Value, strings.NewReader(value))
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		return response.Body.Close()
	}
	cert, err := x.TLSALPN01ChallengeCert(c.Token, id.Value)
	if err != nil {
		return err
	}
	x.putCertificate(serverName(id.Value), &cert)
	return nil
}

// serverName is what a validator says in its ClientHello: of an address, the
// name in the reverse mapping (RFC 8738 §6).
func serverName(value string) string {
	ip := net.ParseIP(value)
	if ip == nil {
		return value
	}
	b := ip.To4()
	return fmt.Sprintf("%d.%d.%d.%d.in-addr.arpa", b[3], b[2], b[1], b[0])
}

// prove does one kind of challenge for every pending authorization.
func (x xcrypto) prove(order *acme.Order, kind string) {
	x.t.Helper()
	for _, url := range order.AuthzURLs {
		z, err := x.GetAuthorization(x.ctx, url)
		if err != nil {
			x.t.Fatal(err)
		}
		if z.Status == acme.StatusPending {
			x.proveOne(z, kind)
		}
	}
}

func (x xcrypto) proveOne(z *acme.Authorization, kind string) {
	x.t.Helper()
	i := slices.IndexFunc(z.Challenges, func(c *acme.Challenge) bool { return c.Type == kind })
	if i < 0 {
		x.t.Fatalf("%s is not offered for %v", kind, z.Identifier)
	}
	if err := x.put(z.Identifier, z.Challenges[i]); err != nil {
		x.t.Fatal(err)
	}
	if _, err := x.Accept(x.ctx, z.Challenges[i]); err != nil {
		x.t.Fatal(err)
	}
	if _, err := x.WaitAuthorization(x.ctx, z.URI); err != nil {
		x.t.Fatal(err)
	}
}

// want is an order.
type want struct {
	kind  string // of challenge
	names []string
	key   crypto.Signer
	more  []acme.OrderOption
}

// obtain goes the whole way and gives the chain and its URL.
func (x xcrypto) obtain(w want) (split, string) {
	x.t.Helper()
	var ids []acme.AuthzID
	for _, name := range w.names {
		if net.ParseIP(name) != nil {
			ids = append(ids, acme.IPIDs(name)...)
		} else {
			ids = append(ids, acme.DomainIDs(name)...)
		}
	}
	order, err := x.AuthorizeOrder(x.ctx, ids, w.more...)
	if err != nil {
		x.t.Fatal(err)
	}
	x.prove(order, w.kind)
	if order, err = x.WaitOrder(x.ctx, order.URI); err != nil {
		x.t.Fatal(err)
	}
	chain, url, err := x.CreateCertFromOrder(x.ctx, order, request(x.t, w.key, w.names...), true)
	if err != nil {
		x.t.Fatal(err)
	}
	return x.chain(chain), url
}

func (x xcrypto) chain(der [][]byte) split {
	x.t.Helper()
	var all []*x509.Certificate
	for _, one := range der {
		cert, err := x509.ParseCertificate(one)
		if err != nil {
			x.t.Fatal(err)
		}
		all = append(all, cert)
	}
	return x.splitPEM(encode(all))
}

func TestXCryptoObtainsAndRevokes(t *testing.T) {
	x := newXCrypto(t, rsaKey(t), testca.Terms("https://ca.example/terms"))
	p := x.party()
	key := ecKey(t)
	http01, _ := x.obtain(want{kind: "http-01", names: []string{"a.example", "127.0.0.1"}, key: key})
	p.good(http01, "a.example", "127.0.0.1")
	alpn, _ := x.obtain(want{kind: "tls-alpn-01", names: []string{"b.example"}, key: rsaKey(t)})
	p.good(alpn, "b.example")
	wantKey(t, alpn, "RSA 2048")
	dns, _ := x.obtain(want{kind: "dns-01", names: []string{"w.example", "*.w.example"}, key: ecKey(t)})
	p.good(dns, "w.example", "*.w.example")

	if err := x.RevokeCert(x.ctx, nil, alpn.cert.Raw, acme.CRLReasonSuperseded); err != nil {
		t.Fatal(err)
	}
	if err := x.RevokeCert(x.ctx, ecKey(t), http01.cert.Raw, acme.CRLReasonKeyCompromise); err == nil {
		t.Error("a stranger's key revoked a certificate")
	}
	if err := x.RevokeCert(x.ctx, key, http01.cert.Raw, acme.CRLReasonKeyCompromise); err != nil {
		t.Fatal(err)
	}
	// The client takes alreadyRevoked for success.
	if err := x.RevokeCert(x.ctx, key, http01.cert.Raw, acme.CRLReasonKeyCompromise); err != nil {
		t.Errorf("again: %v", err)
	}
	p.revoked(alpn, "superseded")
	p.revoked(http01, "keyCompromise")
	p.good(dns, "w.example", "*.w.example")
}

func TestXCryptoAddressByTLSALPN(t *testing.T) {
	x := newXCrypto(t, ecKey(t))
	s, _ := x.obtain(want{kind: "tls-alpn-01", names: []string{"127.0.0.1"}, key: ecKey(t)})
	x.party().good(s, "127.0.0.1")
}

func TestXCryptoAccount(t *testing.T) {
	x := newXCrypto(t, ecKey(t))
	account, err := x.GetReg(x.ctx, "")
	if err != nil || account.Status != acme.StatusValid || !slices.Equal(account.Contact, []string{"mailto:who@a.example"}) {
		t.Fatalf("%+v, %v", account, err)
	}
	account.Contact = []string{"mailto:else@a.example"}
	if account, err = x.UpdateReg(x.ctx, account); err != nil || !slices.Equal(account.Contact, []string{"mailto:else@a.example"}) {
		t.Errorf("%+v, %v", account, err)
	}
	old := x.Key
	if err := x.AccountKeyRollover(x.ctx, rsaKey(t)); err != nil {
		t.Fatal(err)
	}
	if x.Key == old {
		t.Error("the client did not take the new key")
	}
	s, _ := x.obtain(want{kind: "http-01", names: []string{"a.example"}, key: ecKey(t)})
	stale := &acme.Client{Key: old, DirectoryURL: x.Directory, HTTPClient: x.HTTP()}
	if _, err := stale.GetReg(x.ctx, ""); !errors.Is(err, acme.ErrNoAccount) {
		t.Errorf("with the key before the rollover: %v", err)
	}
	if err := x.DeactivateReg(x.ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := x.AuthorizeOrder(x.ctx, acme.DomainIDs("a.example")); err == nil {
		t.Error("a deactivated account ordered")
	}
	x.party().good(s, "a.example")
}

// An authorization made beforehand serves the next order; a deactivated one none.
func TestXCryptoPreauthorization(t *testing.T) {
	x := newXCrypto(t, ecKey(t))
	z, err := x.Authorize(x.ctx, "a.example")
	if err != nil {
		t.Fatal(err)
	}
	x.proveOne(z, "http-01")
	order, err := x.AuthorizeOrder(x.ctx, acme.DomainIDs("a.example"))
	if err != nil || order.Status != acme.StatusReady {
		t.Fatalf("%+v, %v", order, err)
	}
	if err := x.RevokeAuthorization(x.ctx, z.URI); err != nil {
		t.Fatal(err)
	}
	if order, err = x.AuthorizeOrder(x.ctx, acme.DomainIDs("a.example")); err != nil || order.Status != acme.StatusPending {
		t.Errorf("%+v, %v", order, err)
	}
}

func TestXCryptoBinding(t *testing.T) {
	w := start(t, testca.RequireEAB())
	client := &acme.Client{Key: ecKey(t), DirectoryURL: w.Directory, HTTPClient: w.HTTP()}
	_, err := client.Register(t.Context(), &acme.Account{}, acme.AcceptTOS)
	if wrong := (*acme.Error)(nil); !errors.As(err, &wrong) || wrong.ProblemType != "urn:ietf:params:acme:error:externalAccountRequired" {
		t.Errorf("without a binding: %v", err)
	}
	made := w.bindingKey()
	secret, err := base64.RawURLEncoding.DecodeString(made.Secret)
	if err != nil {
		t.Fatal(err)
	}
	account, err := client.Register(t.Context(), &acme.Account{ExternalAccountBinding: &acme.ExternalAccountBinding{KID: made.ID, Key: secret}}, acme.AcceptTOS)
	if err != nil || account.Status != acme.StatusValid {
		t.Errorf("%+v, %v", account, err)
	}
}

func TestXCryptoProfile(t *testing.T) {
	x := newXCrypto(t, ecKey(t), testca.Profiles("tls-server", "device"))
	directory, err := x.Discover(x.ctx)
	if err != nil || len(directory.Profiles) != 2 || directory.Profiles["device"] == "" {
		t.Fatalf("%+v, %v", directory.Profiles, err)
	}
	device, _ := x.obtain(want{kind: "http-01", names: []string{"a.example"}, key: ecKey(t), more: []acme.OrderOption{acme.WithOrderIssuanceProfile("device")}})
	x.party().good(device, "a.example")
	if !slices.Contains(device.cert.ExtKeyUsage, x509.ExtKeyUsageClientAuth) {
		t.Errorf("extended key usage %v", device.cert.ExtKeyUsage)
	}
}

// After a rollover of root and issuer there is a chain to either root.
func TestXCryptoRollover(t *testing.T) {
	x := newXCrypto(t, ecKey(t))
	before, _ := x.obtain(want{kind: "http-01", names: []string{"b.example"}, key: ecKey(t)})
	made := operate[desk.Line, desk.RolledOver](x.world, "ca.rollover", desk.Line{Name: "root", NewName: true})
	trust := map[string]string{x.Root.Subject.CommonName: x.root, certificates(t, []byte(made.Made[0].PEM))[0].Subject.CommonName: x.write("next.pem", made.Made[0].PEM)}
	s, url := x.obtain(want{kind: "http-01", names: []string{"a.example"}, key: ecKey(t)})
	chains := []split{s}
	alternates, err := x.ListCertAlternates(x.ctx, url)
	if err != nil || len(alternates) != 1 {
		t.Fatalf("%q, %v", alternates, err)
	}
	der, err := x.FetchCert(x.ctx, alternates[0], true)
	if err != nil {
		t.Fatal(err)
	}
	chains = append(chains, x.chain(der))
	for _, c := range chains {
		top := c.all[len(c.all)-1].Issuer.CommonName
		p := x.party()
		if p.trust = trust[top]; p.trust == "" {
			t.Fatalf("a chain ends below %q", top)
		}
		p.good(c, "a.example")
		delete(trust, top)
	}
	if len(trust) != 0 {
		t.Errorf("no chain leads to %v", trust)
	}
	// What was issued before stays good, and can be revoked still.
	x.party().good(before, "b.example")
	if err := x.RevokeCert(x.ctx, nil, before.cert.Raw, acme.CRLReasonSuperseded); err != nil {
		t.Fatal(err)
	}
	x.party().revoked(before, "superseded")
}

// What went wrong reaches the person at the client.
func TestXCryptoIsTold(t *testing.T) {
	x := newXCrypto(t, ecKey(t))
	order, err := x.AuthorizeOrder(x.ctx, acme.DomainIDs("a.example"))
	if err != nil {
		t.Fatal(err)
	}
	z, err := x.GetAuthorization(x.ctx, order.AuthzURLs[0])
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(z.Challenges, func(c *acme.Challenge) bool { return c.Type == "http-01" })
	if err := x.putFile(x.HTTP01ChallengePath(z.Challenges[i].Token), "something else"); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Accept(x.ctx, z.Challenges[i]); err != nil {
		t.Fatal(err)
	}
	_, err = x.WaitAuthorization(x.ctx, z.URI)
	failed := (*acme.AuthorizationError)(nil)
	if !errors.As(err, &failed) || len(failed.Errors) != 1 {
		t.Fatalf("%v", err)
	}
	if told := (*acme.Error)(nil); !errors.As(failed.Errors[0], &told) || !strings.HasSuffix(told.ProblemType, ":unauthorized") {
		t.Errorf("%v", failed.Errors[0])
	}
}

// autocert fetches a certificate in the middle of a client's handshake, proving
// the name on that same port; curl then trusts the root alone.
func TestAutocert(t *testing.T) {
	w := start(t)
	manager := &autocert.Manager{
		Prompt: autocert.AcceptTOS, HostPolicy: autocert.HostWhitelist("shop.example"),
		Client: &acme.Client{DirectoryURL: w.Directory, HTTPClient: w.HTTP()},
	}
	hello := http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprint(rw, "hello") })
	serve(t, tls.NewListener(listen(t, fmt.Sprintf("127.0.0.1:%d", w.TLSPort)), manager.TLSConfig()), hello)
	p := w.party()
	at := fmt.Sprintf("shop.example:%d", w.TLSPort)
	said := w.run(command{name: p.curl, args: []string{"-sSf", "--cacert", w.root, "--resolve", at + ":127.0.0.1", "https://" + at + "/"}})
	if said != "hello" {
		t.Errorf("curl got %q", said)
	}
}

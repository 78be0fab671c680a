package daemon_test

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"chancery/est"
	"chancery/internal/config"
	"chancery/internal/estserver"
	"chancery/internal/peertest"
)

// slowly has requests wait for an approver, and each tied to its own TLS connection, so
// that no repeat has the octets of the one before.
func slowly(c *config.Config) {
	c.EST.Labels = []config.Label{{Manual: true, RequireLinking: true, Names: []string{"*.iot.example", "CN=*"},
		Operations: []string{"csrattrs", "simpleenroll", "simplereenroll", "serverkeygen"}}}
}

// enrolling is one device with one key and one way to log in.
type enrolling struct {
	t     *testing.T
	key   crypto.Signer
	login *est.Login
}

// at asks a server, on a connection of its own.
func (e *enrolling) at(s *server) *est.Client {
	e.t.Helper()
	c := must[*est.Client](e.t)(est.NewClient(est.ClientConfig{
		Server: "ca.localhost", Login: e.login, Trust: est.Trust{Explicit: s.daemon.Roots()},
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, s.Public)
		},
	}))
	e.t.Cleanup(c.Close)
	return c
}

func (e *enrolling) wants(name string) est.Enrolment {
	return est.Enrolment{Key: e.key, Request: est.Request{Subject: must[[]byte](e.t)(asn1.Marshal(pkix.Name{CommonName: name}.ToRDNSequence())), DNSNames: []string{name}}}
}

// waits asks for a name and wants a 202.
func (e *enrolling) waits(s *server, name string) {
	e.t.Helper()
	_, err := e.at(s).Enroll(e.t.Context(), e.wants(name))
	if waits, ok := errors.AsType[*est.PendingError](err); !ok || waits.After <= 0 {
		e.t.Fatalf("%s does not wait: %v", name, err)
	}
}

// gets asks for a name and wants a certificate.
func (e *enrolling) gets(s *server, name string) *x509.Certificate {
	e.t.Helper()
	got, err := e.at(s).Enroll(e.t.Context(), e.wants(name))
	if err != nil {
		e.t.Fatalf("%s: %v", name, err)
	}
	if !got.Linked {
		e.t.Errorf("%s: the request was not tied to its connection", name)
	}
	return got.Certificate
}

// refused asks for a name and wants a status, and some words.
func (e *enrolling) refused(s *server, name string, status int, words string) {
	e.t.Helper()
	_, err := e.at(s).Enroll(e.t.Context(), e.wants(name))
	if refused, ok := errors.AsType[*est.StatusError](err); !ok || refused.Status != status || !strings.Contains(refused.Text, words) {
		e.t.Errorf("%s: %v; want %d %q", name, err, status, words)
	}
}

// decide says an approver's word about the one request that waits.
func decide(s *server, operation, reason string) {
	s.t.Helper()
	list := must[estserver.RequestsShown](s.t)(ask[estserver.RequestsWanted, estserver.RequestsShown](s, "est.requests.list", estserver.RequestsWanted{State: estserver.Undecided}))
	if len(list.Requests) != 1 {
		s.t.Fatalf("%d requests wait: %+v", len(list.Requests), list.Requests)
	}
	must[estserver.RequestShown](s.t)(ask[estserver.RequestDecided, estserver.RequestShown](s, operation, estserver.RequestDecided{ID: list.Requests[0].ID, Reason: reason}))
}

func userOf(t *testing.T, s *server) *est.Login {
	t.Helper()
	made := must[estserver.CredentialMade](t)(ask[estserver.UserWanted, estserver.CredentialMade](s, "est.user.add", estserver.UserWanted{Grant: estserver.Grant{User: "line"}}))
	return &est.Login{User: "line", Password: est.Password(made.Password)}
}

// TestESTPendingOverRestarts stops the server between a request and its approval, and
// between that and the certificate (RFC 7030 §4.2.3).
func TestESTPendingOverRestarts(t *testing.T) {
	engines(t, func(t *testing.T, url string) {
		p := plan(t, newSite(t), url)
		p.change = slowly
		s := start(t, p)
		again := func() {
			s.close()
			s = start(t, p)
		}
		e := &enrolling{t, newKey(t), userOf(t, s)}
		e.waits(s, "a.iot.example")
		again()
		e.waits(s, "a.iot.example")
		decide(s, "est.requests.approve", "")
		again()
		first := e.gets(s, "a.iot.example")
		again()
		if second := e.gets(s, "a.iot.example"); !first.Equal(second) {
			t.Error("the repeat of a request got another certificate")
		}
		// Another key is another request.
		(&enrolling{t, newKey(t), e.login}).waits(s, "a.iot.example")
		decide(s, "est.requests.refuse", "one is enough")
	})
}

// replicasWith starts two servers over one PostgreSQL.
func replicasWith(t *testing.T, change func(*config.Config)) (a, b *server) {
	t.Helper()
	web := newSite(t)
	p := plan(t, web, peertest.Postgres(t))
	p.change = change
	a = start(t, p)
	other := second(t, web, p)
	other.change = change
	return a, start(t, other)
}

// TestESTPendingOverReplicas: what one replica was asked is decided and answered at
// the other, and a one-time password is spent at both.
func TestESTPendingOverReplicas(t *testing.T) {
	t.Parallel()
	a, b := replicasWith(t, slowly)
	e := &enrolling{t, newKey(t), userOf(t, a)}
	e.waits(a, "a.iot.example")
	e.waits(b, "a.iot.example")
	decide(b, "est.requests.approve", "")
	first := e.gets(b, "a.iot.example")
	if other := e.gets(a, "a.iot.example"); !first.Equal(other) {
		t.Error("the replicas give two certificates for one request")
	}

	e = &enrolling{t, newKey(t), e.login}
	e.waits(a, "b.iot.example")
	decide(b, "est.requests.refuse", "nobody knows this device")
	e.refused(a, "b.iot.example", http.StatusForbidden, "nobody knows this device")

	made := must[estserver.CredentialMade](t)(ask[estserver.OneTimeWanted, estserver.CredentialMade](a, "est.otp.add", estserver.OneTimeWanted{}))
	e = &enrolling{t, newKey(t), &est.Login{Password: est.Password(made.Password)}}
	thief := &enrolling{t, newKey(t), e.login}
	e.waits(b, "c.iot.example")
	thief.refused(a, "c.iot.example", http.StatusForbidden, "waits for a decision")
	decide(a, "est.requests.approve", "")
	thief.refused(a, "c.iot.example", http.StatusForbidden, "waits for a decision")
	first = e.gets(a, "c.iot.example")
	if other := e.gets(b, "c.iot.example"); !first.Equal(other) {
		t.Error("one password got two certificates")
	}
	thief.refused(b, "c.iot.example", http.StatusForbidden, "one-time password")
}

// TestESTKeysOverReplicas: a key that waits for approval is made once, at whichever
// replica it is asked for first, and never sent again.
func TestESTKeysOverReplicas(t *testing.T) {
	t.Parallel()
	a, b := replicasWith(t, slowly)
	e := &enrolling{t, nil, userOf(t, a)}
	order := func(s *server) (*est.Made, error) {
		return e.at(s).ServerKeyGen(t.Context(), est.KeyOrder{Enrolment: e.wants("k.iot.example")})
	}
	waits := func(s *server) {
		t.Helper()
		if _, err := order(s); err == nil || !errors.As(err, new(*est.PendingError)) {
			t.Fatalf("%v", err)
		}
	}
	waits(a)
	waits(b)
	decide(b, "est.requests.approve", "")
	got := must[*est.Made](t)(order(a))
	if !got.Key.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(got.Certificate.PublicKey) {
		t.Error("the key is not the certificate's")
	}
	db, _ := a.store(t)
	defer db.Close()
	for _, test := range []struct {
		status int
		words  string
	}{{http.StatusServiceUnavailable, "being answered"}, {http.StatusForbidden, "not sent twice"}} {
		for _, s := range []*server{a, b} {
			_, err := order(s)
			if refused, ok := errors.AsType[*est.StatusError](err); !ok || refused.Status != test.status || !strings.Contains(refused.Text, test.words) {
				t.Errorf("a repeat: %v; want %d %q", err, test.status, test.words)
			}
		}
		alter(t, db, `UPDATE certificates SET intended = 1 WHERE room = 'est'`) // a minute ago
	}
	if n := number(t, db, `SELECT COUNT(*) FROM certificate_names WHERE name = 'dns:k.iot.example'`); n != 1 {
		t.Errorf("%d certificates", n)
	}
}

// TestESTDigestOverReplicas: the replicas take each other's nonces, and none of them
// twice (RFC 7616 §3.3).
func TestESTDigestOverReplicas(t *testing.T) {
	t.Parallel()
	a, b := replicasWith(t, func(c *config.Config) {
		c.EST.Digest = "sha-256"
		c.EST.Labels = []config.Label{{Names: []string{"*.iot.example", "CN=*"}}}
	})
	login := userOf(t, a)
	nonce := func(s *server) string {
		t.Helper()
		res, _ := newDevice(t, s, s.Public).enroll(est.WellKnown+"/simpleenroll", csrFor(t, newKey(t), "n.iot.example"), nil)
		_, rest, ok := strings.Cut(res.Header.Get("Www-Authenticate"), `nonce="`)
		if !ok || res.StatusCode != http.StatusUnauthorized {
			t.Fatalf("%s: %v", res.Status, res.Header)
		}
		value, _, _ := strings.Cut(rest, `"`)
		return value
	}
	hash := func(text string) string { sum := sha256.Sum256([]byte(text)); return hex.EncodeToString(sum[:]) }
	with := func(s *server, nonce, count string) *http.Response {
		t.Helper()
		path := est.WellKnown + "/simpleenroll"
		response := hash(strings.Join([]string{hash(login.User + ":EST:" + string(login.Password)), nonce, count, "c", "auth", hash("POST:" + path)}, ":"))
		res, _ := newDevice(t, s, s.Public).enroll(path, csrFor(t, newKey(t), "n.iot.example"), func(r *http.Request) {
			r.Header.Set("Authorization", fmt.Sprintf(`Digest username="%s", realm="EST", nonce="%s", uri="%s", algorithm=SHA-256, qop=auth, nc=%s, cnonce="c", response="%s"`, login.User, nonce, path, count, response))
		})
		return res
	}
	first := nonce(a)
	if res := with(b, first, "00000001"); res.StatusCode != http.StatusOK {
		t.Errorf("a nonce of the other replica: %s %v", res.Status, res.Header)
	}
	for _, s := range []*server{a, b} {
		if res := with(s, first, "00000001"); res.StatusCode != http.StatusUnauthorized || !strings.Contains(res.Header.Get("Www-Authenticate"), "stale=true") {
			t.Errorf("a nonce that was spent: %s %v", res.Status, res.Header)
		}
	}
	if res := with(a, first, "00000002"); res.StatusCode != http.StatusOK {
		t.Errorf("the same nonce, counted on: %s", res.Status)
	}
}

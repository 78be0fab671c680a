package estserver_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"chancery/cms"
	"chancery/est"
	"chancery/internal/ca"
	"chancery/internal/estserver"
	"chancery/internal/peertest"
)

// linked makes the request that fits a connection.
func (c *client) linked(path string, ask wish, attribute func(string) cms.Attribute) *reply {
	c.w.t.Helper()
	return c.send(http.MethodPost, root+path, func(cs tls.ConnectionState) []byte {
		b, err := est.BindingOf(&cs)
		if err != nil {
			c.w.t.Fatal(err)
		}
		return est.Encode(ask.with(attribute(b.Text())).der(c.w.t), est.Wrapped)
	})
}

// linkLabels are: one that looks, one that demands, one that reads challengePassword
// as a secret and demands.
func linkLabels() []estserver.Label {
	looks, demands, secret := plainLabel(), plainLabel(), plainLabel()
	demands.Name, demands.RequireLinking = "demands", true
	secret.Name, secret.RequireLinking, secret.ChallengeSecret = "secret", true, true
	return []estserver.Label{looks, demands, secret}
}

// TestLinking: what binds a request is checked whenever it is there, in either
// attribute, under TLS 1.2, TLS 1.3 and resumed, and recorded (RFC 7030 §3.5).
func TestLinking(t *testing.T) {
	w := newWorld(t, nil, linkLabels()...)
	w.standing("alice", "p", "*")
	ask := asking("a", "a.example").keyed(t)
	for name, version := range map[string]uint16{est.TLSUnique: tls.VersionTLS12, est.TLSExporter: tls.VersionTLS13} {
		c := w.basic("alice", "p")
		c.maxTLS, c.sessions = version, tls.NewLRUClientSessionCache(1)
		for attribute, set := range map[string]func(string) cms.Attribute{"challengePassword": est.ChallengePassword, "estIdentityLinking": est.IdentityLinking} {
			for range 2 { // the second time resumed
				cert := granted(t, c.linked("simpleenroll", ask, set))
				if got := w.detail(cert)["linking"]; got != name+" by "+attribute {
					t.Errorf("%s in %s is recorded as %q", name, attribute, got)
				}
				granted(t, c.linked("demands/simpleenroll", ask, set))
			}
			other := ask.with(set("AAAAAAAAAAAAAAAA")).der(t)
			refused(t, c.post("simpleenroll", other), http.StatusForbidden, attribute, name, "3.5")
			refused(t, c.post("demands/simpleenroll", other), http.StatusForbidden, attribute)
		}
		if !c.lastSession.DidResume {
			t.Errorf("%s: no session was resumed", name)
		}
		refused(t, c.post("demands/simpleenroll", ask.der(t)), http.StatusForbidden, "linking is required", name)
		if got := w.detail(granted(t, c.post("simpleenroll", ask.der(t))))["linking"]; got != "none" {
			t.Errorf("no linking is recorded as %q", got)
		}
		granted(t, c.linked("secret/simpleenroll", ask, est.IdentityLinking))
	}
	// RFC 7894's third attribute is not in the way; see TestPassphraseRevokes.
	if d := w.detail(granted(t, w.basic("alice", "p").post("simpleenroll", ask.with(est.RevocationChallenge("rrrrrrrrrrrr")).der(t)))); d["revocation_challenge"] != "asked" {
		t.Errorf("%v", d)
	}
	both := w.basic("alice", "p")
	half := func(text string) cms.Attribute { return est.IdentityLinking(text) }
	got := both.linked("simpleenroll", ask.with(est.ChallengePassword("prompted by some tool")), half)
	refused(t, got, http.StatusForbidden, "challengePassword")
}

// TestForwarded: who sits in the middle and passes a request on over a connection of
// its own is found out by the linking alone, and by nothing else.
func TestForwarded(t *testing.T) {
	w := newWorld(t, nil, linkLabels()...)
	w.standing("alice", "p", "*")
	middle := w.serve(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		c := &client{w: w, login: r.Header.Get("Authorization"), maxTLS: r.TLS.Version}
		got := c.sendOn(c.dial(), r.Method, r.URL.Path, body)
		rw.Header()["Content-Type"] = got.Header["Content-Type"]
		rw.WriteHeader(got.StatusCode)
		rw.Write(got.body)
	}))
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		c := w.basic("alice", "p")
		c.front, c.maxTLS = middle, version
		refused(t, c.linked("simpleenroll", asking("a", "a.example"), est.ChallengePassword), http.StatusForbidden, "of this connection")
		refused(t, c.linked("demands/simpleenroll", asking("a", "a.example"), est.IdentityLinking), http.StatusForbidden, "of this connection")
		granted(t, c.post("simpleenroll", asking("a", "a.example").der(t)))
	}
}

// TestRegistrationAuthorityPassesOn what others bound to their connections to it, where
// policy lets it (RFC 7030 §3.7).
func TestRegistrationAuthorityPassesOn(t *testing.T) {
	exempt, strict := plainLabel(), plainLabel()
	exempt.RAs, exempt.RANames, exempt.RAUnlinked, exempt.RequireLinking = []string{"ra"}, []string{"*.example", "CN=*"}, true, true
	strict.Name, strict.RAs, strict.RANames = "strict", exempt.RAs, exempt.RANames
	w := newWorld(t, nil, exempt, strict)
	ra := w.client(w.certify("ra", ca.Subject{CommonName: "RA"}))
	of := asking("x", "x.example").with(est.ChallengePassword("c29tZWJvZHkgZWxzZSdz"))
	cert := granted(t, ra.post("simpleenroll", of.der(t)))
	if got := w.detail(cert)["linking"]; got != "exempt: registration authority" {
		t.Errorf("it is recorded as %q", got)
	}
	refused(t, ra.post("strict/simpleenroll", of.der(t)), http.StatusForbidden, "challengePassword")
	refused(t, ra.post("simpleenroll", asking("x", "x.elsewhere").der(t)), http.StatusForbidden, "x.elsewhere")
	// Its own host name was certified to it, but it asks for others only.
	refused(t, ra.post("simpleenroll", asking("RA", "ra.of.house").der(t)), http.StatusForbidden, "ra.of.house")
	// The profile alone makes nobody one: the certificate needs id-kp-cmcRA, too.
	w.config.Labels[1].RAs, w.config.Labels[1].Profile = []string{"device"}, "ldevid"
	bare := w.client(w.certify("device", ca.Subject{CommonName: "x"}, "x.example"))
	bare.front = w.serve(w.another().Handler())
	refused(t, bare.post("strict/simplereenroll", asking("y", "y.example").der(t)), http.StatusUnauthorized)
	w.config.Labels[1].Accept = []estserver.Way{{estserver.ByCertificate}}
	bare.front = w.serve(w.another().Handler())
	refused(t, bare.post("strict/simpleenroll", asking("y", "y.example").der(t)), http.StatusForbidden, "id-kp-cmcRA")
	device := w.client(w.certify("device", ca.Subject{CommonName: "x"}, "x.example"))
	refused(t, device.post("simpleenroll", of.der(t)), http.StatusForbidden, "challengePassword")
}

// TestTerminated: the socket's header names the user; nothing can be linked there; and
// on any other listener the header is nothing.
func TestTerminated(t *testing.T) {
	l := plainLabel()
	l.Accept, l.Names = []estserver.Way{{estserver.BySRP}, {estserver.ByPassword}}, []string{"{user}.example", "CN={user}"}
	demands := plainLabel()
	demands.Name, demands.RequireLinking = "demands", true
	w := newWorld(t, nil, l, demands)
	w.standing("alice", "p", "*")
	socket := httptest.NewServer(w.server.Terminated())
	t.Cleanup(socket.Close)
	over := func(user, path string, ask wish, edit func(*client)) *reply {
		c := &client{w: w, header: http.Header{}}
		if user != "" {
			c.header.Set(estserver.SRPUser, user)
		}
		if edit != nil {
			edit(c)
		}
		conn, err := net.Dial("tcp", socket.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return c.sendOn(conn, http.MethodPost, root+path, est.Encode(ask.der(t), est.Wrapped))
	}
	forwarded := func(c *client) { c.header.Set("X-Forwarded-For", "198.51.100.1, 192.0.2.7") }
	cert := granted(t, over("dev7", "simpleenroll", asking("dev7", "dev7.example"), forwarded))
	if got := w.detail(cert)["address"]; got != "192.0.2.7" {
		t.Errorf("the address is %q", got)
	}
	if by := w.record(cert).By.ID; by != "srp:dev7" {
		t.Errorf("the identity is %q", by)
	}
	refused(t, over("dev7", "simpleenroll", asking("dev8", "dev8.example"), nil), http.StatusForbidden, "dev8.example")
	refused(t, over("dev7", "simpleenroll", asking("dev7", "dev7.example").with(est.ChallengePassword("x")), nil), http.StatusForbidden, "connection ends before")
	refused(t, over("(null)", "simpleenroll", asking("(null)"), nil), http.StatusUnauthorized)
	refused(t, over("", "simpleenroll", asking("dev7", "dev7.example"), nil), http.StatusUnauthorized)
	refused(t, over("dev7", "simpleenroll", asking("dev7"), func(c *client) { c.header.Add(estserver.SRPUser, "dev8") }), http.StatusBadRequest, "twice")
	password := func(c *client) { c.login = w.basic("alice", "p").login }
	refused(t, over("dev7", "simpleenroll", asking("dev7", "dev7.example"), password), http.StatusForbidden, "not the same")
	granted(t, over("alice", "simpleenroll", asking("alice", "alice.example"), password))
	refused(t, over("", "demands/simpleenroll", asking("a", "a.example"), password), http.StatusForbidden, "connection ends before")

	c := w.client(nil)
	c.header = http.Header{estserver.SRPUser: {"dev7"}, "X-Forwarded-For": {"192.0.2.7"}}
	refused(t, c.post("simpleenroll", asking("dev7", "dev7.example").der(t)), http.StatusUnauthorized)
	if log := w.log.String(); !strings.Contains(log, "identity=srp:dev7") || strings.Count(log, "address=127.0.0.1") == 0 {
		t.Errorf("the log says\n%s", log)
	}
}

// TestNoExtendedMasterSecret: a TLS 1.2 session without it binds nothing (RFC 7627), so
// that what claims to bind is refused, and what need not be bound is served.
func TestNoExtendedMasterSecret(t *testing.T) {
	openssl := peertest.Need(t, "openssl")
	w := newWorld(t, nil, linkLabels()...)
	w.standing("alice", "p", "*")
	conf := filepath.Join(t.TempDir(), "openssl.cnf")
	text := "openssl_conf = a\n[a]\nssl_conf = b\n[b]\nsystem_default = c\n[c]\nOptions = -ExtendedMasterSecret\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	over := func(path string, ask wish) *reply {
		content := est.Encode(ask.der(t), est.Wrapped)
		cmd := exec.CommandContext(t.Context(), openssl, "s_client", "-quiet", "-tls1_2", "-connect", w.front.Listener.Addr().String())
		cmd.Env = append(os.Environ(), "OPENSSL_CONF="+conf)
		cmd.Stdin = strings.NewReader(fmt.Sprintf("POST %s%s HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\nContent-Type: application/pkcs10\r\nAuthorization: %s\r\nContent-Length: %d\r\n\r\n%s",
			root, path, w.basic("alice", "p").login, len(content), content))
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(out)), nil)
		if err != nil {
			t.Fatalf("%v: %q", err, out)
		}
		got, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return &reply{Response: res, body: got}
	}
	granted(t, over("simpleenroll", asking("a", "a.example")))
	refused(t, over("simpleenroll", asking("a", "a.example").with(est.ChallengePassword("AAAAAAAAAAAAAAAA"))), http.StatusForbidden, "extended master secret")
	refused(t, over("demands/simpleenroll", asking("a", "a.example")), http.StatusForbidden, "extended master secret")
}

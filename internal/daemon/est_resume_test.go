package daemon_test

import (
	"bufio"
	"bytes"
	"crypto"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"chancery/est"
	"chancery/internal/ca"
	"chancery/internal/config"
	"chancery/internal/desk"
	"chancery/internal/estserver"
)

// TestResumption: a resumed session still carries the client's certificate, which is
// judged anew, and binds requests to the connection that resumes and to no other
// (RFC 7030 §3.3, §3.5), under both versions of TLS, on the daemon's own listeners.
func TestResumption(t *testing.T) {
	t.Parallel()
	p := plan(t, newSite(t), "")
	c := p.config()
	c.Listen.EST, c.Listen.ESTNewest = freeAddress(t), "1.2"
	c.EST.Labels = []config.Label{{Names: []string{"*.iot.example", "own"}}, {Name: "bound", RequireLinking: true}}
	s := startWith(t, p, c)
	user := must[estserver.CredentialMade](t)(ask[estserver.UserWanted, estserver.CredentialMade](s, "est.user.add", estserver.UserWanted{Grant: estserver.Grant{User: "line"}}))
	for address, version := range map[string]uint16{c.Listen.Public: tls.VersionTLS13, c.Listen.EST: tls.VersionTLS12} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			key := newKey(t)
			res, body := newDevice(t, s, c.Listen.Public).enroll(est.WellKnown+"/simpleenroll", csrFor(t, key, "a.iot.example"), func(r *http.Request) { r.SetBasicAuth("line", user.Password) })
			if res.StatusCode != http.StatusOK {
				t.Fatalf("%s: %s", res.Status, body)
			}
			own := bag(t, body)[0]
			settings := &tls.Config{RootCAs: s.roots, ServerName: "localhost", MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(1),
				Certificates: []tls.Certificate{{Certificate: [][]byte{own.Raw}, PrivateKey: key}}}
			dial := func(resumed bool) *tls.Conn {
				t.Helper()
				conn := must[*tls.Conn](t)(tls.Dial("tcp", address, settings))
				t.Cleanup(func() { conn.Close() })
				conn.SetDeadline(time.Now().Add(long))
				if state := conn.ConnectionState(); state.Version != version || state.DidResume != resumed {
					t.Fatalf("%s, resumed: %v", tls.VersionName(state.Version), state.DidResume)
				}
				return conn
			}
			// renew asks over one connection with the binding of another; nil: none.
			renew := func(over, bound *tls.Conn) (int, string) {
				t.Helper()
				ask := est.Request{Subject: own.RawSubject, DNSNames: own.DNSNames}
				if bound != nil {
					state := bound.ConnectionState()
					binding := must[est.Binding](t)(est.BindingOf(&state))
					ask.Attributes = append(ask.Attributes, est.ChallengePassword(binding.Text()))
				}
				return send(t, over, http.MethodPost, "/bound/simplereenroll", est.Encode(must[[]byte](t)(ask.Sign(key, crypto.SHA256)), est.Wrapped))
			}
			first := dial(false)
			if code, text := renew(first, first); code != http.StatusOK {
				t.Fatalf("the first connection: %d %s", code, text)
			}
			settings.Certificates = nil // only the session knows it from now on
			second := dial(true)
			code, text := renew(second, second)
			if code != http.StatusOK {
				t.Fatalf("resumed: %d %s", code, text)
			}
			if again := bag(t, []byte(text))[0]; !bytes.Equal(again.RawSubjectPublicKeyInfo, own.RawSubjectPublicKeyInfo) || again.SerialNumber.Cmp(own.SerialNumber) == 0 {
				t.Error("it is not a renewal")
			}
			third := dial(true)
			for what, other := range map[string]*tls.Conn{"the session's first connection": first, "another resumed connection": second} {
				if code, text := renew(third, other); code != http.StatusForbidden || !strings.Contains(text, "of this connection") {
					t.Errorf("bound to %s: %d %s", what, code, text)
				}
			}
			if code, text := renew(third, nil); code != http.StatusForbidden || !strings.Contains(text, "linking is required") {
				t.Errorf("bound to nothing: %d %s", code, text)
			}
			if code, text := renew(third, third); code != http.StatusOK {
				t.Errorf("the same connection still: %d %s", code, text)
			}
			// What was good when the session began may be so no more.
			must[desk.Certificate](t)(ask[desk.Revoking, desk.Certificate](s, "cert.revoke", desk.Revoking{Which: desk.Which{Serial: string(ca.SerialOf(own.SerialNumber))}}))
			fourth := dial(true)
			if code, text := renew(fourth, fourth); code == http.StatusOK || code >= http.StatusInternalServerError {
				t.Errorf("a revoked certificate: %d %s", code, text)
			}
		})
	}
}

// send makes a request over a connection that stays open.
func send(t *testing.T, conn io.ReadWriter, method, path string, body []byte) (int, string) {
	t.Helper()
	fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/pkcs10\r\nContent-Length: %d\r\n\r\n%s", method, est.WellKnown+path, len(body), body)
	res := must[*http.Response](t)(http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method}))
	defer res.Body.Close()
	return res.StatusCode, string(must[[]byte](t)(io.ReadAll(res.Body)))
}

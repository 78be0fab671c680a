package estserver_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"chancery/est"
	"chancery/internal/ca"
	"chancery/internal/estserver"
)

// TestWire: what clients in the field compare octet by octet, or trip over.
func TestWire(t *testing.T) {
	lines, bare := plainLabel(), plainLabel()
	lines.Name, lines.Wrap = "lines", estserver.WrapLines
	bare.Name, bare.Wrap = "bare", estserver.WrapBare
	w := newWorld(t, nil, plainLabel(), lines, bare)
	w.standing("alice", "p", "*")
	ask := asking("a", "a.example").der(t)
	for _, test := range []struct {
		label   string
		noAgent bool
		wrapped bool
	}{{"", false, true}, {"", true, false}, {"lines/", true, true}, {"bare/", false, false}} {
		c := w.basic("alice", "p")
		c.noAgent = test.noAgent
		got := c.post(test.label+"simpleenroll", ask)
		granted(t, got)
		if wrapped := bytes.IndexByte(got.body, '\n') == 64; wrapped != test.wrapped {
			t.Errorf("%+v: wrapped is %v: %q", test, wrapped, got.body)
		}
		for _, line := range []string{
			"HTTP/1.1 200 OK", "Content-Transfer-Encoding: base64", "Content-Type: application/pkcs7-mime; smime-type=certs-only",
			fmt.Sprintf("Content-Length: %d", len(got.body)),
		} {
			if !strings.Contains(got.head+"\r\n", line+"\r\n") {
				t.Errorf("%+v: there is no %q in\n%s", test, line, got.head)
			}
		}
		if len(got.head) > 1000 || strings.Contains(got.head, "chunked") {
			t.Errorf("the header has %d octets\n%s", len(got.head), got.head)
		}
	}
}

// TestRecords: the header goes out in a record of its own and the body in one more, as
// strongSwan reads once for each.
func TestRecords(t *testing.T) {
	w := newWorld(t, nil, plainLabel())
	conn := w.client(nil).dial()
	defer conn.Close()
	fmt.Fprintf(conn, "GET %scacerts HTTP/1.1\r\nHost: example.com\r\n\r\n", root)
	buf := make([]byte, 32<<10)
	n, err := conn.Read(buf) // of crypto/tls: no more than a record
	if err != nil || !strings.HasSuffix(string(buf[:n]), "\r\n\r\n") {
		t.Fatalf("%v: the first record is %q", err, buf[:n])
	}
	n, err = conn.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := est.Decode(buf[:n], 1<<16); err != nil || n < 500 {
		t.Errorf("the second record is not the body: %v, %d octets", err, n)
	}
}

// TestReadsAnything that clients send as a request: wrapped or not, any type's case
// and parameters, PEM, DER, any Accept, any transfer encoding.
func TestReadsAnything(t *testing.T) {
	w := newWorld(t, nil, plainLabel())
	w.standing("alice", "p", "*")
	der := asking("a", "a.example").der(t)
	wrapped := est.Encode(der, est.Wrapped)
	pem := "-----BEGIN CERTIFICATE REQUEST-----\n" + string(wrapped) + "-----END CERTIFICATE REQUEST-----\n"
	for name, content := range map[string][]byte{
		"wrapped": wrapped, "bare": est.Encode(der, est.Bare), "CRLF": bytes.ReplaceAll(wrapped, []byte("\n"), []byte("\r\n")),
		"spaces": bytes.ReplaceAll(wrapped, []byte("\n"), []byte(" \t")), "PEM": []byte(pem), "DER": der,
	} {
		c := w.basic("alice", "p")
		if got := c.send(http.MethodPost, root+"simpleenroll", func(tls.ConnectionState) []byte { return content }); got.StatusCode != http.StatusOK {
			t.Errorf("%s: %s: %s", name, got.Status, got.words())
		}
	}
	for _, header := range []http.Header{
		{"Content-Type": {"Application/PKCS10"}}, {"Content-Type": {`application/pkcs10; charset="utf-8"`}},
		{"Accept": {"text/plain"}}, {"Content-Transfer-Encoding": {"binary"}}, {"Accept-Encoding": {"gzip"}},
	} {
		c := w.basic("alice", "p")
		c.header = header
		got := c.post("simpleenroll", der)
		if got.StatusCode != http.StatusOK || got.Header.Get("Content-Encoding") != "" {
			t.Errorf("%v: %s: %s", header, got.Status, got.words())
		}
	}
}

// TestRefusalsOfHTTP: each with its status and words that say what to do.
func TestRefusalsOfHTTP(t *testing.T) {
	some := plainLabel()
	some.Name, some.Operations = "some", []est.Operation{est.SimpleEnroll}
	w := newWorld(t, nil, plainLabel(), some)
	w.standing("alice", "p", "*")
	c := w.basic("alice", "p")
	der := asking("a", "a.example").der(t)
	refused(t, c.get("nothing"), http.StatusNotFound, "simpleenroll")
	refused(t, c.get("unheard-of/cacerts"), http.StatusNotFound, `no label "unheard-of"`)
	refused(t, c.get("some/cacerts/more"), http.StatusNotFound)
	refused(t, c.get("cacerts/simpleenroll"), http.StatusNotFound)
	refused(t, c.post("some/simplereenroll", der), http.StatusNotImplemented, "not offered")
	refused(t, c.post("some/fullcmc", der), http.StatusNotImplemented, "not offered")
	refused(t, c.get("some/csrattrs"), http.StatusNotFound, "not offered")
	got := c.get("simpleenroll")
	refused(t, got, http.StatusMethodNotAllowed, "POST")
	if got.Header.Get("Allow") != "POST" {
		t.Errorf("Allow is %q", got.Header.Get("Allow"))
	}
	got = c.post("cacerts", der)
	refused(t, got, http.StatusMethodNotAllowed, "GET")
	if got.Header.Get("Allow") != "GET, HEAD" {
		t.Errorf("Allow is %q", got.Header.Get("Allow"))
	}
	c.header = http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	refused(t, c.post("simpleenroll", der), http.StatusUnsupportedMediaType, "application/pkcs10")
	c.header = nil
	refused(t, c.post("simpleenroll", nil), http.StatusBadRequest, "empty")
	refused(t, c.post("simpleenroll", make([]byte, 33<<10)), http.StatusRequestEntityTooLarge)
	refused(t, c.post("simpleenroll", make([]byte, 200<<10)), http.StatusRequestEntityTooLarge)
	refused(t, c.send(http.MethodPost, root+"simpleenroll", func(tls.ConnectionState) []byte { return []byte("!!!") }), http.StatusBadRequest)
}

// TestBodyIsDrained: a client that writes all before it reads hears the refusal, and
// keeps its connection.
func TestBodyIsDrained(t *testing.T) {
	w := newWorld(t, nil, plainLabel())
	w.standing("alice", "p", "*")
	c := w.basic("alice", "wrong")
	conn := c.dial()
	defer conn.Close()
	refused(t, c.sendOn(conn, http.MethodPost, root+"simpleenroll", make([]byte, 200<<10)), http.StatusUnauthorized)
	refused(t, c.sendOn(conn, http.MethodPost, root+"nothing", make([]byte, 40<<10)), http.StatusNotFound)
	der := est.Encode(asking("a", "a.example").der(t), est.Wrapped)
	refused(t, c.sendOn(conn, http.MethodPost, root+"simpleenroll", der), http.StatusUnauthorized)
	c.login = w.basic("alice", "p").login
	refused(t, c.sendOn(conn, http.MethodPost, root+"simpleenroll", make([]byte, 200<<10)), http.StatusRequestEntityTooLarge)
	granted(t, c.sendOn(conn, http.MethodPost, root+"simpleenroll", der))
}

// TestExpect: a client that waits for 100 gets it, also before a 401, and one that
// does not wait is served alike (RFC 9110 §10.1.1).
func TestExpect(t *testing.T) {
	w := newWorld(t, nil, plainLabel())
	w.standing("alice", "p", "*")
	content := est.Encode(asking("a", "a.example").der(t), est.Wrapped)
	for login, want := range map[string]int{w.basic("alice", "p").login: http.StatusOK, w.basic("alice", "wrong").login: http.StatusUnauthorized} {
		conn := w.client(nil).dial()
		conn.SetDeadline(time.Now().Add(time.Minute))
		fmt.Fprintf(conn, "POST %ssimpleenroll HTTP/1.1\r\nHost: example.com\r\nExpect: 100-continue\r\nContent-Type: application/pkcs10\r\nAuthorization: %s\r\nContent-Length: %d\r\n\r\n", root, login, len(content))
		line := make([]byte, len("HTTP/1.1 100 Continue\r\n\r\n"))
		if _, err := io.ReadFull(conn, line); err != nil || !strings.HasPrefix(string(line), "HTTP/1.1 100 ") {
			t.Fatalf("%q, %v", line, err)
		}
		conn.Write(content)
		if got := readReply(t, conn, http.MethodPost); got.StatusCode != want {
			t.Errorf("%s, want %d", got.Status, want)
		}
		conn.Close()
	}
}

// TestHTTP2 serves the same as HTTP/1.1, binding included.
func TestHTTP2(t *testing.T) {
	w := newWorld(t, nil, plainLabel())
	device := w.certify("device", ca.Subject{CommonName: "dev1"}, "dev1.example")
	transport := w.front.Client().Transport.(*http.Transport).Clone()
	transport.ForceAttemptHTTP2 = true
	transport.TLSClientConfig.Certificates = []tls.Certificate{device.tls()}
	defer transport.CloseIdleConnections()
	c := &http.Client{Transport: transport}
	res, err := c.Get(w.front.URL + root + "cacerts")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	b, err := est.BindingOf(res.TLS)
	if err != nil || res.ProtoMajor != 2 {
		t.Fatalf("HTTP/%d, %v", res.ProtoMajor, err)
	}
	// The same connection is used again, or the binding would not fit.
	der := asking("dev1", "dev1.example").with(est.IdentityLinking(b.Text())).der(t)
	res, err = c.Post(w.front.URL+root+"simpleenroll", "application/pkcs10", body(der))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	content, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	cert := granted(t, &reply{Response: res, body: content})
	if got := w.detail(cert)["linking"]; got != "tls-exporter by estIdentityLinking" {
		t.Errorf("it is recorded as %q", got)
	}
}

// TestPlainHTTP is refused: nobody's password is to go over it twice.
func TestPlainHTTP(t *testing.T) {
	w := newWorld(t, nil, plainLabel())
	plain := httptest.NewServer(w.server.Handler())
	defer plain.Close()
	conn, err := net.Dial("tcp", plain.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	refused(t, w.client(nil).sendOn(conn, http.MethodGet, root+"cacerts", nil), http.StatusForbidden, "TLS only")
}

// TestPanic is answered like any fault of ours, and tells the client nothing.
func TestPanic(t *testing.T) {
	w := newWorld(t, func(c *estserver.Config) {
		c.Attempts = func(string, time.Time) (time.Duration, bool) { panic("secret of the house") }
	}, plainLabel())
	got := w.basic("alice", "wrong").post("simpleenroll", asking("a").der(t))
	refused(t, got, http.StatusInternalServerError, "the id ")
	if strings.Contains(got.words(), "secret") || !strings.Contains(w.log.String(), "secret of the house") {
		t.Errorf("%q\n%s", got.words(), w.log)
	}
}

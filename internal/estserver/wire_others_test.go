package estserver_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"chancery/est"
	"chancery/internal/estserver"
)

// rawly sends a request as it is written, over a connection of its own; with cut nothing
// comes after it.
func (w *world) rawly(c *client, request string, cut bool) *reply {
	w.t.Helper()
	conn := c.dial()
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := conn.Write([]byte(request)); err != nil {
		w.t.Fatal(err)
	}
	if cut {
		if err := conn.CloseWrite(); err != nil {
			w.t.Fatal(err)
		}
	}
	method, _, _ := strings.Cut(request, " ")
	return readReply(w.t, conn, method)
}

// chunks writes a body in chunks of some octets.
func chunks(body []byte, extension, trailer string) string {
	var out strings.Builder
	for len(body) > 0 {
		n := min(70, len(body))
		fmt.Fprintf(&out, "%x%s\r\n%s\r\n", n, extension, body[:n])
		body = body[n:]
	}
	return out.String() + "0\r\n" + trailer + "\r\n"
}

// TestRequestsOfOthers: HTTP as other people's software writes it (RFC 9112).
func TestRequestsOfOthers(t *testing.T) {
	label := plainLabel()
	label.Name, label.Operations = "a.b_c~d", append(label.Operations, est.CACerts)
	w := newWorld(t, nil, func() estserver.Label { l := label; l.Name = ""; return l }(), label)
	w.standing("alice", "p", "*")
	login := w.basic("alice", "p").login
	body := est.Encode(asking("a", "a.example").der(t), est.Wrapped)
	head := func(target, version string, fields ...string) string {
		all := append([]string{"POST " + target + " " + version, "Authorization: " + login, "Content-Type: application/pkcs10"}, fields...)
		return strings.Join(all, "\r\n") + "\r\n\r\n"
	}
	length, host := fmt.Sprintf("Content-Length: %d", len(body)), "Host: example.com"
	enrol := func(fields ...string) string { return head(root+"simpleenroll", "HTTP/1.1", append(fields, host)...) }
	get := func(target string) string { return "GET " + target + " HTTP/1.1\r\n" + host + "\r\n\r\n" }
	auth := func(value string) string {
		return strings.Replace(enrol(length), "Authorization: "+login, "Authorization: "+value, 1) + string(body)
	}
	for name, test := range map[string]struct {
		request string
		want    int
		words   string
	}{
		"HTTP/1.0":                 {"GET " + root + "cacerts HTTP/1.0\r\n\r\n", 200, ""},
		"HTTP/1.0 enrols":          {head(root+"simpleenroll", "HTTP/1.0", length) + string(body), 200, ""},
		"absolute form":            {get("https://example.com" + root + "cacerts"), 200, ""},
		"absolute form enrols":     {head("https://example.com"+root+"simpleenroll", "HTTP/1.1", host, length) + string(body), 200, ""},
		"a query":                  {get(root + "cacerts?x=1"), 200, ""},
		"chunks":                   {enrol("Transfer-Encoding: chunked") + chunks(body, "", ""), 200, ""},
		"Chunks, extended":         {enrol("Transfer-Encoding: Chunked", "Trailer: X") + chunks(body, ";a=b", "X: y\r\n"), 200, ""},
		"gzip below":               {enrol("Transfer-Encoding: gzip, chunked") + chunks(body, "", ""), 501, ""},
		"bad chunk":                {enrol("Transfer-Encoding: chunked") + "zz\r\n", 400, "could not be read"},
		"one length twice":         {enrol(length, length) + string(body), 200, ""},
		"two lengths":              {enrol(length, "Content-Length: 7") + string(body), 400, ""},
		"no length":                {enrol(), 400, "empty"},
		"Expect":                   {enrol(length, "Expect: 100-Continue") + string(body), 100, ""},
		"another expectation":      {enrol(length, "Expect: a-miracle") + string(body), 417, ""},
		"LF alone":                 {strings.ReplaceAll(enrol(length), "\r\n", "\n") + string(body), 200, ""},
		"long header":              {enrol(length, "X: "+strings.Repeat("x", 12<<10)) + string(body), 200, ""},
		"no type":                  {strings.Replace(enrol(length), "Content-Type", "X-Type", 1) + string(body), 415, "application/pkcs10"},
		"gzip, not said":           {enrol("Content-Encoding: gzip", "Content-Length: 2") + "\x1f\x8b", 400, "neither base64 nor DER"},
		"two spaces after Basic":   {auth("Basic  " + login[6:]), 200, ""},
		"basic":                    {auth("basic " + login[6:] + " "), 200, ""},
		"Basic of nothing":         {auth("Basic"), 400, "RFC 7617"},
		"Basic without colon":      {auth("Basic YWxpY2U="), 400, "RFC 7617"},
		"Basic in no base64":       {auth("Basic !"), 400, "RFC 7617"},
		"label of all characters":  {get(root + "a.b_c~d/cacerts"), 200, ""},
		"needless %7E":             {get(root + "a.b_c%7Ed/cacerts"), 200, ""},
		"needless %2e and %63":     {get("/%2ewell-known/est/a%2Eb_c~d/%63acerts"), 200, ""},
		"slash in %2f":             {get("/.well-known/est%2fcacerts"), 404, "does not begin with"},
		"dots":                     {get(root + "%2e%2e/est/cacerts"), 404, ""},
		"dot label":                {get(root + "%2e/cacerts"), 404, "no label"},
		"two slashes":              {get(root + "/cacerts"), 404, "the label is empty"},
		"slash at the end":         {get(root + "cacerts/"), 404, "leave it out"},
		"label and nothing":        {get(root + "a.b_c~d/"), 404, "known are cacerts"},
		"nothing":                  {get("/.well-known/est"), 404, "/.well-known/est/"},
		"label in another case":    {get(root + "A.B_C~D/cacerts"), 404, "no label"},
		"operation in upper case":  {get(root + "CACERTS"), 404, "known are cacerts"},
		"label of more characters": {get(root + "%C3%BC/cacerts"), 404, "letters, digits"},
		"NUL":                      {get(root + "%00/cacerts"), 404, "letters, digits"},
		"short names of CoAP":      {get(root + "crts"), 404, "known are cacerts"},
	} {
		got := w.rawly(w.client(nil), test.request, false)
		if got.StatusCode != test.want || !strings.Contains(got.words(), test.words) {
			t.Errorf("%s: %s: %s; want %d with %q", name, got.Status, got.words(), test.want, test.words)
		}
	}
	refused(t, w.rawly(w.client(nil), auth("Bearer x"), false), http.StatusUnauthorized)
}

// TestMethods: each operation has its own, and says so of all others (RFC 9110 §15.5.6).
func TestMethods(t *testing.T) {
	label := keyLabel(nil)
	label.Operations = append(label.Operations, est.CACerts, est.FullCMC)
	w := newKeyWorld(t, nil, label)
	conn := w.client(nil).dial()
	defer conn.Close()
	for _, op := range est.Operations {
		allow := "POST"
		if op == est.CACerts || op == est.CSRAttributes {
			allow = "GET, HEAD"
		}
		for _, method := range []string{"GET", "HEAD", "POST", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "get"} {
			if strings.Contains(allow, method) {
				continue
			}
			got := w.client(nil).sendOn(conn, method, root+string(op), nil)
			if got.StatusCode != http.StatusMethodNotAllowed || got.Header.Get("Allow") != allow || method != "HEAD" && !strings.Contains(got.words(), strings.TrimSuffix(allow, ", HEAD")) {
				t.Errorf("%s %s: %s, Allow %q: %s", method, op, got.Status, got.Header.Get("Allow"), got.words())
			}
		}
		if allow != "POST" {
			if got := w.client(nil).sendOn(conn, "HEAD", root+string(op), nil); got.StatusCode != http.StatusOK || got.ContentLength <= 0 {
				t.Errorf("HEAD %s: %s, %d octets", op, got.Status, got.ContentLength)
			}
		}
	}
}

// TestBodyThatDoesNotCome: a body that is shorter than it says is the client's mistake,
// and it is told so, whoever it is.
func TestBodyThatDoesNotCome(t *testing.T) {
	w := newWorld(t, nil, plainLabel())
	w.standing("alice", "p", "*")
	request := fmt.Sprintf("POST %ssimpleenroll HTTP/1.1\r\nHost: example.com\r\nContent-Type: application/pkcs10\r\nAuthorization: %s\r\nContent-Length: 1000\r\n\r\nMIIB", root, w.basic("alice", "p").login)
	c := w.client(nil)
	refused(t, w.rawly(c, request, true), http.StatusBadRequest, "shorter than its Content-Length")
	// What is read of it has no time, as if all of it had passed.
	c.front = w.serve(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if err := http.NewResponseController(rw).SetReadDeadline(time.Now().Add(-time.Second)); err != nil {
			t.Error(err)
		}
		w.server.Handler().ServeHTTP(rw, r)
	}))
	refused(t, w.rawly(c, request, false), http.StatusRequestTimeout, "did not come in time")
}

// TestKeysOfOthers: devices' keys of all kinds, over both versions of TLS; one that is of
// none is refused in words.
func TestKeysOfOthers(t *testing.T) {
	l := plainLabel()
	l.Names = []string{"own"}
	w := newWorld(t, nil, l)
	w.standing("alice", "p", "*")
	_, edwards, _ := ed25519.GenerateKey(rand.Reader)
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	p521, _ := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	for name, key := range map[string]crypto.Signer{"RSA": newRSA(t, 2048), "Ed25519": edwards, "P-384": p384, "P-521": p521} {
		k := asking("a", "a.example")
		k.key = key
		sign := func(k wish) []byte {
			der, err := k.Sign(key, 0)
			if err != nil {
				t.Fatal(err)
			}
			return der
		}
		h := &holder{key: key, cert: granted(t, w.basic("alice", "p").post("simpleenroll", sign(k)))}
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			c := w.client(h)
			c.maxTLS = version
			if got := c.post("simplereenroll", sign(like(h))); got.StatusCode != http.StatusOK || c.lastSession.Version != version {
				t.Errorf("%s, %s: %s: %s", name, tls.VersionName(version), got.Status, got.words())
			}
		}
	}
	// id-RSASSA-PSS in the place of rsaEncryption.
	k := asking("a", "a.example")
	der, err := k.Sign(newRSA(t, 2048), 0)
	if err != nil {
		t.Fatal(err)
	}
	der = bytes.Replace(der, []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1}, []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10}, 1)
	refused(t, w.basic("alice", "p").post("simpleenroll", der), http.StatusBadRequest, "of a kind that is not certified here")
}

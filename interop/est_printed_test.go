package interop_test

import (
	"bufio"
	"crypto/md5"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

// raw writes octets to the server over TLS and reads one answer.
func (l *estLab) raw(text string, certificates ...tls.Certificate) (*http.Response, string) {
	l.t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(l.read("root.pem"))
	conn, err := tls.Dial("tcp", l.at(l.port), &tls.Config{RootCAs: roots, Certificates: certificates})
	if err != nil {
		l.t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		l.t.Fatal(err)
	}
	if _, err := io.WriteString(conn, strings.ReplaceAll(text, "\n", "\r\n")); err != nil {
		l.t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	for {
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			l.t.Fatal(err)
		}
		if res.StatusCode == http.StatusContinue {
			continue
		}
		body, err := io.ReadAll(res.Body)
		if err != nil {
			l.t.Fatal(err)
		}
		return res, string(body)
	}
}

// lines breaks base64 as the appendix prints it.
func lines(text string) string {
	var b strings.Builder
	for text != "" {
		n := min(len(text), 64)
		b.WriteString(text[:n] + "\n")
		text = text[n:]
	}
	return b.String()
}

// TestESTAsPrinted sends the messages of RFC 7030's appendix A, octet by octet but for the
// values that have to be this server's: the addresses, the nonce and what follows from
// it, and requests for names that the user may have.
func TestESTAsPrinted(t *testing.T) {
	l := newESTLab(t, estServer)
	const agent = "User-Agent: curl/7.22.0 (i686-pc-linux-gnu) libcurl/7.22.0 OpenSSL/1.0.1 zlib/1.2.3.4 libidn/1.23 librtmp/2.3\nHost: 192.0.2.1:8085\nAccept: */*\n\n"
	l.request("demostep4")
	body := lines(l.text("demostep4.b64"))

	t.Run("A.1", func(t *testing.T) {
		res, text := l.on(t).raw("GET /.well-known/est/cacerts HTTP/1.1\n" + agent)
		if res.StatusCode != http.StatusOK || !strings.HasPrefix(res.Header.Get("Content-Type"), "application/pkcs7-mime") || res.Header.Get("Content-Transfer-Encoding") != "base64" ||
			res.ContentLength != int64(len(text)) || len(strings.SplitN(text, "\n", 2)[0]) != 64 {
			t.Errorf("%s %v\n%s", res.Status, res.Header, text)
		}
	})
	var pair tls.Certificate
	t.Run("A.3", func(t *testing.T) {
		l := l.on(t)
		// The appendix counts its lines' ends as one octet each in the Content-Length.
		head := "Host: 192.0.2.1:8085\nAccept: */*\nContent-Type: application/pkcs10\nContent-Transfer-Encoding: base64\nContent-Length: "
		head += fmt.Sprintf("%d\n\n", len(strings.ReplaceAll(body, "\n", "\r\n")))
		const post = "POST /.well-known/est/simpleenroll HTTP/1.1\n"
		res, text := l.raw(post + head + body)
		ways := res.Header.Values("Www-Authenticate")
		if res.StatusCode != http.StatusUnauthorized || res.ContentLength != 0 || len(ways) == 0 {
			t.Fatalf("%s %v\n%s", res.Status, res.Header, text)
		}
		found := regexp.MustCompile(`^Digest qop="auth", realm="estrealm", nonce="([^"]+)"$`).FindStringSubmatch(ways[0])
		if found == nil {
			t.Fatalf("challenged by %q", ways)
		}
		hash := func(s string) string { sum := md5.Sum([]byte(s)); return hex.EncodeToString(sum[:]) }
		response := hash(hash(estUser+":estrealm:"+estPassword) + ":" + found[1] + ":00000001:MTYwMzg3:auth:" + hash("POST:/.well-known/est/simpleenroll"))
		login := fmt.Sprintf(`Authorization: Digest username="estuser", realm="estrealm", nonce="%s", uri="/.well-known/est/simpleenroll", cnonce="MTYwMzg3", nc=00000001, qop="auth", response="%s"`+"\n", found[1], response)
		res, text = l.raw(post + login + head + body)
		if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "application/pkcs7-mime; smime-type=certs-only" {
			t.Fatalf("%s %v\n%s", res.Status, res.Header, text)
		}
		l.unwrap(text, "demostep4")
		l.sound("demostep4.pem", "demostep4.key", "demostep4.iot.example")
		// The same octets once more: the count is spent.
		res, _ = l.raw(post + login + head + body)
		if res.StatusCode != http.StatusUnauthorized || !strings.Contains(strings.Join(res.Header.Values("Www-Authenticate"), "\n"), "stale=true") {
			t.Errorf("a replay: %s %v", res.Status, res.Header)
		}
		var err error
		if pair, err = tls.LoadX509KeyPair(l.path("demostep4.pem"), l.path("demostep4.key")); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("A.2", func(t *testing.T) {
		res, text := l.on(t).raw("GET /.well-known/est/csrattrs HTTP/1.1\n"+agent, pair)
		if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "application/csrattrs" || res.Header.Get("Content-Transfer-Encoding") != "base64" || res.ContentLength != int64(len(text)) {
			t.Errorf("%s %v\n%s", res.Status, res.Header, text)
		}
	})
	t.Run("A.4", func(t *testing.T) {
		l := l.on(t)
		res, text := l.raw(fmt.Sprintf("POST /.well-known/est/serverkeygen HTTP/1.1\nHost: 192.0.2.1:8085\nAccept: */*\nExpect: 100-continue\nContent-Type: application/pkcs10\n"+
			"Content-Transfer-Encoding: base64\nContent-Length: %d\n\n%s", len(strings.ReplaceAll(body, "\n", "\r\n")), body), pair)
		c := curlSaid{status: res.StatusCode, body: text, head: "Content-Type: " + res.Header.Get("Content-Type")}
		if kind := l.taken(t, "step12", c); kind != "application/pkcs8" {
			t.Errorf("the key is %q", kind)
		}
		l.ssl("pkcs8", "-nocrypt", "-inform", "DER", "-in", "step12.part", "-out", "step12.own.key")
		l.sound("step12.pem", "step12.own.key", "demostep4.iot.example")
	})
}

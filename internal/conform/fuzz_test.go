package conform

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"chancery/est"
)

func FuzzReadBag(f *testing.F) {
	l := newLittle(f)
	f.Add(l.wrapped(l.bag...))
	f.Add(l.wrapped())
	f.Add([]byte{0x30, 0x80, 0, 0})
	f.Fuzz(func(t *testing.T, der []byte) {
		b, err := readBag(der)
		if err == nil && (b == nil || len(b.certs) > bagMost) {
			t.Errorf("%x: %v", der, b)
		}
		if err == nil && len(b.certs) == 0 && len(b.odd) == 0 && !bytes.Contains(der, []byte{0xa0, 0}) {
			t.Errorf("%x is a bag without certificates, and nothing is odd", der)
		}
	})
}

func FuzzReply(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc"), "GET")
	f.Add([]byte("HTTP/1.1 401 no\r\nwww-authenticate: Basic realm=\"x\"\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"), "POST")
	f.Add([]byte("HTTP/1.0 200 OK\r\n\r\nto the end"), "HEAD")
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"), "GET")
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7fffffff\r\n"), "GET")
	f.Fuzz(func(t *testing.T, text []byte, method string) {
		w := &wire{in: bufio.NewReader(bytes.NewReader(text))}
		r, err := w.one(method)
		if err == nil && (len(r.body) > bodyMost || r.head > headMost) {
			t.Errorf("%q: %d octets of header, %d of body", text, r.head, len(r.body))
		}
	})
}

func FuzzReadChoice(f *testing.F) {
	hello, err := hex.DecodeString("02000028" + "0303" + strings.Repeat("ab", 32) + "00" + "c02f" + "00" + "0000")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(hello)
	f.Add([]byte{2, 0, 0, 0})
	f.Fuzz(func(t *testing.T, handshake []byte) {
		c, err := readChoice(handshake)
		if err == nil && (c.extensions == nil || len(handshake) < 42) {
			t.Errorf("%x: %+v", handshake, c)
		}
	})
}

func FuzzChallenges(f *testing.F) {
	f.Add(`Digest qop="auth", realm="a Basic one", nonce="x", Basic realm="y"`)
	f.Add(`Basic`)
	f.Add(`Digest algorithm=SHA-256, nonce="\"", opaque=o`)
	f.Fuzz(func(t *testing.T, text string) {
		for _, c := range challenges(&reply{fields: []field{{"www-authenticate", text}}}) {
			if !strings.Contains(text, c.raw) {
				t.Errorf("%q: %q", text, c.raw)
			}
			c.answer("POST", "/", &est.Login{})
		}
	})
}

func TestChallenges(t *testing.T) {
	all := challenges(&reply{fields: []field{
		{"WWW-Authenticate", `Digest qop="auth", realm="a Basic one", nonce="n, o", algorithm=SHA-256, Basic realm="y"`},
		{"www-authenticate", `bearer`},
	}})
	if len(all) != 3 || all[0].scheme != "digest" || all[1].scheme != "basic" || all[2].scheme != "bearer" || all[0].parameters["nonce"] != "n, o" || all[1].parameters["realm"] != "y" {
		t.Fatalf("%+v", all)
	}
	who := &est.Login{User: "u", Password: "w"}
	got := all[0].answer("POST", "/x", who)
	if !strings.Contains(got, `username="u", realm="a Basic one", nonce="n, o", uri="/x", qop=auth, nc=00000001`) || !strings.HasSuffix(got, ", algorithm=SHA-256") {
		t.Error(got)
	}
	all[0].parameters["algorithm"] = "SHA-512-256"
	if got := all[0].answer("POST", "/x", who); got != "" {
		t.Errorf("an unknown algorithm: %q", got)
	}
	// RFC 2069 §2.4 as corrected by its erratum 749: without qop nothing is left to chance.
	old := challenge{parameters: map[string]string{"realm": "testrealm@host.com", "nonce": "dcd98b7102dd2f0e8b11d0f600bfb0c093"}}
	if got := old.answer("GET", "/dir/index.html", &est.Login{User: "Mufasa", Password: "CircleOfLife"}); !strings.Contains(got, `response="1949323746fe6a43ef61f9606e7febea"`) {
		t.Error(got)
	}
}

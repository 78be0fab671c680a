package est

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"chancery/cms"

	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"
)

// Requests are what the strictest server takes (E21).
func TestRequestsAreStrict(t *testing.T) {
	s := open(t, nil)
	var raw []byte
	s.handler[SimpleEnroll] = func(w http.ResponseWriter, r *http.Request) {
		raw, _ = io.ReadAll(r.Body)
		if r.ContentLength != int64(len(raw)) || len(r.TransferEncoding) > 0 {
			t.Errorf("length %d of %d, %v", r.ContentLength, len(raw), r.TransferEncoding)
		}
		if got := r.Header["Content-Type"]; len(got) != 1 || got[0] != "application/pkcs10" {
			t.Errorf("%q", got)
		}
		if r.Header.Get("Content-Transfer-Encoding") != "base64" || r.Header.Get("User-Agent") == "" || r.Header.Get("Accept-Encoding") != "" {
			t.Errorf("%v", r.Header)
		}
		r.Body = io.NopCloser(bytes.NewReader(raw))
		s.enroll(w, r)
	}
	if _, err := s.client(t, nil).Enroll(t.Context(), device(t)); err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.SplitAfter(string(raw), "\n") {
		if len(line) > 65 || strings.Contains(line, "\r") || line != "" && !strings.HasSuffix(line, "\n") {
			t.Errorf("line %d: %q", i, line)
		}
	}
}

// Answers are read as the loosest send them (E21).
func TestAnswersAreReadLoosely(t *testing.T) {
	emptyContent := func(der []byte) []byte { // as Dogtag: eContent is there and empty
		b, err := cms.ParseBag(der)
		if err != nil {
			t.Fatal(err)
		}
		again, err := encode(func(out *cryptobyte.Builder) {
			out.AddASN1(tag.SEQUENCE, func(out *cryptobyte.Builder) {
				out.AddASN1ObjectIdentifier(cms.OIDSignedData)
				out.AddASN1(tag.Tag(0).ContextSpecific().Constructed(), func(out *cryptobyte.Builder) {
					out.AddASN1(tag.SEQUENCE, func(out *cryptobyte.Builder) {
						out.AddASN1Int64(1)
						out.AddASN1(tag.SET, func(*cryptobyte.Builder) {})
						out.AddASN1(tag.SEQUENCE, func(out *cryptobyte.Builder) {
							out.AddASN1ObjectIdentifier(cms.OIDData)
							out.AddASN1(tag.Tag(0).ContextSpecific().Constructed(), func(out *cryptobyte.Builder) { out.AddASN1OctetString(nil) })
						})
						out.AddASN1(tag.Tag(0).ContextSpecific().Constructed(), func(out *cryptobyte.Builder) {
							for _, c := range b.Certificates {
								out.AddBytes(c)
							}
						})
						out.AddASN1(tag.SET, func(*cryptobyte.Builder) {})
					})
				})
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		return again
	}
	wrap := func(text string, n int, end string) []byte {
		var b strings.Builder
		for len(text) > n {
			b.WriteString(text[:n] + end)
			text = text[n:]
		}
		return []byte(b.String() + text + end)
	}
	text := base64.StdEncoding.EncodeToString
	for name, write := range map[string]func(w http.ResponseWriter, der []byte){
		"one line":     func(w http.ResponseWriter, der []byte) { answer(w, "", []byte(text(der))) },
		"CRLF at 76":   func(w http.ResponseWriter, der []byte) { answer(w, "", wrap(text(der), 76, "\r\n")) },
		"spaces, tabs": func(w http.ResponseWriter, der []byte) { answer(w, "", wrap(text(der), 10, " \t\n")) },
		"raw DER":      func(w http.ResponseWriter, der []byte) { answer(w, "", der) },
		"PEM": func(w http.ResponseWriter, der []byte) {
			answer(w, "", pem.EncodeToMemory(&pem.Block{Type: "PKCS7", Bytes: der}))
		},
		"no type": func(w http.ResponseWriter, der []byte) {
			w.Header()["Content-Type"] = nil
			answer(w, "-", Encode(der, Wrapped))
		},
		"octets": func(w http.ResponseWriter, der []byte) { answer(w, "application/octet-stream", der) },
		"odd type": func(w http.ResponseWriter, der []byte) {
			answer(w, `Application/PKCS7-Mime; name="smime.p7m"; SMIME-Type="certs-only"`, Encode(der, Bare))
		},
		"empty content": func(w http.ResponseWriter, der []byte) { answer(w, "", Encode(emptyContent(der), Wrapped)) },
		"chunked": func(w http.ResponseWriter, der []byte) {
			w.(http.Flusher).Flush()
			answer(w, "-", Encode(der, Wrapped))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, nil)
			s.handler[SimpleEnroll] = func(w http.ResponseWriter, r *http.Request) {
				p, err := requested(r)
				if err != nil {
					t.Error(err)
					return
				}
				// In any order, with the chain, and the same name under another key.
				write(w, wireBag(s.ca.Cert, certify(t, s.ca, x509.Certificate{RawSubject: p.RawSubject, DNSNames: []string{"device1.example"}}, testKey(t)), s.certified(p)))
			}
			e := device(t)
			got, err := s.client(t, nil).Enroll(t.Context(), e)
			if err != nil {
				t.Fatal(err)
			}
			if !sameKey(got.Certificate.PublicKey, e.Key.Public()) || len(got.Others) != 2 || len(got.Differences) > 0 {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestErrorsInWords(t *testing.T) {
	for _, test := range []struct {
		status            int
		media, body, want string
	}{
		{400, "text/plain", "the name is taken\n  already", "the name is taken already"},
		{500, "application/json", `{"err":"failed to get device: unauthorized","code":7,"inner":{"why":["a","b"]}}`, "err: failed to get device: unauthorized; code: 7; why: a; why: b"},
		{403, "application/problem+json; charset=utf-8", `{"title":"Forbidden","detail":""}`, "title: Forbidden"},
		{400, "", `{"error": broken`, `{"error": broken`},
		{400, "application/xml", `<?xml version="1.0" encoding="ISO-8859-1"?><PKIException><ClassName>x.Y</ClassName><Message>Bad &amp; worse</Message></PKIException>`, "x.Y; Bad & worse"},
		{502, "text/html", "<html><head><style>p{}</style><title>502 Bad Gateway</title></head><body><p>nginx<br></body>", "502 Bad Gateway; nginx"},
		{401 + 2, "application/pkcs7-mime; smime-type=CMC-response", "MAA=", ""},
		{503, "text/plain", strings.Repeat("x", 3000), strings.Repeat("x", 500) + "…"},
	} {
		s := open(t, nil)
		s.handler[SimpleEnroll] = func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "17")
			w.Header()["Content-Type"] = []string{test.media}
			w.WriteHeader(test.status)
			_, _ = io.WriteString(w, test.body)
		}
		_, err := s.client(t, nil).Enroll(t.Context(), device(t))
		failed, ok := errors.AsType[*StatusError](err)
		if !ok || failed.Status != test.status || failed.Text != test.want || failed.RetryAfter != 17*time.Second || failed.Missing() {
			t.Errorf("%s: %+v, %v", test.body, failed, err)
		}
		if strings.Contains(test.media, "pkcs7") != (failed.Body != nil) {
			t.Errorf("%s: a body of %d", test.media, len(failed.Body))
		}
	}
}

func TestNotOffered(t *testing.T) {
	for _, status := range []int{404, 501} {
		s := open(t, nil)
		s.handler[ServerKeyGen] = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
		_, err := s.client(t, nil).ServerKeyGen(t.Context(), KeyOrder{Enrolment: device(t)})
		if failed, ok := errors.AsType[*StatusError](err); !ok || !failed.Missing() || !strings.Contains(err.Error(), "does not offer serverkeygen") {
			t.Errorf("%d: %v", status, err)
		}
	}
}

// What a server sends is bounded, whatever it says of the length, and so is the time.
func TestAnswersAreBounded(t *testing.T) {
	said := map[string]string{
		"a long head": "the head of the server's answer has more than 64 KiB", "no HTTP": "the server's answer is not HTTP: ",
		"no header": "a header that HTTP does not allow", "half a head": "the server's answer broke off in its head",
	}
	for name, write := range map[string]func(net.Conn){
		"a long head":      func(c net.Conn) { fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nX: %s\r\n\r\n", strings.Repeat("x", headMax)) },
		"endless interims": func(c net.Conn) { fmt.Fprint(c, strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 1000)) },
		"a long body": func(c net.Conn) {
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", bodyMax*2)
			_, _ = c.Write(make([]byte, bodyMax*2))
		},
		"an endless body":  func(c net.Conn) { fmt.Fprint(c, "HTTP/1.1 200 OK\r\n\r\n"); _, _ = c.Write(make([]byte, bodyMax*3)) },
		"a body cut short": func(c net.Conn) { fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nabc") },
		"no HTTP":          func(c net.Conn) { fmt.Fprint(c, "220 mail.example ESMTP\r\n") },
		"no header":        func(c net.Conn) { fmt.Fprint(c, "HTTP/1.1 200 OK\r\nno header\r\n\r\n") },
		"half a head":      func(c net.Conn) { fmt.Fprint(c, "HTTP/1.1 200 OK\r\nX: y\r\n") },
		"nothing":          func(net.Conn) {},
		"compression": func(c net.Conn) {
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc")
		},
		"a web page": func(c net.Conn) {
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>")
		},
		"no certificates": func(c net.Conn) {
			der := wireBag()
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(der), der)
		},
		"no base64":    func(c net.Conn) { fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n!!!!") },
		"an empty 204": func(c net.Conn) { fmt.Fprint(c, "HTTP/1.1 204 No Content\r\n\r\n") },
		"another certificate": func(c net.Conn) {
			der := wireBag(newIssuer(t, "x", nil).Cert)
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(der), der)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, nil)
			s.handler[SimpleEnroll] = func(w http.ResponseWriter, _ *http.Request) {
				conn, _, err := w.(http.Hijacker).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				write(conn)
				conn.Close()
			}
			got, err := s.client(t, nil).Enroll(t.Context(), device(t))
			if err == nil {
				t.Fatalf("taken: %+v", got)
			}
			if !strings.Contains(err.Error(), said[name]) {
				t.Errorf("nothing of %q in %v", said[name], err)
			}
			if n := len(s.visited()); n != 1 {
				t.Errorf("asked %d times: a request that may have arrived is not repeated", n)
			}
		})
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // it never accepts
	c, err := NewClient(ClientConfig{Server: l.Addr().String(), Timeout: 50 * time.Millisecond, Trust: Trust{Implicit: pool()}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.CACerts(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

// An exchange ends when its context does.
func TestCancelling(t *testing.T) {
	s := open(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	release := make(chan struct{})
	s.handler[CACerts] = func(http.ResponseWriter, *http.Request) { cancel(); <-release }
	defer close(release)
	if _, err := s.client(t, nil).CACerts(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// A connection that the server closed for being idle is made anew, and the request with
// it; this is no error.
func TestIdleConnection(t *testing.T) {
	s := open(t, nil)
	s.handler[SimpleEnroll] = func(w http.ResponseWriter, r *http.Request) {
		p, err := requested(r)
		if err == nil {
			err = linked(r, p)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		s.answerBag(w, s.certified(p))
	}
	c := s.client(t, nil)
	if _, err := c.CACerts(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Enroll(t.Context(), device(t)); err != nil || s.connections() != 1 {
		t.Fatalf("%v after %d connections", err, s.connections())
	}
	s.CloseClientConnections()
	if got, err := c.Enroll(t.Context(), device(t)); err != nil || !got.Linked || s.connections() != 2 {
		t.Errorf("%v after %d connections", err, s.connections())
	}
}

// The binding is the connection's, under both versions of TLS.
func TestLinkingUnderBothVersions(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		s := open(t, nil)
		s.handler[SimpleEnroll] = s.guarded(true, `Basic realm="x"`)
		got, err := s.client(t, func(c *ClientConfig) { c.MaxTLS, c.Login = version, &Login{User: "u", Password: "p"} }).Enroll(t.Context(), device(t))
		if err != nil || !got.Linked || got.Server.Version != version {
			t.Errorf("%x: %+v, %v", version, got, err)
		}
	}
}

func answer(w http.ResponseWriter, media string, body []byte) {
	switch media {
	case "-":
	case "":
		w.Header().Set("Content-Type", PKCS7Mime+"; smime-type=certs-only")
	default:
		w.Header().Set("Content-Type", media)
	}
	_, _ = w.Write(body)
}

package directory

import (
	"compress/gzip"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"chancery/internal/enroll/guard"
)

const good = `{"newNonce":"https://example.com/n","newAccount":"https://example.com/a","newOrder":"https://other.example:8443/o",
"revokeCert":"https://example.com/r","keyChange":"https://example.com/k","Qm9vIQ":"https://random.example/","newnonce":"http://127.0.0.1/",
"meta":{"termsOfService":"https://example.com/tos","website":"http://example.com","externalAccountRequired":true%s,
"profiles":{"tlsserver":"$(reboot)\u001b[2J"},"unknown":{"a":[1,2,{"b":null}]}}}`

func identities(names ...string) string {
	list, _ := json.Marshal(names)
	return fmt.Sprintf(good, `,"caaIdentities":`+string(list))
}

// authority is a CA whose host is example.com, as its certificate says.
func authority(t *testing.T, handler http.HandlerFunc) Query {
	t.Helper()
	server := httptest.NewTLSServer(handler)
	t.Cleanup(server.Close)
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	p := guard.Policy{
		Roots: roots, Timeout: 30 * time.Second,
		Resolve: func(_ context.Context, host string) ([]netip.Addr, error) {
			if host == "nowhere.example" {
				return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
			}
			return []netip.Addr{netip.MustParseAddr("203.0.113.7")}, nil
		},
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, server.Listener.Addr().String())
		},
	}
	return Query{Issuer: "example.com", Client: p.Client()}
}

func serve(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, text) }
}

func TestFetch(t *testing.T) {
	q := authority(t, func(w http.ResponseWriter, r *http.Request) {
		if r.UserAgent() != "chancery" {
			t.Errorf("the client calls itself %q", r.UserAgent())
		}
		w.Header().Set("Cache-Control", "max-age=3600")
		switch r.URL.Path {
		case WellKnown:
			http.Redirect(w, r, "/middle", http.StatusMovedPermanently)
		case "/middle":
			w.Header().Set("Cache-Control", "private, MAX-AGE=60")
			http.Redirect(w, r, "https://www.example.com/directory", http.StatusFound)
		default:
			io.WriteString(w, identities("OTHER.example", "Example.COM."))
		}
	})
	// The certificate is for example.com and *.example.com.
	q.Issuer = "EXAMPLE.com."
	f, err := Fetch(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	if f.Issuer != "example.com" || f.Asked != "https://example.com/.well-known/acme" || f.URL != "https://www.example.com/directory" ||
		!slices.Equal(f.Redirects, []string{"https://example.com/middle", "https://www.example.com/directory"}) || f.VouchedBy != ByIdentities {
		t.Errorf("found %+v", f)
	}
	if life := f.Fresh.Sub(f.Fetched); life > time.Minute || life < 50*time.Second { // the middle's
		t.Errorf("fresh for %v", life)
	}
	d := f.Directory
	if d.NewNonce != "https://example.com/n" || d.NewAuthz != "" || d.Meta.TermsOfService != "https://example.com/tos" || !d.Meta.ExternalAccountRequired ||
		d.Meta.Profiles["tlsserver"] != `$(reboot)\x1b[2J` {
		t.Errorf("directory %+v, meta %+v", d, d.Meta)
	}
}

func TestWhoVouches(t *testing.T) {
	none, ours, theirs := fmt.Sprintf(good, ""), identities("x.example", "EXAMPLE.com"), identities("xexample.com", "example.com.evil.example", "*.example.com", "\x1b[2J")
	configured := "https://www.example.com/dir"
	for _, test := range []struct {
		name, text, issuer, url string
		mode                    Identities
		want                    string // "" is WrongCA
	}{
		{"named", ours, "example.com", "", "", ByIdentities},
		{"named, configured URL", ours, "example.com", configured, "", ByIdentities},
		{"required", ours, "example.com", "", Require, ByIdentities},
		{"none", none, "example.com", "", Prefer, ByTLSName},
		{"empty list", identities(), "example.com", "", Prefer, ByTLSName},
		{"none, configured URL", none, "example.com", configured, "", ByConfiguration},
		{"none, required", none, "example.com", "", Require, ""},
		{"others", theirs, "example.com", "", "", ""},
		{"others, configured URL", theirs, "example.com", configured, "", ""},
		{"others, ignored", theirs, "example.com", "", Ignore, ByTLSName},
		{"no issuer name", theirs, "", configured, Require, ByConfiguration},
		{"IDNA", identities("xn--BCHER-kva.example"), "bücher.example", configured, "", ByIdentities},
		{"IDNA, U-label there", identities("Bücher.example"), "xn--bcher-kva.example", configured, "", ByIdentities},
	} {
		q := authority(t, serve(test.text))
		q.Issuer, q.URL, q.Identities = test.issuer, test.url, test.mode
		f, err := Fetch(t.Context(), q)
		e, failed := errors.AsType[*Error](err)
		switch {
		case test.want != "" && (err != nil || f.VouchedBy != test.want):
			t.Errorf("%s: %q, error %v", test.name, f.VouchedBy, err)
		case test.want == "" && (!failed || e.Kind != WrongCA):
			t.Errorf("%s: %+v, error %v", test.name, f, err)
		}
		if err != nil && strings.ContainsRune(err.Error(), '\x1b') {
			t.Errorf("%s: %q", test.name, err)
		}
	}
}

func TestHostileDirectories(t *testing.T) {
	redirect := func(to string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Location", to); w.WriteHeader(302) }
	}
	status := func(code int, media, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", media)
			w.Header().Set("Retry-After", "90")
			w.WriteHeader(code)
			io.WriteString(w, text)
		}
	}
	for _, test := range []struct {
		name    string
		handler http.HandlerFunc
		kind    Kind
		text    string
	}{
		{"redirect to loopback", redirect("https://127.0.0.1:14000/dir"), Refused, "loopback"},
		{"redirect to metadata", redirect("https://[64:ff9b::a9fe:a9fe]/"), Refused, "link-local"},
		{"redirect loop", redirect(WellKnown), Refused, "redirects"},
		{"downgrade", redirect("http://example.com/dir"), Refused, "https"},
		{"redirect to nowhere", redirect(""), NotADirectory, "302"},
		{"redirect to another name", redirect("https://other.test/"), Unproven, "other.test"},
		{"redirect to no host", redirect("https://nowhere.example/"), NotThere, "no such host"},
		{"endless", func(w http.ResponseWriter, r *http.Request) {
			for {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		}, Refused, "longer than"},
		{"gzip bomb", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			z.Write(make([]byte, 2<<20))
			z.Close()
		}, NotADirectory, "compressed"},
		{"hangs up", func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) }, Unavailable, "EOF"},
		{"half an answer", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "5000")
			io.WriteString(w, "{")
		}, Unavailable, "EOF"},
		{"404", status(404, "text/html", "<h1>"), NotThere, "404"},
		{"503", status(503, "text/plain", "later"), Unavailable, "503"},
		{"429", status(429, "text/plain", "later"), Unavailable, "429"},
		{"204", status(204, "", ""), NotADirectory, "204"},
		{"problem with control characters", status(403, "application/problem+json", `{"detail":"\u001b[2J\u202e$(id)"}`), NotThere, `\x1b[2J\u202e$(id)`},
	} {
		t.Run(test.name, func(t *testing.T) {
			q := authority(t, test.handler)
			_, err := Fetch(t.Context(), q)
			e, ok := errors.AsType[*Error](err)
			if !ok || e.Kind != test.kind || !strings.Contains(err.Error(), test.text) {
				t.Fatalf("got %v (%+v), want %s and %q", err, e, test.kind, test.text)
			}
			if strings.ContainsAny(err.Error(), "\x1b\r\n\u202e") || len(err.Error()) > 2000 {
				t.Errorf("the error cannot be shown: %q", err)
			}
			if e.Status != 0 && test.kind == Unavailable && e.RetryAfter != 90*time.Second {
				t.Errorf("to be asked again after %v", e.RetryAfter)
			}
		})
	}
}

func TestSlowAndCancelled(t *testing.T) {
	q := authority(t, func(w http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		panic(http.ErrAbortHandler) // else it would answer a client that is just closing
	})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := Fetch(ctx, q)
	if e, ok := errors.AsType[*Error](err); !ok || e.Kind != Unavailable || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("time ran out: %v", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	if _, err := Fetch(ctx, q); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	} else if _, ok := errors.AsType[*Error](err); ok {
		t.Error("the CA is blamed for our own end")
	}
}

func TestQueriesThatCannotBe(t *testing.T) {
	for _, q := range []Query{
		{}, {Issuer: "127.0.0.1"}, {Issuer: "::1"}, {Issuer: "example.com/x?"}, {Issuer: "a@example.com"}, {Issuer: "example.com:8443"}, {Issuer: "127.1"},
		{Issuer: "example.com\r\n"}, {Issuer: strings.Repeat("a", 64) + ".example"}, {Issuer: "a..b"}, {Issuer: "_x.example"},
		{URL: "http://example.com/"}, {URL: "https://u:p@example.com/"}, {Issuer: "example.com", Identities: "perhaps"},
	} {
		_, err := Fetch(t.Context(), q)
		if e, ok := errors.AsType[*Error](err); !ok || e.Kind != Refused {
			t.Errorf("%+v: %v", q, err)
		}
	}
}

func TestDecode(t *testing.T) {
	bad := map[string]string{
		"": "empty", "null": "object", "[]": "object", "1": "object", `"x"`: "object", " <!DOCTYPE html>": "web page", "\ufeff{}": "JSON",
		"{}": `"newNonce" is missing`, fmt.Sprintf(good, "") + "x": "follows", fmt.Sprintf(good, "") + "{}": "follows",
		"\xff{}": "UTF-8", `{"a":1,"a":2}`: "twice", `{"meta":{"a":1,"a":2}}`: "twice", `{"newNonce":1}`: "is no string",
		`{"newNonce\u0000\u001b[2J":1,"newNonce\u0000\u001b[2J":1}`: `\x00\x1b[2J`, "{\"a\x1b\":1}": "JSON",
		strings.Repeat("[", 100_000): "deep", `{"a":` + strings.Repeat("[", 20) + strings.Repeat("]", 20) + "}": "deep", `{"a":1`: "JSON",
	}
	for _, change := range [][3]string{ // member, value, what is wrong
		{`"https://example.com/n"`, `"http://example.com/n"`, "not https"},
		{`"https://example.com/n"`, `""`, "not https"},
		{`"https://example.com/a"`, `"https://u@example.com/a"`, "user name"},
		{`"https://example.com/k"`, `"https://example.com/\u001b[2J"`, "characters"},
		{`"https://example.com/r"`, `"javascript:alert(1)"`, "not https"},
		{`"https://example.com/tos"`, `"javascript:alert(1)"`, "no link to the web"},
		{`"https://example.com/tos"`, `"https://example.com/\nx"`, "shown"},
		{`"https://example.com/tos"`, `["https://example.com/"]`, "no string"},
		{`true`, `"true"`, "neither true nor false"},
		{`"unknown"`, `"caaIdentities":"example.com","unknown"`, "no list"},
		{`"unknown"`, `"caaIdentities":[1],"unknown"`, "something else than strings"},
		{`"unknown"`, `"caaIdentities":["example.com","` + strings.Repeat("<", 254) + `"],"unknown"`, "too long for a domain name"},
		{`"unknown"`, `"caaIdentities":["example.com"` + strings.Repeat(`,"x.example"`, 50) + `],"unknown"`, "too long"},
		{`"tlsserver"`, `"` + strings.Repeat("p", 101) + `"`, "unusable name"},
		{`"tlsserver"`, `"tls\u001bserver"`, "unusable name"},
		{`{"tlsserver":"$(reboot)\u001b[2J"}`, `{"x":1}`, "something else than a string"},
	} {
		bad[strings.Replace(fmt.Sprintf(good, ""), change[0], change[1], 1)] = change[2]
	}
	for text, reason := range bad {
		if _, err := decode([]byte(text)); err == nil || !strings.Contains(err.Error(), reason) || strings.ContainsAny(err.Error(), "\x1b\n") {
			t.Errorf("%.80q: %v, want %q", text, err, reason)
		}
	}
	for _, text := range []string{fmt.Sprintf(good, ""), `{"newNonce":"https://a/","newAccount":"https://a/","newOrder":"https://a/"}`,
		`{"newNonce":"https://a/","newAccount":"https://a/","newOrder":"https://a/","meta":{"termsOfService":"data:text/plain,Do%20what%20thou%20wilt"}}`} {
		if _, err := decode([]byte(text)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestLife(t *testing.T) {
	came := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	now := transit{asked: came.Add(-2 * time.Second), came: came}
	date := func(d time.Duration) string { return came.Add(d).Format(http.TimeFormat) }
	for _, test := range []struct {
		header string // "Name: value|…"
		want   time.Duration
	}{
		{"", unsaid - 2*time.Second}, {"Cache-Control: max-age=600", 598 * time.Second}, {"Cache-Control: max-age=0", 0},
		{"Cache-Control: no-store, max-age=600", 0}, {"Cache-Control: no-cache", 0}, {`Cache-Control: no-cache="Set-Cookie, X", max-age=600`, 0},
		{"Cache-Control: Max-Age=600|Age: 100", 498 * time.Second}, {"Cache-Control: max-age=600|Age: 9999", 0}, {"Cache-Control: max-age=600|Age: soon", 598 * time.Second},
		{`Cache-Control: max-age="600"`, 598 * time.Second}, {"Cache-Control: max-age=abc", 0}, {"Cache-Control: max-age=-1", 0}, {"Cache-Control: max-age", 0},
		{"Cache-Control: max-age=1.5", 0}, {"Cache-Control: max-age=99999999999999999999", day - 2*time.Second}, {"Cache-Control: max-age=172800", day - 2*time.Second},
		{"Cache-Control: max-age=600, max-age=60", 58 * time.Second}, {"Cache-Control: s-maxage=0, max-age=600", 598 * time.Second},
		{`Cache-Control: private="a, max-age=1", ext="\",no-store", max-age=600`, 598 * time.Second},
		{"Cache-Control: max-age=600|Expires: 0", 598 * time.Second}, {"Cache-Control: public|Expires: " + date(time.Hour), time.Hour - 2*time.Second},
		{"Expires: 0", 0}, {"Expires: -1", 0}, {"Expires: " + date(-time.Hour), 0}, {"Expires: " + date(100*24*time.Hour), day},
		{"Expires: " + date(time.Hour) + "|Date: " + date(-time.Minute), time.Hour}, {"Cache-Control: max-age=600|Date: " + date(-time.Hour), 0},
		{"Vary: *|Cache-Control: max-age=600", 0},
	} {
		h := http.Header{}
		for field := range strings.SplitSeq(test.header, "|") {
			if name, value, ok := strings.Cut(field, ": "); ok {
				h.Add(name, value)
			}
		}
		if got := now.life(h); got != test.want {
			t.Errorf("%s: %v, want %v", test.header, got, test.want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, text := range []string{fmt.Sprintf(good, ""), identities("example.com"), "{}", "[[[", `{"meta":null}`, `{"a":1,"a":2}`, "<html>", "\xff", `{"meta":{"profiles":{"\u001b":""}}}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := decode(text)
		if err != nil {
			if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r == 0x7f || r == '\u202e' }) {
				t.Errorf("the error cannot be shown: %q", err)
			}
			return
		}
		for _, url := range []string{d.NewNonce, d.NewAccount, d.NewOrder} {
			if err := guard.CheckURL(url); err != nil {
				t.Error(err)
			}
		}
		// What is accepted is accepted again as we understood it.
		again, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), `"revokeCert"`) && strings.Contains(string(text), `"keyChange"`) && d.RevokeCert != "" && d.KeyChange != "" {
			if _, err := decode(again); err != nil {
				t.Errorf("%s: %v", again, err)
			}
		}
	})
}

func FuzzCacheControl(f *testing.F) {
	for _, text := range []string{"", "max-age=60", `no-cache="a, b", max-age="5"`, `x="\`, ",,,=,", "max-age=99999999999999999999"} {
		f.Add(text, "5")
	}
	f.Fuzz(func(t *testing.T, text, age string) {
		now := time.Now()
		life := transit{now, now}.life(http.Header{"Cache-Control": {text}, "Age": {age}})
		if life < 0 || life > day {
			t.Errorf("%q with age %q lives %v", text, age, life)
		}
	})
}

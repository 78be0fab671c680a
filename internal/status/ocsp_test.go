package status_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"chancery/internal/ca"

	"golang.org/x/crypto/ocsp"
)

func post(der []byte) *http.Request {
	r := httptest.NewRequest("POST", "/ocsp", bytes.NewReader(der))
	r.Header.Set("Content-Type", "application/ocsp-request")
	return r
}

// get escapes as RFC 6960 appendix A.1 says.
func get(der []byte) *http.Request {
	return httptest.NewRequest("GET", "/ocsp/"+url.QueryEscape(base64.StdEncoding.EncodeToString(der)), nil)
}

// read checks an answer as a relying party does: the signature up to the
// issuer's, by the enclosed delegate.
func read(t testing.TB, w *httptest.ResponseRecorder, cert, issuer *x509.Certificate) *ocsp.Response {
	t.Helper()
	if w.Code != 200 || w.Header().Get("Content-Type") != "application/ocsp-response" {
		t.Fatalf("HTTP %d %v: %s", w.Code, w.Header(), w.Body)
	}
	r, err := ocsp.ParseResponseForCert(w.Body.Bytes(), cert, issuer)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestStatuses(t *testing.T) {
	b := newBench(t)
	issuer := b.issuing().Certificate()
	good, revoked, plain := b.leaf(t, "good.example"), b.leaf(t, "revoked.example"), b.leaf(t, "plain.example")
	b.revoke(t, revoked, ca.KeyCompromise)
	b.revoke(t, plain, ca.Unspecified)
	strange := &x509.Certificate{SerialNumber: big.NewInt(4711)}
	now := b.clock.read().Truncate(time.Second)
	for name, c := range map[string]struct {
		cert   *x509.Certificate
		status int
		reason int
		life   time.Duration
	}{
		"good":                  {good, ocsp.Good, 0, 24 * time.Hour},
		"revoked with a reason": {revoked, ocsp.Revoked, ocsp.KeyCompromise, 24 * time.Hour},
		"revoked without":       {plain, ocsp.Revoked, ocsp.Unspecified, 24 * time.Hour},
		"never issued":          {strange, ocsp.Unknown, 0, time.Minute},
	} {
		for _, hash := range []crypto.Hash{crypto.SHA1, crypto.SHA256} {
			ask := question(t, c.cert, issuer, hash)
			for _, request := range []*http.Request{post(ask), get(ask)} {
				r := read(t, b.do(request), c.cert, issuer)
				if r.Status != c.status || r.RevocationReason != c.reason || r.IssuerHash != hash {
					t.Errorf("%s: status %d, reason %d, hash %v", name, r.Status, r.RevocationReason, r.IssuerHash)
				}
				if c.status == ocsp.Revoked && !r.RevokedAt.Equal(now) {
					t.Errorf("%s: revoked at %v, not %v", name, r.RevokedAt, now)
				}
				if !r.ThisUpdate.Equal(now) || !r.ProducedAt.Equal(now) || r.NextUpdate.Sub(r.ThisUpdate) != c.life {
					t.Errorf("%s: from %v to %v", name, r.ThisUpdate, r.NextUpdate)
				}
			}
		}
	}
}

func TestGetPaths(t *testing.T) {
	b := newBench(t)
	issuer := b.issuing().Certificate()
	// Serials are random: some certificate's request has what is looked for.
	seen := map[string]bool{}
	for n := 0; n < 200 && len(seen) < 3; n++ {
		cert := &x509.Certificate{SerialNumber: new(big.Int).SetBytes([]byte{0x40, byte(n), 0xff, 0xfb, 0xff, byte(n * 7), 0xfe, 0xff, 0xff})}
		ask := question(t, cert, issuer, crypto.SHA1)
		plain := base64.StdEncoding.EncodeToString(ask)
		for _, sign := range []string{"//", "+", "="} {
			seen[sign] = seen[sign] || strings.Contains(plain, sign)
		}
		for _, path := range []string{
			plain, "/" + plain, url.QueryEscape(plain), url.PathEscape(plain),
			strings.ReplaceAll(plain, "+", "%2b"), strings.ReplaceAll(plain, "=", "%3d"),
		} {
			if r := read(t, b.do(httptest.NewRequest("GET", "/ocsp/"+path, nil)), cert, issuer); r.Status != ocsp.Unknown {
				t.Fatalf("%s: %d", path, r.Status)
			}
		}
	}
	if len(seen) < 3 {
		t.Fatalf("the paths show nothing but %v", seen)
	}
}

// TestRefusals: errors in OCSP's own form, not cached (RFC 5019 §6.2).
func TestRefusals(t *testing.T) {
	b := newBench(t)
	cert := b.leaf(t, "www.example")
	issuer := b.issuing().Certificate()
	ask := question(t, cert, issuer, crypto.SHA1)
	for name, c := range map[string]struct {
		request *http.Request
		status  ocsp.ResponseStatus
	}{
		"garbage":          {post([]byte("garbage")), ocsp.Malformed},
		"a large body":     {post(make([]byte, 8<<10+1)), ocsp.Malformed},
		"an empty path":    {httptest.NewRequest("GET", "/ocsp/", nil), ocsp.Malformed},
		"no base64":        {httptest.NewRequest("GET", "/ocsp/!!!", nil), ocsp.Malformed},
		"a tail":           {get(append(bytes.Clone(ask), 0)), ocsp.Malformed},
		"a foreign issuer": {post(question(t, cert, cert, crypto.SHA1)), ocsp.Unauthorized},
		"SHA-512":          {post(question(t, cert, issuer, crypto.SHA512)), ocsp.Unauthorized},
	} {
		w := b.do(c.request)
		_, err := ocsp.ParseResponse(w.Body.Bytes(), nil)
		var refused ocsp.ResponseError
		if !errors.As(err, &refused) || refused.Status != c.status || w.Code != 200 {
			t.Errorf("%s: HTTP %d, %v", name, w.Code, err)
		}
		if w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: may be cached: %v", name, w.Header())
		}
	}
}

func TestRevocationShowsWithinSeconds(t *testing.T) {
	b := newBench(t)
	cert := b.leaf(t, "www.example")
	issuer := b.issuing().Certificate()
	ask := question(t, cert, issuer, crypto.SHA256)
	first := b.do(get(ask)).Body.Bytes()
	b.revoke(t, cert, ca.Superseded)
	b.clock.pass(1900 * time.Millisecond)
	if again := b.do(get(ask)); !bytes.Equal(again.Body.Bytes(), first) {
		t.Fatal("the answer was not kept for two seconds; this test shows nothing")
	}
	b.clock.pass(100 * time.Millisecond)
	if r := read(t, b.do(get(ask)), cert, issuer); r.Status != ocsp.Revoked || r.RevocationReason != ocsp.Superseded {
		t.Errorf("two seconds after the revocation: %+v", r)
	}
}

func TestAnswersAreKeptAndRenewed(t *testing.T) {
	b := newBench(t)
	cert := b.leaf(t, "www.example")
	issuer := b.issuing().Certificate()
	ask := question(t, cert, issuer, crypto.SHA1)
	first := read(t, b.do(get(ask)), cert, issuer)
	looks := b.line.looks()
	for range 10 {
		b.do(post(ask))
	}
	if b.line.looks() != looks {
		t.Error("the ledger was asked again at once")
	}
	b.clock.pass(11 * time.Hour)
	same := read(t, b.do(get(ask)), cert, issuer)
	if b.line.looks() != looks+1 || !bytes.Equal(same.Raw, first.Raw) {
		t.Errorf("before half of its life: %d looks, signed anew: %v", b.line.looks()-looks, !bytes.Equal(same.Raw, first.Raw))
	}
	b.clock.pass(2 * time.Hour)
	if next := read(t, b.do(get(ask)), cert, issuer); !next.ThisUpdate.Equal(first.ThisUpdate.Add(13 * time.Hour)) {
		t.Errorf("after half of its life: thisUpdate %v", next.ThisUpdate)
	}
}

// refused gives the status of an answer that is an error.
func refused(t testing.TB, w *httptest.ResponseRecorder) ocsp.ResponseStatus {
	t.Helper()
	_, err := ocsp.ParseResponse(w.Body.Bytes(), nil)
	var e ocsp.ResponseError
	if !errors.As(err, &e) {
		t.Fatalf("not refused: %v", err)
	}
	return e.Status
}

func TestStorageLost(t *testing.T) {
	b := newBench(t)
	cert, other := b.leaf(t, "www.example"), b.leaf(t, "other.example")
	issuer := b.issuing().Certificate()
	ask := question(t, cert, issuer, crypto.SHA1)
	first := b.do(get(ask)).Body.Bytes()
	lost := ca.Errorf(ca.Unavailable, "the cable is out")
	b.clock.pass(11 * time.Hour)
	b.do(get(ask)) // compared, and not past half of its life
	b.line.set(lost)
	b.clock.pass(10 * time.Minute)
	if w := b.do(get(ask)); !bytes.Equal(w.Body.Bytes(), first) {
		t.Errorf("the last answer was not given: %x %v", w.Body, w.Header())
	}
	if s := refused(t, b.do(get(question(t, other, issuer, crypto.SHA1)))); s != ocsp.TryLater {
		t.Errorf("without an answer in memory: %v", s)
	}
	b.clock.pass(time.Second)
	if s := refused(t, b.do(get(ask))); s != ocsp.TryLater {
		t.Errorf("more than ten minutes after it was compared: %v", s)
	}
	b.line.set(nil)
	if w := b.do(get(ask)); !bytes.Equal(w.Body.Bytes(), first) {
		t.Errorf("the answer that still holds was not given: %x", w.Body)
	}
	b.line.set(errors.New("a bug"))
	b.clock.pass(3 * time.Second)
	if s := refused(t, b.do(get(ask))); s != ocsp.InternalError {
		t.Errorf("a bug: %v", s)
	}
	b.line.set(nil)
	b.clock.pass(time.Hour)
	if r := read(t, b.do(get(ask)), cert, issuer); bytes.Equal(r.Raw, first) {
		t.Error("past half of its life the answer was not renewed")
	}
}

// TestKnownToBeWrong: an answer that the ledger contradicts is not given, even
// when no other can be signed.
func TestKnownToBeWrong(t *testing.T) {
	b := newBench(t)
	cert := b.leaf(t, "www.example")
	ask := question(t, cert, b.issuing().Certificate(), crypto.SHA1)
	b.do(get(ask))
	b.revoke(t, cert, ca.KeyCompromise)
	b.clock.pass(3 * time.Second)
	b.line.after(1, ca.Errorf(ca.Unavailable, "the cable is out"))
	if s := refused(t, b.do(get(ask))); s != ocsp.TryLater {
		t.Errorf("after the ledger had said otherwise: %v", s)
	}
}

// TestTooManyToSign: strangers cannot have more signed, or wait for it, than
// there are places.
func TestTooManyToSign(t *testing.T) {
	b := newBench(t)
	cert, never := b.leaf(t, "www.example"), b.leaf(t, "never-asked.example")
	issuer := b.issuing().Certificate()
	ask := question(t, cert, issuer, crypto.SHA1)
	kept := b.do(get(ask)).Body.Bytes()
	release := b.line.block()
	defer release()
	many := 4*runtime.GOMAXPROCS(0) + 256 + 1
	answers := make(chan *httptest.ResponseRecorder, many)
	for n := range many {
		other := question(t, &x509.Certificate{SerialNumber: big.NewInt(int64(n) + 1)}, issuer, crypto.SHA1)
		go func() { answers <- b.do(get(other)) }()
	}
	select {
	case w := <-answers:
		if s := refused(t, w); s != ocsp.TryLater || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("one too many: %v %v", s, w.Header())
		}
	case <-time.After(15 * time.Second):
		t.Fatal("nobody is refused")
	}
	if s := refused(t, b.do(get(question(t, never, issuer, crypto.SHA1)))); s != ocsp.TryLater {
		t.Errorf("another one too many: %v", s)
	}
	if w := b.do(get(ask)); !bytes.Equal(w.Body.Bytes(), kept) {
		t.Error("what is in memory is not answered meanwhile")
	}
	release()
	for range many - 1 {
		w := <-answers
		if r, err := ocsp.ParseResponse(w.Body.Bytes(), issuer); err != nil || r.Status != ocsp.Unknown {
			t.Fatalf("one that waited: %+v, %v", r, err)
		}
	}
	read(t, b.do(get(question(t, never, issuer, crypto.SHA1))), never, issuer)
}

func TestRetiredIssuerAnswers(t *testing.T) {
	b := newBench(t)
	cert := b.leaf(t, "www.example")
	old := b.issuing()
	b.clock.pass(time.Hour)
	if _, err := b.RolloverIssuer(context.Background(), ca.Principal{Room: "admin", ID: "test"}, ca.DefaultLine); err != nil {
		t.Fatal(err)
	}
	if b.issuing().ID == old.ID || b.Issuers().ByID(old.ID).State != ca.Retired {
		t.Fatal("the issuer was not rolled over")
	}
	issuer := old.Certificate()
	r := read(t, b.do(get(question(t, cert, issuer, crypto.SHA1))), cert, issuer)
	if r.Status != ocsp.Good || r.Certificate == nil || r.Certificate.CheckSignatureFrom(issuer) != nil {
		t.Errorf("status %d by %v", r.Status, r.Certificate)
	}
	next := b.leaf(t, "next.example")
	fresh := b.issuing().Certificate()
	if r := read(t, b.do(get(question(t, next, fresh, crypto.SHA1))), next, fresh); r.Certificate.CheckSignatureFrom(fresh) != nil {
		t.Error("the new issuer's delegate is not its own")
	}
	// The same serial below another issuer is another certificate.
	if r := read(t, b.do(get(question(t, cert, fresh, crypto.SHA1))), cert, fresh); r.Status != ocsp.Unknown {
		t.Errorf("a certificate of the old issuer is %d below the new one", r.Status)
	}
}

// TestManyAtOnce: a crowd gets one signature, not one each.
func TestManyAtOnce(t *testing.T) {
	b := newBench(t)
	cert := b.leaf(t, "www.example")
	issuer := b.issuing().Certificate()
	ask := question(t, cert, issuer, crypto.SHA1)
	bodies := make([]string, 60)
	var wait sync.WaitGroup
	for n := range bodies {
		wait.Go(func() {
			r := get(ask)
			if n%3 == 0 { // some hang up before they are answered
				ctx, cancel := context.WithCancel(r.Context())
				cancel()
				r = r.WithContext(ctx)
			}
			bodies[n] = b.do(r).Body.String()
		})
	}
	wait.Wait()
	for n, body := range bodies {
		if n%3 != 0 && body != bodies[1] {
			t.Fatalf("answer %d differs: %x", n, body)
		}
	}
	read(t, b.do(get(ask)), cert, issuer)
	records, _, err := b.line.List(t.Context(), ca.Query{Profile: "ocsp-responder", Limit: 10, Now: b.clock.read()})
	if err != nil || len(records) != 1 {
		t.Errorf("%d responders were certified: %v", len(records), err)
	}
}

func TestHTTPCaching(t *testing.T) {
	b := newBench(t)
	cert := b.leaf(t, "www.example")
	ask := question(t, cert, b.issuing().Certificate(), crypto.SHA1)
	w := b.do(get(ask))
	now := b.clock.read().UTC()
	for header, want := range map[string]string{
		"Cache-Control":  "max-age=300, public, no-transform, must-revalidate",
		"Last-Modified":  now.Format(http.TimeFormat),
		"Expires":        now.Add(24 * time.Hour).Format(http.TimeFormat),
		"Content-Length": fmt.Sprint(w.Body.Len()),
	} {
		if got := w.Header().Get(header); got != want {
			t.Errorf("%s: %q, not %q", header, got, want)
		}
	}
	etag := w.Header().Get("Etag")
	if len(etag) != 42 { // SHA-1 in hex, quoted
		t.Errorf("Etag: %s", etag)
	}
	for _, c := range []struct {
		header, value string
		code          int
	}{
		{"If-None-Match", etag, 304},
		{"If-None-Match", `"other"`, 200},
		{"If-Modified-Since", w.Header().Get("Last-Modified"), 304},
		{"If-Modified-Since", now.Add(-time.Hour).Format(http.TimeFormat), 200},
	} {
		got := b.do(get(ask), c.header, c.value)
		if got.Code != c.code || (c.code == 304) != (got.Body.Len() == 0) || got.Header().Get("Etag") != etag {
			t.Errorf("%s %s: HTTP %d, %d octets", c.header, c.value, got.Code, got.Body.Len())
		}
	}
	head := get(ask)
	head.Method = "HEAD"
	if got := b.do(head); got.Code != 200 || got.Body.Len() != 0 || got.Header().Get("Content-Length") != w.Header().Get("Content-Length") {
		t.Errorf("HEAD: %d %v", got.Code, got.Header())
	}
	b.clock.pass(11*time.Hour + 58*time.Minute)
	if got := b.do(get(ask)).Header().Get("Cache-Control"); !strings.HasPrefix(got, "max-age=119,") && !strings.HasPrefix(got, "max-age=120,") {
		t.Errorf("near its renewal: %s", got)
	}
	b.server.MaxAge = 7 * time.Second
	if got := b.do(get(ask)).Header().Get("Cache-Control"); !strings.HasPrefix(got, "max-age=7,") {
		t.Errorf("with a MaxAge of seven seconds: %s", got)
	}
}

func BenchmarkCachedGet(b *testing.B) {
	room := newBench(b)
	cert := room.leaf(b, "www.example")
	request := get(question(b, cert, room.issuing().Certificate(), crypto.SHA1))
	read(b, room.do(request), cert, room.issuing().Certificate())
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			w := httptest.NewRecorder()
			room.handler.ServeHTTP(w, request)
			if w.Body.Len() < 500 {
				b.Fatal(w.Body)
			}
		}
	})
}

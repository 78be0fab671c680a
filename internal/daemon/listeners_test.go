package daemon_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"chancery/acme"
	"chancery/internal/peertest"

	"github.com/jackc/pgx/v5"
)

// fetch gives an answer's status code and body.
func fetch(t testing.TB, c *http.Client, url string) (int, string) {
	t.Helper()
	res, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	return res.StatusCode, string(must[[]byte](t)(io.ReadAll(res.Body)))
}

// TestPlainHTTPSaysWhere asks for the directory by http:// at the public port.
func TestPlainHTTPSaysWhere(t *testing.T) {
	t.Parallel()
	s := start(t, plan(t, newSite(t), ""))
	for _, path := range []string{"/acme/directory", "/.well-known/acme", "/"} {
		if code, text := fetch(t, s.http(), "http://ca.localhost"+path); code != 400 || !strings.Contains(text, baseURL+path) {
			t.Errorf("http to %s: %d %q; want 400 and the URL to use", path, code, text)
		}
	}
	if code, text := fetch(t, s.http(), statusURL+"/root.pem"); code != 200 || !strings.Contains(text, "BEGIN CERTIFICATE") {
		t.Errorf("/root.pem by http: %d %q", code, text)
	}
}

// TestSilentConnections opens many connections that say nothing, or nothing
// useful; others are served meanwhile.
func TestSilentConnections(t *testing.T) {
	t.Parallel()
	web := newSite(t)
	s := start(t, plan(t, web, ""))
	for n := range 200 {
		conn, err := net.Dial("tcp", s.Public)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if n%2 == 0 {
			conn.Write([]byte{22}) // a TLS record's first octet, and no second
		}
	}
	if _, err := web.obtain(within(t, 8*time.Second), s.client(), newKey(t), "busy.example"); err != nil {
		t.Error(err)
	}
}

// TestReloadIsNotNoticed reloads in the middle of an order and a validation.
func TestReloadIsNotNoticed(t *testing.T) {
	engines(t, func(t *testing.T, url string) {
		web := newSite(t)
		s := start(t, plan(t, web, url))
		c := s.client()
		half := web.ready(t, c, "half.example")
		o, release := processing(t, web, c)
		kept := s.nonce()
		next := s.config()
		next.ACME.Website = "https://about.test"
		if err := s.daemon.Reload(next); err != nil {
			t.Fatal(err)
		}
		if d := must[*acme.Directory](t)(c.Discover(within(t, long))); d.Meta == nil || d.Meta.Website != "https://about.test" {
			t.Errorf("after the reload the directory is %+v", d)
		}
		if code, problem := s.post(posting{url: c.AccountURL, client: c, nonce: kept, payload: acme.AccountUpdate{}}); code != 200 {
			t.Errorf("a nonce from before the reload: %d %v", code, problem)
		}
		if code, problem := s.post(posting{url: c.AccountURL, client: c, nonce: kept, payload: acme.AccountUpdate{}}); problem == nil || problem.Type != acme.TypeBadNonce {
			t.Errorf("the same nonce again: %d %v", code, problem)
		}
		reused := false
		ctx := httptrace.WithClientTrace(within(t, long), &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { reused = reused || i.Reused }})
		if _, err := finalizeAndFetch(ctx, c, half, csrFor(t, newKey(t), "half.example")); err != nil || !reused {
			t.Errorf("the order that was half done: %v; connections kept: %t", err, reused)
		}
		release()
		if o, err := c.WaitOrder(within(t, long), o.URL); err != nil || o.Status != acme.OrderReady {
			t.Errorf("the validation that ran: %+v, %v", o, err)
		}
		if n := web.asked.Load(); n != 2 {
			t.Errorf("the web server was asked %d times for two names", n)
		}
		bad := s.config()
		bad.ACME.Profiles = []string{"no-such-profile"}
		if err := s.daemon.Reload(bad); err == nil {
			t.Error("a profile that does not exist was taken over")
		}
		s.client() // goes on with the configuration before
	})
}

// TestCloseKnowsWhatAReloadReplaced closes after a reload while a validation
// from before it runs, and too little time is given.
func TestCloseKnowsWhatAReloadReplaced(t *testing.T) {
	t.Parallel()
	web := newSite(t)
	s := start(t, plan(t, web, ""))
	_, release := processing(t, web, s.client())
	defer release()
	if err := s.daemon.Reload(s.config()); err != nil {
		t.Fatal(err)
	}
	// Nothing but the validation takes that long.
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	if err := s.daemon.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close gave %v while a validation was under way", err)
	}
}

// TestMetricsCount compares what is counted with what was asked.
func TestMetricsCount(t *testing.T) {
	t.Parallel()
	web := newSite(t)
	p := plan(t, web, "")
	p.Metrics = freeAddress(t)
	s := start(t, p)
	c := s.client()
	for _, name := range []string{"a.example", "b.example"} {
		if _, err := web.obtain(within(t, long), c, newKey(t), name); err != nil {
			t.Fatal(err)
		}
	}
	_, text := fetch(t, http.DefaultClient, "http://"+p.Metrics+"/metrics")
	for _, want := range []string{
		`chancery_http_requests_total\{code="201",resource="new-order"\} 2`,
		`chancery_http_requests_total\{code="200",resource="finalize"\} 2`,
		`chancery_http_request_seconds_count\{resource="new-account"\} 1`,
		`chancery_db_commits_total [1-9]`,
		`chancery_issuer_end_seconds [1-9]`,
	} {
		if !regexp.MustCompile(`(?m)^` + want).MatchString(text) {
			t.Errorf("the metrics lack %s", want)
		}
	}
}

// TestReadyFollowsTheDatabase takes the database away and gives it back.
func TestReadyFollowsTheDatabase(t *testing.T) {
	t.Parallel()
	dsn := peertest.Postgres(t)
	s := start(t, plan(t, newSite(t), dsn))
	u := must[*url.URL](t)(url.Parse(dsn))
	name := strings.TrimPrefix(u.Path, "/")
	u.Path = "/postgres"
	conn := must[*pgx.Conn](t)(pgx.Connect(context.Background(), u.String()))
	defer conn.Close(context.Background())
	sql := func(text string) {
		t.Helper()
		if _, err := conn.Exec(context.Background(), text); err != nil {
			t.Fatal(err)
		}
	}
	code := func(want int) func() bool {
		return func() bool {
			got, _ := fetch(t, s.http(), baseURL+"/readyz")
			return got == want
		}
	}
	until(t, "ready", code(http.StatusOK))
	sql(`ALTER DATABASE ` + name + ` ALLOW_CONNECTIONS false`)
	sql(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '` + name + `'`)
	until(t, "not ready without the database", code(http.StatusServiceUnavailable))
	if got, _ := fetch(t, s.http(), baseURL+"/healthz"); got != http.StatusOK {
		t.Errorf("the process lives, and /healthz says %d", got)
	}
	sql(`ALTER DATABASE ` + name + ` ALLOW_CONNECTIONS true`)
	until(t, "ready again", code(http.StatusOK))
	s.client()
}

package daemon_test

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"

	"chancery/internal/config"
)

// TestRequestsAreLimited asks both sides for more than is allowed to one
// address, which they count together.
func TestRequestsAreLimited(t *testing.T) {
	t.Parallel()
	p := plan(t, newSite(t), "")
	p.Requests = config.Rate{Count: 3, Per: config.Duration(24 * time.Hour)}
	s := start(t, p)
	for _, url := range []string{baseURL + "/healthz", statusURL + "/roots.pem", statusURL + "/root.pem"} {
		if code, text := fetch(t, s.http(), url); code != http.StatusOK {
			t.Fatalf("%s: %d %s", url, code, text)
		}
	}
	for kind, url := range map[string]string{
		"application/problem+json": baseURL + "/acme/directory",
		"text/plain":               statusURL + "/root.pem",
	} {
		res := must[*http.Response](t)(s.http().Get(url))
		res.Body.Close()
		if res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Retry-After") == "" || !strings.HasPrefix(res.Header.Get("Content-Type"), kind) {
			t.Errorf("%s: %d %v", url, res.StatusCode, res.Header)
		}
	}
	res := must[*http.Response](t)(s.http().Post(statusURL+"/ocsp", "application/ocsp-request", bytes.NewReader([]byte{0x30, 0})))
	res.Body.Close()
	if res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("OCSP: %d %v", res.StatusCode, res.Header)
	}
}

// TestReloadKeepsCounts: what was asked before a reload counts after it, unless
// the rule is another.
func TestReloadKeepsCounts(t *testing.T) {
	t.Parallel()
	day := config.Duration(24 * time.Hour)
	p := plan(t, newSite(t), "")
	p.Requests = config.Rate{Count: 2, Per: day}
	s := start(t, p)
	code := func() int {
		t.Helper()
		code, _ := fetch(t, s.http(), baseURL+"/healthz")
		return code
	}
	reload := func(change func(*config.Config)) error {
		next := s.config()
		change(next)
		return s.daemon.Reload(next)
	}
	code()
	if code() != http.StatusOK || code() != http.StatusTooManyRequests {
		t.Fatal("two requests are allowed, and no more")
	}
	if err := reload(func(c *config.Config) { c.Limits.OrdersPerAccount = config.Rate{Count: 1, Per: day} }); err != nil {
		t.Fatal(err)
	}
	if got := code(); got != http.StatusTooManyRequests {
		t.Errorf("after a reload that changes another rule: %d", got)
	}
	if err := reload(func(c *config.Config) {
		c.Limits.RequestsPerAddress = config.Rate{}
		c.ACME.Profiles = []string{"no-such-profile"}
	}); err == nil {
		t.Error("a profile that does not exist was taken over")
	}
	if got := code(); got != http.StatusTooManyRequests {
		t.Errorf("after a reload that failed: %d", got)
	}
	if err := reload(func(c *config.Config) { c.Limits.RequestsPerAddress = config.Rate{} }); err != nil {
		t.Fatal(err)
	}
	if got := code(); got != http.StatusOK {
		t.Errorf("after the limit was taken away: %d", got)
	}
}

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

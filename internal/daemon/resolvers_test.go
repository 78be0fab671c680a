package daemon_test

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"chancery/internal/config"
	"chancery/internal/resolver"
)

// TestResolversAreTakenAlike: what the check of a configuration lets pass, the
// resolver takes, and the other way round.
func TestResolversAreTakenAlike(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"10.0.0.53", "10.0.0.53:5353", "::1", "[::1]", "[fd00::53]:53", "tls://10.0.0.53", "tls://10.0.0.53:8530#dns.example", "tls://[::1]#dns.example",
		"https://dns.example/dns-query", "https://dns.example:444/dns-query{?dns}", "https://10.0.0.53/dns-query", "https://[::1]/q", "https://dns.example/dns-query@10.0.0.53",
		"", "dns", "dns.example:53", "10.0.0.53:0", "10.0.0.53:x", "[10.0.0.53]", "[::1", "tls://dns.example", "tls://10.0.0.53#", "tls://10.0.0.53#a b", "tls://",
		"https://dns.example", "https://dns.example/", "https://dns.example:/q", "https://dns.example:0/q", "https://dns.example/q?a=b", "https://u@dns.example/q", "https:///q",
		"https://dns.example/q@x", "https://dns.example/@10.0.0.53", "quic://10.0.0.53", "http://dns.example/q",
	} {
		path := filepath.Join(t.TempDir(), "chancery.toml")
		for _, key := range []string{"validation", "caa"} {
			if err := os.WriteFile(path, []byte("["+key+"]\nresolvers = ['"+text+"']\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			_, _, checked := config.Load(path, config.Overrides{}, nil)
			_, taken := resolver.New(resolver.Config{Servers: []string{text}})
			if (checked == nil) != (taken == nil) {
				t.Errorf("%s.resolvers %q: the configuration says %v, the resolver %v", key, text, checked, taken)
			}
		}
	}
}

// TestValidationOverTLSResolver starts with resolvers over TLS.
func TestValidationOverTLSResolver(t *testing.T) {
	t.Parallel()
	s := &server{setup: plan(t, newSite(t), "")}
	c := s.config()
	c.Validation.Resolvers = []string{"tls://127.0.0.1:1#dns.example", "https://dns.example/dns-query@127.0.0.1"}
	s = startWith(t, s.setup, c)
	if res, err := s.http().Get(baseURL + "/healthz"); err != nil || res.StatusCode != http.StatusOK {
		t.Errorf("%v, %v", res, err)
	}
}

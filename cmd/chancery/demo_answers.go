package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"chancery/acme"
	"chancery/internal/dnstest"
)

// answers is how the demo's customer proves names: by files on a web server, or
// for wildcards by records in the DNS. It fits acme.Solver and http.Handler.
type answers struct {
	dns   *dnstest.Server
	mu    sync.Mutex
	files map[string]string
}

// Types implements acme.Solver.
func (a *answers) Types(id acme.Identifier) []acme.ChallengeType {
	return []acme.ChallengeType{acme.ChallengeHTTP01, acme.ChallengeDNS01}
}

// Present implements acme.Solver.
func (a *answers) Present(_ context.Context, id acme.Identifier, ch acme.Challenge, keyAuth string) error {
	switch ch.Type {
	case acme.ChallengeDNS01:
		return a.dns.Add(acme.DNS01Name(id.Value), "TXT", acme.DNS01Value(keyAuth))
	case acme.ChallengeHTTP01:
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.files == nil {
			a.files = map[string]string{}
		}
		a.files[acme.HTTP01Path(ch.Token)] = keyAuth
		return nil
	}
	return fmt.Errorf("the demo cannot answer %s", ch.Type)
}

// CleanUp implements acme.Solver.
func (a *answers) CleanUp(_ context.Context, id acme.Identifier, ch acme.Challenge, _ string) error {
	if ch.Type == acme.ChallengeDNS01 {
		a.dns.Remove(acme.DNS01Name(id.Value), "TXT")
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.files, acme.HTTP01Path(ch.Token))
	return nil
}

// ServeHTTP is the customer's web server.
func (a *answers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host, _, _ := strings.Cut(r.Host, ":")
	a.mu.Lock()
	text, ok := a.files[r.URL.Path]
	a.mu.Unlock()
	if !ok || host != demoShop {
		http.NotFound(w, r)
		return
	}
	_, _ = io.WriteString(w, text)
}

package solve

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"chancery/acme"

	"golang.org/x/net/netutil"
)

// maxConnections bounds what strangers can open on a challenge port at once.
const maxConnections = 256

// Standalone meets http-01 (RFC 8555 §8.3) by a listener of its own, which is open only
// while an answer stands and shared by all that name the same address.
type Standalone struct {
	// Address is host:port; "" means ":80", on IPv4 and IPv6. Another port than 80 is for
	// use behind a proxy.
	Address string
}

// Types gives http-01 for names, except wildcards (RFC 8555 §7.1.3 leaves those to
// dns-01), and addresses (RFC 8738 §4).
func (s *Standalone) Types(identifier acme.Identifier) []acme.ChallengeType {
	if !served(identifier) {
		return nil
	}
	return []acme.ChallengeType{acme.ChallengeHTTP01}
}

// served says whether a server at the identifier itself can prove it.
func served(identifier acme.Identifier) bool {
	return identifier.Type == acme.IdentifierIP || identifier.Type == acme.IdentifierDNS && !strings.HasPrefix(identifier.Value, "*.")
}

func (s *Standalone) address() string {
	if s.Address == "" {
		return ":80"
	}
	return s.Address
}

// Present serves the answer. The error is a *ValueError or a *PortError.
func (s *Standalone) Present(ctx context.Context, identifier acme.Identifier, challenge acme.Challenge, keyAuth string) error {
	if err := Check(identifier, challenge, keyAuth); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	p, err := acquire("http-01", s.address(), newPages)
	if err != nil {
		return err
	}
	p.server.(*pages).add(challenge.Token, page{keyAuth, p})
	return nil
}

// CleanUp ends serving the answer, if it is served.
func (s *Standalone) CleanUp(_ context.Context, _ acme.Identifier, challenge acme.Challenge, keyAuth string) error {
	ports.Lock()
	p := ports.open["http-01 "+s.address()]
	ports.Unlock()
	if p != nil && p.server.(*pages).remove(challenge.Token, keyAuth) {
		p.release()
	}
	return nil
}

// pages is the web server with the answers.
type pages struct {
	http http.Server

	mu     sync.Mutex
	tokens map[string][]page // guarded by mu
}

type page struct {
	keyAuth string
	port    *port
}

func newPages() server {
	p := &pages{tokens: map[string][]page{}}
	p.http = http.Server{
		Handler: p, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second,
		MaxHeaderBytes: 8 << 10, ErrorLog: log.New(io.Discard, "", 0), DisableGeneralOptionsHandler: true,
	}
	p.http.SetKeepAlivesEnabled(false)
	return p
}

func (p *pages) serve(l net.Listener) { _ = p.http.Serve(netutil.LimitListener(l, maxConnections)) }

func (p *pages) close() {
	// Answers under way are finished, silent connections not waited for.
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = p.http.Shutdown(ctx)
	_ = p.http.Close()
}

func (p *pages) add(token string, answer page) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tokens[token] = append(p.tokens[token], answer)
}

// remove reports whether there was one to remove.
func (p *pages) remove(token, keyAuth string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, a := range p.tokens[token] {
		if a.keyAuth == keyAuth {
			p.tokens[token] = append(p.tokens[token][:i:i], p.tokens[token][i+1:]...)
			if len(p.tokens[token]) == 0 {
				delete(p.tokens, token)
			}
			return true
		}
	}
	return false
}

// ServeHTTP gives the key authorisation at exactly its path and the same nothing
// everywhere else.
func (p *pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	token, ok := strings.CutPrefix(r.URL.Path, acme.HTTP01Path(""))
	var body string
	if ok && r.URL.RawPath == "" && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		p.mu.Lock()
		if answers := p.tokens[token]; len(answers) > 0 {
			body = answers[len(answers)-1].keyAuth
		}
		p.mu.Unlock()
	}
	if body == "" {
		http.Error(w, "404 nothing here", http.StatusNotFound)
		return
	}
	// RFC 8555 §8.3 suggests this type; what is served is never taken for a page.
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = io.WriteString(w, body)
}

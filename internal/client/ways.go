package client

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"sync"

	"chancery/internal/enroll"
	"chancery/internal/enroll/guard"
	"chancery/internal/enroll/settings"
)

// ways are the HTTP clients, one for each configured CA and one for strangers.
type ways struct {
	settings *settings.Settings
	policies map[string]guard.Policy // by label; "" is for strangers
	mu       sync.Mutex
	made     map[string]*http.Client
}

var thisMachine = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

func newWays(o Options) (*ways, error) {
	s := o.Settings
	roots, err := pool(s.Discovery.Roots)
	if err != nil {
		return nil, err
	}
	w := &ways{settings: s, policies: map[string]guard.Policy{}, made: map[string]*http.Client{}}
	w.policies[""] = guard.Policy{Allow: s.Discovery.Allow, Private: s.Discovery.AllowPrivate, Roots: roots, Dial: o.Dial, Resolve: o.Resolve}
	for _, ca := range s.CAs {
		p := guard.Policy{Allow: s.Discovery.Allow, Private: ca.AllowPrivate || s.Discovery.AllowPrivate || ca.Directory != "", Roots: roots, Dial: o.Dial, Resolve: o.Resolve}
		if ca.Roots != "" {
			if p.Roots, err = pool(ca.Roots); err != nil {
				return nil, fmt.Errorf("[[ca]] %s: %w", ca.Label, err)
			}
		}
		if ca.AllowPrivate || onThisMachine(ca.Directory) {
			p.Allow = append(p.Allow[:len(p.Allow):len(p.Allow)], thisMachine...)
		}
		w.policies[ca.Label] = p
	}
	return w, nil
}

// onThisMachine tells whether whoever wrote the URL sent us to loopback by name.
func onThisMachine(directory string) bool {
	u, err := url.Parse(directory)
	if err != nil {
		return false
	}
	addr, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() == "localhost" || err == nil && addr.IsLoopback()
}

// to is enroll.Config.HTTP. A configured directory may be anywhere in a private
// network: the user wrote its URL.
func (w *ways) to(configured *enroll.CA) *http.Client {
	label := ""
	if configured != nil {
		label = configured.Label
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if c, ok := w.made[label]; ok {
		return c
	}
	p, known := w.policies[label]
	if !known { // the user gave its URL for this certificate
		p = w.policies[""]
		p.Private = true
		if onThisMachine(configured.Directory) {
			p.Allow = append(p.Allow[:len(p.Allow):len(p.Allow)], thisMachine...)
		}
	}
	c := p.Client()
	w.made[label] = c
	return c
}

func (w *ways) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.made {
		c.CloseIdleConnections()
	}
}

package estserver

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"chancery/cms"
	"chancery/internal/ca"
)

// bagLife is how long a bag is given from memory: certificates in it end.
const bagLife = time.Minute

// record is how much one TLS record holds, less the answer's header fields; some
// clients read no more (RFC 8446 §5.1).
const record = 16<<10 - 1<<10

// caCerts gives the authority's certificates (RFC 7030 §4.1.3). Nobody need
// authenticate, and who does so wrongly is answered all the same.
func (s *Server) caCerts(c *call) error {
	der, err := s.bag(c.label, c.now)
	if err != nil {
		return err
	}
	return c.send(answer{mediaType: certsOnly, body: der, encode: true})
}

func (s *Server) bag(l *Label, now time.Time) ([]byte, error) {
	issuers := s.Authority.Issuers()
	s.bags.mu.Lock()
	known, ok := s.bags.known[l.Name]
	s.bags.mu.Unlock()
	if ok && known.of == issuers && now.Before(known.until) {
		return known.der, nil
	}
	certs := bagOf(issuers, s.Authority.Profiles[l.Profile], now)
	if len(certs) == 0 {
		return nil, ca.Errorf(ca.Unavailable, "there is no certification authority yet that could sign here; try again later")
	}
	der, err := cms.Bag{Certificates: certs}.Marshal()
	if err != nil {
		return nil, fmt.Errorf("making the bag of authorities' certificates: %w", err)
	}
	s.bags.mu.Lock()
	defer s.bags.mu.Unlock()
	if s.bags.known == nil {
		s.bags.known = map[string]bag{}
	}
	s.bags.known[l.Name] = bag{of: issuers, until: now.Add(bagLife), der: der}
	return der, nil
}

// Warnings tells what works, but not with every client: one line each, for whoever
// checks the configuration.
func (s *Server) Warnings(ctx context.Context) []string {
	var all []string
	if s.Concerns != nil {
		all = s.Concerns(s.Clock())
	}
	if n, err := s.undigested(ctx); err != nil {
		s.Logger.WarnContext(ctx, "it could not be looked up which passwords have no form for HTTP Digest", "error", err)
	} else if n > 0 {
		all = append(all, fmt.Sprintf("%d passwords have no form for HTTP Digest, as they were made before est.digest was set or under another est.realm: with them nobody can log in who waits for our challenge; make them anew (est user list and est otp list show which)", n))
	}
	for _, l := range s.Labels {
		if text := l.OpenCommonName(s.Authority.Profiles[l.Profile]); text != "" {
			all = append(all, text)
		}
		der, err := s.bag(&l, s.Clock())
		if err == nil && len(der)*65/48 > record {
			all = append(all, fmt.Sprintf("cacerts of the EST label %s has %d octets, more than a TLS record holds: clients that read once, strongSwan among them, fail; retire issuers that are not needed", &l, len(der)*65/48))
		}
	}
	return all
}

// bagOf collects what a client needs to verify what the profile's line of authorities
// issued and issues: the active one first, everything on the ways from it and its
// predecessors to our roots, and what ties old and new roots together (RFC 4210 §4.4:
// OldWithNew and NewWithOld; OldWithOld is the old root itself).
func bagOf(issuers *ca.Issuers, p *ca.Profile, now time.Time) [][]byte {
	line := p.Issuer
	if line == "" {
		line = ca.DefaultLine
	}
	var certs [][]byte
	add := func(der []byte) {
		cert, err := x509.ParseCertificate(der)
		if err != nil || now.After(cert.NotAfter) || slices.ContainsFunc(certs, func(c []byte) bool { return bytes.Equal(c, der) }) {
			return
		}
		certs = append(certs, der)
	}
	var roots [][]byte
	follow := func(i *ca.Issuer) {
		for _, chain := range issuers.Chains(i.ID, now) {
			for _, cert := range chain.Certificates {
				add(cert.Raw)
			}
			roots = append(roots, chain.Root.Raw)
		}
	}
	if active := issuers.Line(line, now); active != nil {
		follow(active)
	}
	for _, i := range slices.Backward(issuers.List()) {
		if i.Name == line {
			follow(i)
		}
	}
	for _, root := range issuers.Roots() { // the newest first
		if slices.ContainsFunc(roots, func(der []byte) bool { return bytes.Equal(der, root.Raw) }) {
			add(root.Raw)
		}
	}
	for _, der := range roots {
		add(der) // a foreign authority's, above ours
	}
	for _, i := range issuers.List() {
		if !i.Root || !slices.ContainsFunc(i.Certs, func(der []byte) bool {
			return slices.ContainsFunc(certs, func(c []byte) bool { return bytes.Equal(c, der) })
		}) {
			continue
		}
		for _, der := range i.Certs {
			add(der)
		}
	}
	return certs
}

package daemon

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync/atomic"
	"time"

	"chancery/internal/ca"
)

const (
	// ownProfile is the shipped profile of our own certificate. It is one that a
	// deployment cannot replace, lest a mistake in a file closes the server.
	ownProfile = "own-service"
	// certificatePace is how often we look whether it is time for another.
	certificatePace = 5 * time.Second
)

// servingCertificate is the certificate that the public listener shows, from
// our own authority. Its key lives in memory only: each start gets a new one.
type servingCertificate struct {
	current atomic.Pointer[tls.Certificate]
	issuer  string // of the current one; owned by renewCertificate, which one goroutine at a time calls
}

// errNoCertificate ends TLS handshakes while there is no certificate.
var errNoCertificate = errors.New("this server has no certificate yet")

func (s *servingCertificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c := s.current.Load(); c != nil {
		return c, nil
	}
	return nil, errNoCertificate
}

// firstCertificate gets the certificate that the public side starts with. Where
// there was a hierarchy before this start, as on a replica that lacks the new
// issuer's key, the status side is of use without it: then it is tried again in
// the background, TLS handshakes fail, and we are not ready.
func (d *Daemon) firstCertificate(ctx context.Context) error {
	err := d.renewCertificate(ctx)
	if err == nil || d.founded || ctx.Err() != nil {
		return err
	}
	d.Logger.ErrorContext(ctx, "HTTPS is not served yet; it will be tried again. The status side is served", "again_in", certificatePace, "error", err)
	return nil
}

// renewCertificate gets a new certificate when there is none, when a third of
// the current one's life is left, or when its issuer was rolled over.
func (d *Daemon) renewCertificate(ctx context.Context) error {
	now := time.Now()
	issuer := d.authority.Issuers().Line(ca.DefaultLine, now)
	if old := d.cert.current.Load(); old != nil {
		life := old.Leaf.NotAfter.Sub(old.Leaf.NotBefore)
		moved := issuer != nil && issuer.ID != d.cert.issuer
		if !moved && now.Before(old.Leaf.NotAfter.Add(-life/3)) {
			return nil
		}
	}
	names, err := ownNames(d.Config.URL.Base, d.Config.Loopback())
	if err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	req := ca.Request{ID: "core:tls:" + ca.NewID(), By: ca.Principal{Room: "core", ID: "tls"}, Key: key.Public(), Names: names, Profile: ownProfile}
	for _, n := range names {
		req.Evidence = append(req.Evidence, ca.Evidence{Identifier: n, Method: "own-service", At: now, Expires: now.Add(time.Hour), Detail: "url.base of this server"})
	}
	record, err := d.authority.Issue(ctx, req)
	if err != nil {
		return fmt.Errorf("this server's own certificate for %s: %w", d.Config.URL.Base, err)
	}
	leaf, err := x509.ParseCertificate(record.DER)
	if err != nil {
		return err
	}
	cert := &tls.Certificate{Certificate: [][]byte{record.DER}, PrivateKey: key, Leaf: leaf}
	if chains := d.authority.Issuers().Chains(record.Issuer, now); len(chains) > 0 {
		for _, c := range chains[0].Certificates {
			cert.Certificate = append(cert.Certificate, c.Raw)
		}
	}
	d.cert.issuer = record.Issuer
	d.cert.current.Store(cert)
	return nil
}

// ownNames gives the names under which this server is reached.
func ownNames(base string, loopback bool) ([]ca.Identifier, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, fmt.Errorf("url.base: %w", err)
	}
	hosts := []string{u.Hostname()}
	if loopback {
		hosts = append(hosts, "localhost", "127.0.0.1", "::1")
	}
	var names []ca.Identifier
	seen := map[ca.Identifier]bool{}
	for _, host := range hosts {
		parse := ca.DNS
		if net.ParseIP(host) != nil {
			parse = ca.IP
		}
		n, err := parse(host)
		if err != nil {
			return nil, fmt.Errorf("url.base: %w", err)
		}
		if !seen[n] {
			seen[n] = true
			names = append(names, n)
		}
	}
	return names, nil
}

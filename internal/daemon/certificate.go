package daemon

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/url"
	"sync/atomic"
	"time"

	"chancery/internal/ca"
)

// servingCertificate is the certificate that the public listener shows, from
// our own authority. Its key lives in memory only: each start gets a new one.
type servingCertificate struct {
	current atomic.Pointer[tls.Certificate]
	issuer  string // of the current one; owned by renewCertificate, which one goroutine at a time calls
}

func (s *servingCertificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return s.current.Load(), nil
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
	req := ca.Request{ID: "core:tls:" + ca.NewID(), By: ca.Principal{Room: "core", ID: "tls"}, Key: key.Public(), Names: names, Profile: "tls-server"}
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

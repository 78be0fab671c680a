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
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"chancery/internal/ca"
	"chancery/internal/config"
)

const (
	// ownProfile is the shipped profile of our own certificate. It is one that a
	// deployment cannot replace, lest a mistake in a file closes the server.
	ownProfile = "own-service"
	// raProfile is the one with id-kp-cmcRA, protected likewise.
	raProfile = "est-server"
	// certificatePace is how often we look whether it is time for another.
	certificatePace = 5 * time.Second
	// renewalTime is how long a reload waits for a certificate with other hosts.
	renewalTime = 10 * time.Second
)

// ownPrincipal is who asks for our own certificate.
var ownPrincipal = ca.Principal{Room: "core", ID: "tls"}

// servingCertificate is the certificate that the public listener shows, from
// our own authority. Its key lives in memory only: each start gets a new one.
type servingCertificate struct {
	current atomic.Pointer[tls.Certificate]
	foreign atomic.Pointer[foreignCertificate] // nil: none; replaced by Reload

	renewing sync.Mutex
	hosts    []string // of the directories, as the configuration has them now; guarded by renewing
	issuer   string   // of the current one; guarded by renewing
	made     []string // the hosts for which the current one was made; guarded by renewing
}

// errNoCertificate ends TLS handshakes while there is no certificate.
var errNoCertificate = errors.New("this server has no certificate yet")

func (s *servingCertificate) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if foreign := s.foreign.Load(); !foreign.wantsOwn(hello) {
		return foreign.Certificate, nil
	}
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
// the current one's life is left, when its issuer was rolled over, or when the
// directories have other hosts.
func (d *Daemon) renewCertificate(ctx context.Context) error {
	d.cert.renewing.Lock()
	defer d.cert.renewing.Unlock()
	now := time.Now()
	issuer := d.authority.Issuers().Line(ca.DefaultLine, now)
	if old := d.cert.current.Load(); old != nil {
		life := old.Leaf.NotAfter.Sub(old.Leaf.NotBefore)
		moved := issuer != nil && issuer.ID != d.cert.issuer || !slices.Equal(d.cert.made, d.cert.hosts)
		if !moved && now.Before(old.Leaf.NotAfter.Add(-life/3)) {
			return nil
		}
	}
	names, err := ownNames(d.Config.URL.Base, d.Config.Loopback())
	if err != nil {
		return err
	}
	names = append(names, d.certifiable(ctx, names)...)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	req := ca.Request{ID: "core:tls:" + ca.NewID(), By: ownPrincipal, Key: key.Public(), Names: names, Profile: ownProfileOf(d.Config)}
	for _, n := range names {
		req.Evidence = append(req.Evidence, ca.Evidence{Identifier: n, Method: "own-service", At: now, Expires: now.Add(time.Hour), Detail: "in this server's configuration"})
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
	d.cert.issuer, d.cert.made = record.Issuer, d.cert.hosts
	d.cert.current.Store(cert)
	return nil
}

// ownProfileOf gives the profile of our own certificate: with cmc_ra it names this
// server as one of EST, whatever it is called (RFC 7030 §3.6.1).
func ownProfileOf(c *config.Config) string {
	if c.EST.Enabled && c.EST.CMCRA {
		return raProfile
	}
	return ownProfile
}

// hostsOf gives the hosts of a configuration's further ACME directories.
func hostsOf(c *config.Config) []string {
	var all []string
	for _, one := range c.ACME.Directories {
		all = append(all, one.Hosts...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// certifiable gives the hosts of the directories that are not among names and that
// this authority may certify. The others are left to a proxy, which shows a
// certificate of its own: a private authority that is bound to its domains may well
// have its directory at a public name.
func (d *Daemon) certifiable(ctx context.Context, names []ca.Identifier) []ca.Identifier {
	var more []ca.Identifier
	for _, host := range d.cert.hosts {
		name, err := hostName(host)
		if err == nil && slices.Contains(names, name) {
			continue
		}
		if err == nil {
			err = d.authority.Precheck(ca.Request{By: ownPrincipal, Names: []ca.Identifier{name}, Profile: ownProfile})
		}
		switch ca.KindOf(err) {
		case ca.BadName, ca.Denied:
			d.Logger.WarnContext(ctx, "a host of an ACME directory is not in this server's certificate, as this authority may not certify it; clients reach the directory there only by a proxy with a certificate of its own", "host", host, "error", err)
		default:
			// What else is wrong concerns all names, and is told when they are asked for.
			more = append(more, name)
		}
	}
	return more
}

// applyHosts has the certificate made for the hosts of a configuration. What fails
// is tried again in the background; meanwhile the one before is shown.
func (d *Daemon) applyHosts(c *config.Config) {
	d.cert.renewing.Lock()
	d.cert.hosts = hostsOf(c)
	d.cert.renewing.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), renewalTime)
	defer cancel()
	if err := d.renewCertificate(ctx); err != nil {
		d.Logger.ErrorContext(ctx, "this server's certificate does not have all hosts of the configuration yet; it will be tried again", "again_in", certificatePace, "error", err)
	}
}

func hostName(host string) (ca.Identifier, error) {
	if net.ParseIP(host) != nil {
		return ca.IP(host)
	}
	return ca.DNS(host)
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
		n, err := hostName(host)
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

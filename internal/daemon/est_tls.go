package daemon

import (
	"crypto/tls"
	"fmt"
	"net/url"
	"slices"
	"time"

	"chancery/internal/config"
	"chancery/internal/estserver"
	"chancery/internal/owned"
)

// suites are those of TLS 1.2 that we speak: forward secret and authenticated in one
// (RFC 9325 §4.2). TLS 1.3 has no others.
var suites = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

// secured gives the TLS side of a listener. Where EST is served a certificate is
// requested of every client and demanded of none, with no list of authorities, since
// who is asked for what is known with the path (RFC 7030 A.1); the room verifies it.
// Records are of full size from the first: some EST clients read but one.
func (d *Daemon) secured(newest string) *tls.Config {
	c := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: d.cert.get, CipherSuites: suites, DynamicRecordSizingDisabled: true}
	if d.Config.EST.Enabled {
		c.ClientAuth = tls.RequestClientCert
	}
	if newest == "1.2" {
		c.MaxVersion = tls.VersionTLS12
	}
	return c
}

// foreignCertificate is the certificate from elsewhere that est.certificate names.
type foreignCertificate struct {
	*tls.Certificate
	ownOnRequest bool // see [config.EST]
}

// readForeign reads est.certificate and est.key; nil when there are none.
func readForeign(c config.EST) (*foreignCertificate, error) {
	if c.Certificate == "" {
		return nil, nil
	}
	chain, err := owned.ReadFile(c.Certificate)
	if err != nil {
		return nil, fmt.Errorf("est.certificate: %w", err)
	}
	key, err := owned.ReadFile(c.Key)
	if err != nil {
		return nil, fmt.Errorf("est.key: %w", err)
	}
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return nil, fmt.Errorf("est.certificate and est.key: %w", err)
	}
	return &foreignCertificate{&pair, c.OwnOnRequest}, nil
}

// endingSoon is how long before the end of a certificate from elsewhere, which nobody
// here renews, its end is told.
const endingSoon = 30 * 24 * time.Hour

// concerns tells what clients will stumble over: that the certificate ends, or that it
// does not name the host that they are told to ask. f may be nil.
func (f *foreignCertificate) concerns(base string, now time.Time) []string {
	if f == nil || f.Leaf == nil {
		return nil
	}
	var all []string
	if left := f.Leaf.NotAfter.Sub(now); left <= 0 {
		all = append(all, fmt.Sprintf("the certificate est.certificate ended on %s: clients refuse it; put another there and reload", f.Leaf.NotAfter.UTC().Format(time.DateOnly)))
	} else if left < endingSoon {
		all = append(all, fmt.Sprintf("the certificate est.certificate ends on %s and nothing renews it here: put another there and reload", f.Leaf.NotAfter.UTC().Format(time.DateOnly)))
	}
	u, err := url.Parse(base)
	if err == nil && u.Hostname() != "" && f.Leaf.VerifyHostname(u.Hostname()) != nil {
		all = append(all, fmt.Sprintf("the certificate est.certificate does not name %s, the host of url.base, as an alternative name: clients that ask there refuse it", u.Hostname()))
	}
	return all
}

// Warnings tells what clients will stumble over in a configuration that is otherwise
// good, as far as the files that it names say. Those that cannot be read are [Check]'s.
func Warnings(c *config.Config, now time.Time) []config.Warning {
	if !c.EST.Enabled {
		return nil
	}
	var all []config.Warning
	if f, err := readForeign(c.EST); err == nil {
		for _, text := range f.concerns(c.URL.Base, now) {
			all = append(all, config.Warning{Key: "est.certificate", Text: text})
		}
	}
	profiles, err := loadProfiles(c.Profiles)
	if err != nil {
		return all
	}
	for i, l := range c.ESTLabels() {
		one := estserver.Label{Name: l.Name, Profile: l.Profile, Names: l.Names, Manual: l.Manual}
		if text := one.OpenCommonName(profiles[l.Profile]); text != "" {
			all = append(all, config.Warning{Key: fmt.Sprintf("est.label[%d].names", i+1), Text: text})
		}
	}
	return all
}

// The extensions by which a client says which authorities it trusts: trusted_ca_keys
// (RFC 6066 §6) and certificate_authorities (RFC 8446 §4.2.4). crypto/tls shows that
// they are there, not what is in them; to us it is enough, as EST clients send them
// once they have our own authority's certificates (RFC 7030 §4.1.3).
var trustedAuthorities = []uint16{3, 47}

// wantsOwn tells whether a client is shown our own certificate.
func (f *foreignCertificate) wantsOwn(hello *tls.ClientHelloInfo) bool {
	return f == nil || f.ownOnRequest && slices.ContainsFunc(hello.Extensions, func(id uint16) bool { return slices.Contains(trustedAuthorities, id) })
}

package daemon_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"chancery/cms"
	"chancery/est"
	"chancery/internal/ca"
	"chancery/internal/config"
	"chancery/internal/desk"
	engine "chancery/internal/enroll/device"
	"chancery/internal/enroll/install"
	"chancery/internal/estserver"
)

// fleetProfile is the shipped profile device, but for its life: it is due for renewal
// as soon as the authorities' certificates are to be fetched again.
const fleetProfile = `summary = "devices of a fleet"
rooms = ["est"]
identifiers = ["dns"]
evidence = ["client-certificate", "password"]
keys = ["ecdsa-p256"]
key_usage = ["digital-signature"]
ext_key_usage = ["client-auth"]
life = "45d"
max_life = "45d"
backdate = "1h"
subject.take = ["common_name"]
`

// later is when a device wants to renew and to know of new roots, while our own
// certificate, of this very moment, is still valid.
const later = 33 * 24 * time.Hour

// fleet is a server and the devices that it enrolled.
type fleet struct {
	*server
	t        *testing.T
	password string
	units    []*unit
}

// unit is one device, kept by the engine that "est agent" runs.
type unit struct {
	*engine.Device
	t    *testing.T
	name string
	tls  string
	out  string // where its roots are exported to
	to   string // the address that it reaches under the server's name

	mu     sync.Mutex
	shift  time.Duration
	events []engine.Event
}

func newFleet(t *testing.T, size int) *fleet {
	t.Helper()
	s := &server{setup: plan(t, newSite(t), "")}
	c := s.config()
	c.Profiles = t.TempDir()
	if err := os.WriteFile(filepath.Join(c.Profiles, "fleet.toml"), []byte(fleetProfile), 0o600); err != nil {
		t.Fatal(err)
	}
	c.EST.Labels = []config.Label{{Profile: "fleet", Names: []string{"*.iot.example", "CN=*"}}}
	f := &fleet{server: startWith(t, s.setup, c), t: t}
	made := must[estserver.CredentialMade](t)(ask[estserver.UserWanted, estserver.CredentialMade](f.server, "est.user.add", estserver.UserWanted{Grant: estserver.Grant{User: "line"}}))
	f.password = made.Password
	for n := range size {
		f.units = append(f.units, f.enroll(n))
	}
	return f
}

// enroll makes a device and gets its first certificate; every second speaks TLS 1.2.
func (f *fleet) enroll(n int) *unit {
	f.t.Helper()
	u := &unit{t: f.t, name: fmt.Sprintf("d%d.iot.example", n), tls: []string{"1.2", "1.3"}[n%2], to: f.Public}
	dir := f.t.TempDir()
	u.out = filepath.Join(dir, "roots.pem")
	u.Device = must[*engine.Device](f.t)(engine.Open(filepath.Join(dir, "device"), engine.Options{Now: u.now, Observe: u.observe, Dial: u.dial}))
	u.locked(func(x *engine.Settings) error {
		x.Server, x.DNS, x.MaxTLS, x.AnchorsOut = "ca.localhost", []string{u.name}, u.tls, u.out
		return nil
	}, func(s *engine.State) error {
		_, err := u.Enroll(f.t.Context(), s, engine.Ask{
			Login:       &est.Login{User: "line", Password: est.Password(f.password)},
			Fingerprint: est.Fingerprint(f.daemon.Roots()[0].Raw, "sha256"),
		})
		return err
	})
	return u
}

func (u *unit) now() time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	return time.Now().Add(u.shift)
}

func (u *unit) observe(e engine.Event) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.events = append(u.events, e)
}

func (u *unit) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, network, u.to)
}

// count tells how many events of a kind there were since the last time.
func (u *unit) count(kind engine.Kind) (n int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, e := range u.events {
		if e.Kind == kind {
			n++
		}
	}
	u.events = slices.DeleteFunc(u.events, func(e engine.Event) bool { return e.Kind == kind })
	return n
}

// locked does something with the state, as a command does.
func (u *unit) locked(change func(*engine.Settings) error, do func(*engine.State) error) {
	u.t.Helper()
	unlock := must[func()](u.t)(u.Lock(u.t.Context()))
	defer unlock()
	if change == nil {
		change = func(*engine.Settings) error { return nil }
	}
	s := must[*engine.State](u.t)(u.Configure(change))
	if err := do(s); err != nil {
		u.t.Errorf("%s, TLS %s: %v", u.name, u.tls, err)
	}
}

// wake moves the clock by as much as makes everything due once, and lets the agent do
// what it does. Meanwhile somebody reads the roots all the time, and finds whole sets alone.
func (u *unit) wake(jobs []engine.Job, roots ...*x509.Certificate) {
	u.t.Helper()
	u.mu.Lock()
	u.shift = later
	u.mu.Unlock()
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for reads := 0; ; reads++ {
			time.Sleep(time.Millisecond) // leave the processor to who is watched
			select {
			case <-stop:
				if reads > 0 {
					return
				}
			default:
			}
			for _, path := range []string{u.out, filepath.Join(u.Dir(), "explicit.pem")} {
				text, err := os.ReadFile(path)
				if err != nil {
					u.t.Errorf("%s: %v", u.name, err)
					return
				}
				set, err := install.ParseCertificates(text)
				if err != nil || len(set) == 0 || slices.ContainsFunc(set, func(c *x509.Certificate) bool { return !slices.ContainsFunc(roots, c.Equal) }) {
					u.t.Errorf("%s: half a trust store was seen: %d roots, %v", u.name, len(set), err)
					return
				}
			}
		}
	}()
	before := must[install.Bundle](u.t)(u.Bundle()).Chain[0]
	p, err := u.Pass(u.t.Context())
	close(stop)
	<-done
	if err != nil || p.Err != nil || !slices.Equal(p.Did, jobs) {
		u.t.Fatalf("%s, TLS %s: the agent did %v: %v, %v", u.name, u.tls, p.Did, err, p.Err)
	}
	b := must[install.Bundle](u.t)(u.Bundle())
	if b.Chain[0].Equal(before) || !slices.Equal(b.Chain[0].DNSNames, []string{u.name}) {
		u.t.Errorf("%s: the certificate in use is for %v and was so before: %t", u.name, b.Chain[0].DNSNames, b.Chain[0].Equal(before))
	}
	u.inUse(roots...)
}

// inUse checks the roots, and that the certificate in use leads to the newest.
func (u *unit) inUse(roots ...*x509.Certificate) {
	u.t.Helper()
	u.trusts(roots...)
	if err := verify(must[install.Bundle](u.t)(u.Bundle()).Chain, roots[len(roots)-1]); err != nil {
		u.t.Errorf("%s: the chain of the certificate in use does not lead to the newest root: %v", u.name, err)
	}
}

// trusts checks that these are the roots in use, and those that other software finds.
func (u *unit) trusts(roots ...*x509.Certificate) {
	u.t.Helper()
	for _, path := range []string{u.out, filepath.Join(u.Dir(), "explicit.pem")} {
		set := must[[]*x509.Certificate](u.t)(install.ParseCertificates(must[[]byte](u.t)(os.ReadFile(path))))
		if len(set) != len(roots) || slices.ContainsFunc(roots, func(c *x509.Certificate) bool { return !slices.ContainsFunc(set, c.Equal) }) {
			u.t.Errorf("%s: %s has %d roots, not the %d that there are", u.name, path, len(set), len(roots))
		}
	}
}

// refresh fetches the authorities' certificates from whoever is at an address.
func (u *unit) refresh(address string) (err error) {
	u.t.Helper()
	before := u.to
	u.to = address
	defer func() { u.to = before }()
	u.locked(nil, func(s *engine.State) error { _, err = u.Refresh(u.t.Context(), s); return nil })
	return err
}

// verify leads a chain alone to a root alone.
func verify(chain []*x509.Certificate, root *x509.Certificate) error {
	o := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
	o.Roots.AddCert(root)
	for _, c := range chain[1:] {
		o.Intermediates.AddCert(c)
	}
	_, err := chain[0].Verify(o)
	return err
}

// rolls replaces root and issuer, and gives the new root.
func (f *fleet) rolls() *x509.Certificate {
	f.t.Helper()
	before := f.daemon.Roots()
	for _, line := range []string{"root", ca.DefaultLine} {
		must[desk.RolledOver](f.t)(ask[desk.Line, desk.RolledOver](f.server, "ca.rollover", desk.Line{Name: line}))
	}
	now := f.daemon.Roots()
	if len(now) != len(before)+1 || !bytes.Equal(now[0].RawSubject, before[0].RawSubject) {
		f.t.Fatalf("there are %d roots", len(now))
	}
	// Our own certificate is of the new issuer from now on.
	until(f.t, "the server's own certificate is the new issuer's", func() bool {
		d := newDevice(f.t, f.server, f.Public)
		defer d.http.CloseIdleConnections()
		res, _ := d.get(est.WellKnown + "/cacerts")
		_, err := res.TLS.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: poolOf(now[0]), Intermediates: poolOf(res.TLS.PeerCertificates[1])})
		return err == nil
	})
	return now[0]
}

func poolOf(certs ...*x509.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, c := range certs {
		pool.AddCert(c)
	}
	return pool
}

// front is another server under the same name, with a certificate of the authority's
// and nothing between it and the newest root but its issuer. Answers are our server's
// own, unless edit makes others of them.
func (f *fleet) front(edit func(all []*x509.Certificate) []*x509.Certificate) (address string) {
	f.t.Helper()
	key := newKey(f.t)
	whole := must[desk.Whole](f.t)(ask[desk.Signing, desk.Whole](f.server, "cert.sign", desk.Signing{CSR: csrFor(f.t, key, "ca.localhost")}))
	chain := must[[]*x509.Certificate](f.t)(install.ParseCertificates([]byte(whole.Chain)))[:2]
	// The issuer's certificate by the newest root, and no other.
	for _, c := range f.bag() {
		if bytes.Equal(c.RawSubject, chain[1].RawSubject) && c.CheckSignatureFrom(f.daemon.Roots()[0]) == nil {
			chain[1] = c
		}
	}
	if err := verify(chain, f.daemon.Roots()[0]); err != nil {
		f.t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(must[*url.URL](f.t)(url.Parse("https://ca.localhost")))
	proxy.Transport = f.http().Transport
	if edit != nil {
		proxy.ModifyResponse = func(r *http.Response) error {
			var b cms.Bag
			for _, c := range edit(f.bag()) {
				b.Certificates = append(b.Certificates, c.Raw)
			}
			der, err := b.Marshal()
			body := est.Encode(der, est.Wrapped)
			r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
			r.Header.Set("Content-Length", fmt.Sprint(len(body)))
			return err
		}
	}
	web := httptest.NewUnstartedServer(proxy)
	web.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{chain[0].Raw, chain[1].Raw}, PrivateKey: key}}}
	web.Config.ErrorLog = log.New(io.Discard, "", 0)
	web.StartTLS()
	f.t.Cleanup(web.Close)
	return web.Listener.Addr().String()
}

// bag is what cacerts gives now.
func (f *fleet) bag() []*x509.Certificate {
	f.t.Helper()
	d := newDevice(f.t, f.server, f.Public)
	defer d.http.CloseIdleConnections()
	_, body := d.get(est.WellKnown + "/cacerts")
	return bag(f.t, body)
}

// TestESTFleetRollover rolls root and issuer over, twice, under a fleet that nobody
// touches: devices work on under the old root, learn the new one by OldWithNew and
// NewWithOld (RFC 7030 §4.1.3, RFC 4210 §4.4), and trust what only it verifies.
func TestESTFleetRollover(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 12)
	first := f.daemon.Roots()[0]
	everything := []engine.Job{engine.JobRefresh, engine.JobRenew}
	awake, asleep := f.units[:10], f.units[10:]
	oldOnly := f.front(nil)
	oldDevice := must[install.Bundle](t)(awake[0].Bundle()).Chain

	second := f.rolls()
	newOnly := f.front(nil)
	for n, u := range awake {
		refusal, ok := errors.AsType[*est.ServerError](u.refresh(newOnly))
		if !ok || refusal.Why != est.Unverified {
			t.Errorf("%s: a server under a root that it does not know: %v", u.name, refusal)
		}
		if n < 6 {
			u.wake(everything, first, second)
		} else { // renewed by a person's command, before its time: the new issuer leads to the new root
			u.locked(nil, func(s *engine.State) error { _, err := u.Reenroll(t.Context(), s, engine.Ask{}); return err })
			u.inUse(first, second)
		}
		if n := u.count(engine.Anchored); n != 1 {
			t.Errorf("%s: told of %d new roots", u.name, n)
		}
		for what, address := range map[string]string{"the new root": newOnly, "the old root": oldOnly} {
			if err := u.refresh(address); err != nil {
				t.Errorf("%s: a server under %s alone: %v", u.name, what, err)
			}
		}
	}
	if err := verify(oldDevice, first); err != nil {
		t.Errorf("a certificate from before under the old root: %v", err)
	}

	third := f.rolls()
	newest := f.front(nil)
	for _, u := range asleep {
		u.wake(everything, first, second, third)
		if n := u.count(engine.Anchored); n != 2 {
			t.Errorf("%s slept through two rollovers and was told of %d new roots", u.name, n)
		}
	}
	for n, u := range awake {
		jobs := everything
		if n < 6 { // not yet due to ask for roots; the new issuer leads to the new root
			jobs = jobs[1:]
		}
		u.wake(jobs, first, second, third)
	}
	for _, u := range f.units {
		if err := u.refresh(newest); err != nil {
			t.Errorf("%s: a server under the newest root alone: %v", u.name, err)
		}
	}
	for _, u := range f.units {
		if n := u.count(engine.Unproven) + u.count(engine.Failed) + u.count(engine.Bootstrapped) - 1; n != 0 {
			t.Errorf("%s: %d events that want a person", u.name, n)
		}
	}
}

// TestESTForgedRollover: a server of the authority's own, so one that devices believe to
// be what it says, shows roots that nobody vouches for.
func TestESTForgedRollover(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 2)
	first := f.daemon.Roots()[0]
	key, wrong := newKey(t), newKey(t)
	// authority certifies a key under the root's own name.
	authority := func(number int64, public any, by *ecdsa.PrivateKey) *x509.Certificate {
		c := &x509.Certificate{SerialNumber: big.NewInt(number), NotBefore: first.NotBefore, NotAfter: first.NotAfter.Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
			KeyUsage: x509.KeyUsageCertSign, RawSubject: first.RawSubject}
		above := &x509.Certificate{RawSubject: first.RawSubject, PublicKey: by.Public()}
		return must[*x509.Certificate](t)(x509.ParseCertificate(must[[]byte](t)(x509.CreateCertificate(rand.Reader, c, above, public, by))))
	}
	rogue := authority(1, key.Public(), key)
	forged := authority(2, key.Public(), wrong) // NewWithOld, but not by the old root's key
	// OldWithNew alone proves nothing: whoever makes a root can certify the old one's key.
	oldWithNew := authority(3, first.PublicKey, key)
	for what, lies := range map[string][]*x509.Certificate{
		"a root alone":                       {rogue},
		"a root with a forged NewWithOld":    {rogue, forged},
		"a root with a true OldWithNew":      {rogue, oldWithNew},
		"a root with both, in another order": {forged, oldWithNew, rogue},
	} {
		address := f.front(func(all []*x509.Certificate) []*x509.Certificate { return append(slices.Clone(lies), all...) })
		for _, u := range f.units {
			if err := u.refresh(address); err != nil {
				t.Errorf("%s, %s: %v", u.name, what, err)
			}
			u.trusts(first)
			if unproven, anchored := u.count(engine.Unproven), u.count(engine.Anchored); unproven != 1 || anchored != 0 {
				t.Errorf("%s, %s: told of %d unproven roots, and of %d that it trusts", u.name, what, unproven, anchored)
			}
		}
	}
	// Nor does anything that such a root certified verify by way of the bag.
	leaf := newKey(t)
	c := &x509.Certificate{SerialNumber: big.NewInt(8), NotBefore: first.NotBefore, NotAfter: first.NotAfter, DNSNames: []string{"ca.localhost"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der := must[[]byte](t)(x509.CreateCertificate(rand.Reader, c, rogue, leaf.Public(), key))
	web := httptest.NewUnstartedServer(http.NotFoundHandler())
	web.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der, forged.Raw, rogue.Raw}, PrivateKey: leaf}}}
	web.Config.ErrorLog = log.New(io.Discard, "", 0)
	web.StartTLS()
	defer web.Close()
	for _, u := range f.units {
		if refusal, ok := errors.AsType[*est.ServerError](u.refresh(web.Listener.Addr().String())); !ok || refusal.Why != est.Unverified {
			t.Errorf("%s: a server under the forged root: %v", u.name, refusal)
		}
	}
}

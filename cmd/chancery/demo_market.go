package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"chancery/acme"
	"chancery/caa"
	"chancery/internal/acmeserver"
	"chancery/internal/admin"
	"chancery/internal/client"
	"chancery/internal/config"
	"chancery/internal/daemon"
	"chancery/internal/desk"
	"chancery/internal/enroll"
	"chancery/internal/enroll/settings"
	"chancery/internal/enroll/vault"
	"chancery/internal/notify"
	"chancery/internal/resolver"
)

// The names of the demo's second half.
const (
	demoOne, demoTwo = "ca1." + demoZone, "ca2." + demoZone
	demoBlog         = "blog." + demoZone
	demoNews         = "news." + demoZone
	demoBank         = "bank." + demoZone
)

// market is the demo's second half: two authorities, and a client that knows neither
// of them.
type market struct {
	*scene
	daemons map[string]*daemon.Daemon // by issuer name
	doors   map[string]string         // where 443 of an address really is
	roots   []byte
	port    int // where http-01 is answered
	client  *client.Client
	told    messages
}

func (m *market) acts() []act {
	return []act{
		{"Two more authorities, " + demoOne + " and " + demoTwo, m.open},
		{"The owner of " + demoBlog + " names both in CAA records", m.plan},
		{"The client knows no CA: it finds " + demoOne + " and gets the certificate", m.first},
		{demoOne + " goes down; the certificate is renewed all the same", m.fallBack},
		{"The user is told, once", m.message},
		{demoBlog + " and " + demoNews + " have no CA in common: nothing is asked of any", m.nobody},
		{demoBank + " prefers EV, else anything; nobody has been vetted", m.anyKind},
		{"The bank is vetted and gets a key; at the renewal it has EV", m.vetted},
	}
}

func (m *market) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if m.client != nil {
		_ = m.client.Close(ctx) // its messages have been shown
	}
	for name, d := range m.daemons {
		if err := d.Close(ctx); err != nil {
			m.program.warn("%s did not stop cleanly: %v", name, err)
		}
	}
}

// open starts the authorities, each on a port of its own, and the client. To the client
// they are where the DNS says, on port 443.
func (m *market) open(ctx context.Context) (string, error) {
	var err error
	if m.port, err = freePort(); err != nil {
		return "", err
	}
	m.daemons, m.doors = map[string]*daemon.Daemon{}, map[string]string{}
	for n, name := range []string{demoOne, demoTwo} {
		address := fmt.Sprintf("127.0.0.%d", n+1)
		if err := m.dns.Set(name, "A", address); err != nil {
			return "", err
		}
		if err := m.authority(ctx, name, address); err != nil {
			return "", err
		}
	}
	if err := os.WriteFile(m.path("authorities.pem"), m.roots, 0o644); err != nil {
		return "", err
	}
	for _, name := range []string{demoBlog, demoNews, demoBank} {
		if err := m.dns.Set(name, "A", "127.0.0.1"); err != nil {
			return "", err
		}
	}
	return "each has its own root, issuer and database", m.openClient(ctx)
}

const demoMarketConfig = `# Made by chancery demo.
data = "%[1]s"

[listen]
public = "127.0.0.1:%[2]d"

[url]
base = "https://%[1]s"
status = "http://%[1]s:%[2]d"

[hierarchy]
organization = "%[1]s"
domains = ["demo.test"]

[acme]
caa_identities = ["%[1]s"]    # what CAA records call it
profiles = ["tls-server", "ev"]
http01_port = %[3]d           # a laboratory's: everywhere else it is 80

[validation]
resolvers = ["%[4]s"]
allow = ["127.0.0.0/8"]       # a laboratory's
`

func (m *market) authority(ctx context.Context, name, address string) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	file := m.path(name + ".toml")
	if err := os.WriteFile(file, fmt.Appendf(nil, demoMarketConfig, name, port, m.port, m.dns.Addr()), 0o600); err != nil {
		return err
	}
	c, _, err := config.Load(file, config.Overrides{}, nil)
	if err != nil {
		return err
	}
	d, err := daemon.Start(ctx, daemon.Options{Config: c, ConfigPath: file, Logger: slog.New(slog.NewTextHandler(m.log, nil))})
	if err != nil {
		return err
	}
	m.daemons[name] = d
	m.doors[net.JoinHostPort(address, "443")] = fmt.Sprintf("127.0.0.1:%d", port)
	for _, root := range d.Roots() {
		m.roots = append(m.roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw})...)
	}
	return nil
}

const demoClientSettings = `# Made by chancery demo.
data = "client"
contacts = ["webmaster@demo.test"]

[dns]
resolvers = ["%s"]

[discovery]
roots = "authorities.pem"
allow = ["127.0.0.0/8"]    # a laboratory's: strangers are never on this machine

[challenge]
http = "127.0.0.1:%d"
tls = ""

[retry]
attempts = 2
pause = "50ms"
`

func (m *market) openClient(ctx context.Context) error {
	file := m.path("client.toml")
	if err := os.WriteFile(file, fmt.Appendf(nil, demoClientSettings, m.dns.Addr(), m.port), 0o600); err != nil {
		return err
	}
	s, err := settings.Load(file, nil)
	if err != nil {
		return err
	}
	dns, err := resolver.New(resolver.Config{Servers: []string{m.dns.Addr()}})
	if err != nil {
		return err
	}
	var dialer net.Dialer
	m.client, err = client.Open(ctx, client.Options{
		Settings: s, Journal: &m.told, Observer: (&progress{out: m.log, many: true}).observe,
		Resolve: func(ctx context.Context, host string) ([]netip.Addr, error) { return dns.Addresses(ctx, host) },
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, m.doors[address])
		},
	})
	return err
}

// records writes CAA for a name.
func (m *market) records(name string, values ...string) error {
	for i, v := range values {
		values[i] = `0 issue "` + v + `"`
	}
	return m.dns.Set(name, "CAA", values...)
}

func (m *market) plan(ctx context.Context) (string, error) {
	if err := m.records(demoBlog, demoOne+"; priority=1", demoTwo+"; priority=2"); err != nil {
		return "", err
	}
	report, err := m.client.Engine.Discover(ctx, vault.Sheet{Name: "blog", Names: []string{demoBlog}}, enroll.Options{})
	if err != nil {
		return "", err
	}
	var order []string
	for _, o := range report.Offers {
		order = append(order, o.Issuer)
	}
	if got := strings.Join(order, ", then "); got != demoOne+", then "+demoTwo {
		return "", fmt.Errorf("the plan is %q", got)
	}
	return "it would ask " + strings.Join(order, ", then "), nil
}

// get gets or renews, and tells whose certificate came.
func (m *market) get(ctx context.Context, name string, names ...string) (*vault.Issued, error) {
	outcome, err := m.client.Engine.Get(ctx, vault.Sheet{Name: name, Names: names}, enroll.Options{Force: true, Unattended: true})
	if err != nil {
		return nil, err
	}
	return outcome.Issued, nil
}

// from fails unless the certificate is as it should be.
func from(issued *vault.Issued, ca string, kind caa.Kind) (string, error) {
	if issued.Issuer != ca || issued.Kind != kind {
		return "", fmt.Errorf("the certificate came from %q, of kind %q, not from %q of kind %q", issued.Issuer, issued.Kind, ca, kind)
	}
	return fmt.Sprintf("from %s (%s), found at %s", issued.Issuer, issued.Kind, issued.Directory), nil
}

func (m *market) first(ctx context.Context) (string, error) {
	issued, err := m.get(ctx, "blog", demoBlog)
	if err != nil {
		return "", err
	}
	return from(issued, demoOne, caa.AnyKind)
}

func (m *market) fallBack(ctx context.Context) (string, error) {
	if err := m.daemons[demoOne].Close(ctx); err != nil {
		return "", err
	}
	delete(m.daemons, demoOne)
	var text string
	for range 2 { // it is told of a CA that fails twice
		issued, err := m.get(ctx, "blog", demoBlog)
		if err != nil {
			return "", err
		}
		if text, err = from(issued, demoTwo, caa.AnyKind); err != nil {
			return "", err
		}
	}
	return text, nil
}

// messages is a way to people that the demo can look at.
type messages struct {
	mu  sync.Mutex
	all []notify.Message
}

// Name is the channel's.
func (*messages) Name() string { return "demo" }

// Send keeps the message.
func (m *messages) Send(_ context.Context, one notify.Message) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all = append(m.all, one)
	return nil
}

func (m *market) message(ctx context.Context) (string, error) {
	if err := m.client.Outbox.Flush(ctx); err != nil {
		return "", err
	}
	m.told.mu.Lock()
	defer m.told.mu.Unlock()
	var text bytes.Buffer
	incidents := 0
	subject := ""
	for _, one := range m.told.all {
		fmt.Fprintf(&text, "%s\n\n%s\n\n", one.Subject, one.Text)
		if one.Severity == notify.Warning {
			incidents++
			subject = one.Subject
		}
	}
	if incidents != 1 {
		return "", fmt.Errorf("%d messages of a failing CA, not one:\n%s", incidents, text.String())
	}
	return `"` + subject + `"`, os.WriteFile(m.path("messages.txt"), text.Bytes(), 0o644)
}

func (m *market) nobody(ctx context.Context) (string, error) {
	if err := m.records(demoBlog, demoOne); err != nil {
		return "", err
	}
	if err := m.records(demoNews, demoTwo); err != nil {
		return "", err
	}
	_, err := m.get(ctx, "both", demoBlog, demoNews)
	var choice *caa.ChoiceError
	if !errors.As(err, &choice) || choice.Cause != caa.CauseNoCommon {
		return "", fmt.Errorf("the two were not refused for want of a common CA: %w", err)
	}
	return fmt.Sprintf("the client says who is authorised for which, and that it takes %d certificates", len(choice.Together)), nil
}

func (m *market) anyKind(ctx context.Context) (string, error) {
	if err := m.records(demoBank, demoTwo+"; validationmethods=ca-ev", demoTwo+"; priority=1"); err != nil {
		return "", err
	}
	issued, err := m.get(ctx, "bank", demoBank)
	if err != nil {
		return "", err
	}
	return from(issued, demoTwo, caa.AnyKind)
}

// vetted plays the authority's registrar, who examines the bank, vouches that the domain
// is the bank's, and hands out a key, and the bank's administrator, who enters it.
func (m *market) vetted(ctx context.Context) (string, error) {
	office := admin.Dial(admin.SocketPath(m.path(demoTwo)))
	defer office.Close()
	customer, err := admin.Call[desk.CustomerWanted, desk.Customer](ctx, office, "customer.add", desk.CustomerWanted{Name: "Demo Bank"})
	if err != nil {
		return "", err
	}
	vetting := desk.Vetting{Kind: string(caa.ExtendedValidation), Organization: "Demo Bank Ltd", Country: "DE", Locality: "Hamburg",
		Serial: "HRB 12345", Until: time.Now().AddDate(0, 3, 0)}
	if _, err := admin.Call[desk.VettingWanted, desk.Customer](ctx, office, "customer.vet", desk.VettingWanted{Customer: customer.ID, Vetting: vetting}); err != nil {
		return "", err
	}
	for _, act := range []string{"customer.domain.add", "customer.domain.vouch"} {
		if _, err := admin.Call[desk.DomainNamed, desk.Domain](ctx, office, act, desk.DomainNamed{Customer: customer.ID, Domain: demoBank}); err != nil {
			return "", err
		}
	}
	key, err := admin.Call[acmeserver.KeyWanted, acmeserver.KeyMade](ctx, office, "eab.create", acmeserver.KeyWanted{Customer: customer.ID})
	if err != nil {
		return "", err
	}
	secret, err := base64.RawURLEncoding.DecodeString(key.Secret)
	if err != nil {
		return "", err
	}
	if err := m.client.Vault.SetEAB(ctx, demoTwo, acme.ExternalAccount{KeyID: key.ID, Key: secret}); err != nil {
		return "", err
	}
	issued, err := m.get(ctx, "bank", demoBank)
	if err != nil {
		return "", err
	}
	if _, err := from(issued, demoTwo, caa.ExtendedValidation); err != nil {
		return "", err
	}
	bundle, err := m.client.Vault.CurrentBundle("bank")
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("from %s (%s): %s", issued.Issuer, issued.Kind, bundle.Chain[0].Subject), nil
}

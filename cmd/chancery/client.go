package main

import (
	"context"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"chancery/internal/client"
	"chancery/internal/enroll"
	"chancery/internal/enroll/guard"
	"chancery/internal/enroll/settings"
	"chancery/internal/enroll/vault"
	"chancery/internal/notify"

	"github.com/spf13/cobra"
)

// clientFlags are those of every command of the client. What was not given is as the
// settings say.
type clientFlags struct {
	resolvers, trusted        []string
	dnssec, rules, identities string
	roots                     string
	discovery                 bool
	forgive, private          bool
	allow                     []string
	contact                   []string
	http, tls, webroot, dns   string
	types                     []string
	exec                      string
	ca                        string
}

// add defines the flags that say how a CA is found.
func (f *clientFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringSliceVar(&f.resolvers, "resolver", nil, "ask this DNS `SERVER`: IP[:PORT], tls://IP#NAME or https://HOST/dns-query (may be repeated)")
	flags.StringSliceVar(&f.trusted, "trust-resolver", nil, "believe this DNS `SERVER` about DNSSEC")
	flags.StringVar(&f.dnssec, "dnssec", "", "off, prefer (default) or require: no discovery unless every answer is validated")
	flags.BoolVar(&f.forgive, "ignore-caa-failures", false, "go on as if there were no CAA when a lookup fails; for a broken internal resolver only")
	flags.StringVar(&f.rules, "discovery-rules", "", "how priority is read: seed (default) or 03")
	flags.BoolVar(&f.discovery, "discovery-default", true, "what a CAA record without the discovery parameter means")
	flags.StringVar(&f.identities, "caa-identities", "", "must a CA name itself in its directory: prefer (default), require or ignore")
	flags.BoolVar(&f.private, "allow-private", false, "let discovered CAs be on private addresses")
	flags.StringSliceVar(&f.allow, "allow", nil, "let discovered CAs be on this `NETWORK` too, as 127.0.0.0/8")
	flags.StringVar(&f.roots, "roots", "", "PEM `FILE` with the roots that discovered CAs and what they issue must chain to")
	flags.StringVar(&f.ca, "ca", "", "no discovery: the `CA` with this label in the settings, or with this directory URL")
	f.addChallenges(cmd)
}

// addChallenges defines the flags that say how names are proven.
func (f *clientFlags) addChallenges(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringSliceVar(&f.types, "challenge", nil, "use this `TYPE` only: http-01, tls-alpn-01, dns-01, dns-persist-01 (in order of preference)")
	flags.StringVar(&f.http, "http", "", "listen on this `ADDRESS` for http-01")
	flags.StringVar(&f.webroot, "webroot", "", "write the answers to http-01 below this `DIR`, which a web server serves")
	flags.StringVar(&f.tls, "tls", "", "listen on this `ADDRESS` for tls-alpn-01")
	flags.StringVar(&f.dns, "dns", "", "set DNS records by the [[challenge.dns]] with this `LABEL`")
	flags.StringVar(&f.exec, "dns-exec", "", "set DNS records by this `PROGRAM`, called as other ACME clients' hooks are: present|cleanup FQDN VALUE")
}

// apply puts what was typed over the settings.
func (f *clientFlags) apply(cmd *cobra.Command, s *settings.Settings) error {
	given := cmd.Flags().Changed
	if given("resolver") {
		s.DNS.Resolvers = f.resolvers
		s.DNS.Trusted = nil
	}
	if given("trust-resolver") {
		s.DNS.Trusted = f.trusted
	}
	if given("ignore-caa-failures") {
		s.DNS.ForgiveFailures = f.forgive
	}
	if given("discovery-default") {
		s.Discovery.Default = f.discovery
	}
	if given("allow-private") {
		s.Discovery.AllowPrivate = f.private
	}
	for _, text := range f.allow {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			return badInput("--allow %q is no network: write it as 10.0.0.0/8", text)
		}
		s.Discovery.Allow = append(s.Discovery.Allow, network)
	}
	for flag, text := range map[*string]string{
		&s.DNS.DNSSEC: f.dnssec, &s.Discovery.Rules: f.rules, &s.Discovery.CAAIdentities: f.identities, &s.Discovery.Roots: f.roots,
	} {
		if text != "" {
			*flag = text
		}
	}
	if len(f.contact) > 0 {
		s.Contacts = f.contact
	}
	if f.exec != "" {
		s.Challenge.DNS = append(s.Challenge.DNS, settings.Provider{Label: execLabel, Kind: "exec", Command: []string{f.exec}})
	}
	return s.Check()
}

// challenges is what was typed of them; renewals keep to it.
func (f *clientFlags) challenges() (vault.Challenge, error) {
	c := vault.Challenge{Types: f.types, HTTP: f.http, TLS: f.tls, DNS: f.dns}
	if f.webroot != "" {
		dir, err := filepath.Abs(f.webroot)
		if err != nil {
			return c, err
		}
		c.Webroot = dir
	}
	if f.exec != "" {
		c.DNS = execLabel
	}
	return c, nil
}

// execLabel is what the program of --dns-exec is called in a run.
const execLabel = "dns-exec"

// clientSettings reads client.toml; --data wins over it.
func (p *program) clientSettings() (*settings.Settings, error) {
	s, err := settings.Load(p.config, os.Environ())
	if err != nil {
		return nil, err
	}
	if p.data != "" {
		s.Data = p.data
	}
	return s, nil
}

// openClient makes a client as settings and flags say.
func (p *program) openClient(cmd *cobra.Command, f *clientFlags, observe func(enroll.Event)) (*client.Client, error) {
	s, err := p.clientSettings()
	if err != nil {
		return nil, err
	}
	if err := f.apply(cmd, s); err != nil {
		return nil, err
	}
	return client.Open(cmd.Context(), client.Options{Settings: s, Observer: observe, Journal: p.journal(os.Getenv("JOURNAL_STREAM")), Forgave: func(name string, err error) {
		p.warn("the CAA of %s could not be looked up (%v); going on as if there were none, as you said", name, err)
	}})
}

// journal is where messages go beside the ways that are configured: as the journal reads
// them (nil) under a service manager, else in words, for whoever sits there or gets cron's mail.
func (p *program) journal(stream string) notify.Channel {
	if stream != "" {
		return nil
	}
	return spoken{p}
}

// spoken writes messages to the terminal.
type spoken struct{ *program }

// Name is notify.Channel's.
func (spoken) Name() string { return "stderr" }

// Send is notify.Channel's.
func (s spoken) Send(_ context.Context, m notify.Message) error {
	s.warn("%s\n%s", guard.Shown(m.Subject), indented(strings.TrimSpace(m.Text), "  "))
	return nil
}

// sweep takes away what runs that were killed left of their answers to challenges.
func (p *program) sweep(ctx context.Context, c *client.Client) {
	if err := c.Sweep(ctx); err != nil {
		p.warn("an answer to a challenge that an earlier run left could not be taken away: %v", err)
	}
}

// choice is what --ca chooses; nothing is discovery.
func (f *clientFlags) choice() (c vault.Choice) {
	if strings.Contains(f.ca, "://") {
		c.Directory = f.ca
	} else {
		c.Label = f.ca
	}
	return c
}

// closeClient lets messages go out and tells if they did not.
func (p *program) closeClient(ctx context.Context, c *client.Client) {
	if err := c.Close(context.WithoutCancel(ctx)); err != nil {
		p.warn("a message could not be sent yet; the next run or the agent will try again: %v", err)
	}
}

// untilSignal gives a context that ends with the first SIGINT or SIGTERM. From then on a
// second one ends the process at once, whatever it waits for, a start or a stop.
func untilSignal(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

// interruptible lets Ctrl-C and SIGTERM end a run in order: answers to challenges are
// taken away, and an order under way is kept for the next run. A second one ends at once.
func interruptible(do func(*cobra.Command, []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		ctx, stop := untilSignal(cmd.Context())
		defer stop()
		cmd.SetContext(ctx)
		return do(cmd, args)
	}
}

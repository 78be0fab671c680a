package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"chancery/internal/client"
	"chancery/internal/enroll"
	"chancery/internal/enroll/install"
	"chancery/internal/enroll/vault"

	"github.com/spf13/cobra"
)

const getLong = `Gets a certificate for the names and puts it where you say, from the CA that the owners
of the names named in CAA records ("chancery discover" shows which, and why), else from
a default CA of the settings. If one CA fails the next in the owner's order is asked.

Without other flags the certificate is kept in the data directory, in files called
privkey.pem, cert.pem, chain.pem and fullchain.pem, and it can be renewed: by
"chancery renew", or by "chancery agent" all by itself.

  chancery get shop.example --webroot /var/www/html
  chancery get shop.example www.shop.example --http :80 --fullchain /etc/nginx/shop.pem \
      --key /etc/nginx/shop.key --deploy "systemctl reload nginx"
  chancery get "*.shop.example" --dns-exec ./dns-hook
  chancery get printer.corp.internal --ca https://ca.corp.internal/.well-known/acme --agree-tos

With --json each event is one line of JSON (docs/events.md).
Exit status: 0 issued and in use; 1 not due; 2 failed, but the present certificate is
still good, or there is a certificate that could not be put in its place; 3 failed, or a
wrong command line.`

// getFlags are those of get beside the ones that all commands of the client have.
type getFlags struct {
	clientFlags
	name, keyType, profile, kind            string
	reuse, agree, change, pin, split, force bool
	target                                  install.Target
	mode, keyMode                           string
	pre, deploy, post, failure              []string
}

func (p *program) get() *cobra.Command {
	var f getFlags
	cmd := &cobra.Command{
		Use: "get NAME... [flags]", Short: "get a certificate from the CA that the names' owners want",
		Long: getLong, Annotations: map[string]string{endsAsRun: "yes"}, Args: between(1, 1000, "the names of the certificate: shop.example www.shop.example"),
		RunE: interruptible(func(cmd *cobra.Command, args []string) error { return p.getCertificate(cmd, &f, args) }),
	}
	f.clientFlags.add(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.name, "name", "", "call it `NAME` in the data directory (default: after its first name)")
	flags.StringSliceVar(&f.contact, "email", nil, "mail `ADDRESS` for new accounts")
	flags.StringVar(&f.keyType, "key-type", "", strings.Join(install.KeyTypes(), ", "))
	flags.BoolVar(&f.reuse, "reuse-key", false, "keep the key at renewals")
	flags.StringVar(&f.profile, "profile", "", "ACME `PROFILE` to order")
	flags.StringVar(&f.kind, "kind", "", "a certificate of this kind only: ca-dv, ca-ov, ca-ev or ca-qwac")
	flags.BoolVar(&f.agree, "agree-tos", false, "agree to the terms of service of whichever CA serves")
	flags.BoolVar(&f.change, "allow-ca-change", false, "replace a certificate that this client did not obtain, or one of another kind")
	flags.BoolVar(&f.pin, "pin-ca", false, "stay with the CA that issued last")
	flags.BoolVar(&f.split, "split", false, "several certificates if no CA may certify all the names together")
	flags.BoolVar(&f.force, "force", false, "get one even if there is one that is not due")
	f.addInstall(cmd)
	return cmd
}

func (f *getFlags) addInstall(cmd *cobra.Command) {
	flags := cmd.Flags()
	for _, one := range []struct {
		into       *string
		name, what string
	}{
		{&f.target.Cert, "cert", "put the certificate alone into `FILE`"},
		{&f.target.Key, "key", "put the private key into `FILE`"},
		{&f.target.Chain, "chain", "put the intermediates into `FILE`"},
		{&f.target.FullChain, "fullchain", "put certificate and intermediates into `FILE`"},
		{&f.target.Combined, "combined", "put all into one PEM `FILE`, as HAProxy reads it"},
		{&f.target.PKCS12, "pkcs12", "put all into a PKCS#12 `FILE`"},
		{&f.target.PKCS12Password, "pkcs12-password", "its password, by `REFERENCE`: file:PATH or credential:NAME"},
		{&f.target.Owner, "owner", "`USER` that the files belong to"},
		{&f.target.Group, "group", "`GROUP` that the files belong to"},
		{&f.mode, "mode", "`MODE` of files without the key (default 0644)"},
		{&f.keyMode, "key-mode", "`MODE` of files with the key (default 0600)"},
	} {
		flags.StringVar(one.into, one.name, "", one.what)
	}
	flags.StringArrayVar(&f.pre, "pre", nil, "run this shell `COMMAND` before a CA is asked")
	flags.StringArrayVar(&f.deploy, "deploy", nil, "run this shell `COMMAND` when a new certificate is in place")
	flags.StringArrayVar(&f.post, "post", nil, "run this shell `COMMAND` after every attempt")
	flags.StringArrayVar(&f.failure, "on-failure", nil, "run this shell `COMMAND` after a failed attempt")
}

// sheet is what is wanted.
func (f *getFlags) sheet(names []string) (vault.Sheet, error) {
	challenges, err := f.challenges()
	if err != nil {
		return vault.Sheet{}, err
	}
	s := vault.Sheet{
		Name: f.name, Names: names, KeyType: f.keyType, ReuseKey: f.reuse, Profile: f.profile,
		Challenge: challenges, CA: f.choice(), Install: f.target,
	}
	s.CA.Pin, s.CA.AllowChange, s.CA.Kind, s.CA.AgreeTerms = f.pin, f.change, f.kind, f.agree
	for _, path := range []*string{&s.Install.Cert, &s.Install.Key, &s.Install.Chain, &s.Install.FullChain, &s.Install.Combined, &s.Install.PKCS12} {
		if *path == "" {
			continue
		}
		if *path, err = filepath.Abs(*path); err != nil {
			return s, err
		}
	}
	if err := s.Install.Mode.UnmarshalText([]byte(f.mode)); err != nil {
		return s, badInput("--mode: %v", err)
	}
	if err := s.Install.KeyMode.UnmarshalText([]byte(f.keyMode)); err != nil {
		return s, badInput("--key-mode: %v", err)
	}
	s.Hooks = install.Hooks{Pre: shell(f.pre), Deploy: shell(f.deploy), Post: shell(f.post), Failure: shell(f.failure)}
	if err := install.CheckKeyType(f.keyType); err != nil {
		return s, badInput("--key-type: %v", err)
	}
	return s, s.Install.Validate()
}

func shell(lines []string) (hooks []install.Hook) {
	for _, line := range lines {
		hooks = append(hooks, install.Hook{Shell: line})
	}
	return hooks
}

func (p *program) getCertificate(cmd *cobra.Command, f *getFlags, names []string) error {
	sheet, err := f.sheet(names)
	if err != nil {
		return &enrolError{enroll.Failed, err}
	}
	progress := &progress{out: p.out, json: p.json}
	c, err := p.openClient(cmd, &f.clientFlags, progress.observe)
	if err != nil {
		return &enrolError{enroll.Failed, err}
	}
	defer p.closeClient(cmd.Context(), c)
	if sheet.Name == "" {
		if sheet.Name, err = c.Vault.NewLabel(cmd.Context(), names); err != nil {
			return &enrolError{enroll.Failed, err}
		}
	}
	p.sweep(cmd.Context(), c)
	options := enroll.Options{AllowCAChange: f.change, PinCA: f.pin, AgreeTerms: f.agree, Force: f.force}
	sheets := []vault.Sheet{sheet}
	if f.split {
		if sheets, err = c.Engine.Split(cmd.Context(), sheet, options); err != nil {
			return &enrolError{enroll.Failed, err}
		}
	}
	worst := &enrolError{result: enroll.Issued}
	for _, s := range sheets {
		outcome, err := c.Engine.Get(cmd.Context(), s, options)
		progress.finish(outcome, err)
		if outcome.Result.ExitCode() > worst.result.ExitCode() {
			worst = &enrolError{outcome.Result, errors.Join(err, outcome.Err())}
		}
	}
	if !p.json && worst.result == enroll.Issued {
		p.remind(cmd, f, c)
	}
	if worst.result == enroll.Issued {
		return nil
	}
	return worst
}

// remind says what comes next, and which flags held for this run alone.
func (p *program) remind(cmd *cobra.Command, f *getFlags, c *client.Client) {
	var lines []string
	for _, flag := range []struct{ name, section, line string }{
		{"resolver", "dns", fmt.Sprintf("resolvers = %s", tomlList(f.resolvers))},
		{"trust-resolver", "dns", fmt.Sprintf("trusted = %s", tomlList(f.trusted))},
		{"dnssec", "dns", fmt.Sprintf("dnssec = %q", f.dnssec)},
		{"ignore-caa-failures", "dns", "forgive_failures = true"},
		{"discovery-rules", "discovery", fmt.Sprintf("rules = %q", f.rules)},
		{"discovery-default", "discovery", fmt.Sprintf("default = %t", f.discovery)},
		{"caa-identities", "discovery", fmt.Sprintf("caa_identities = %q", f.identities)},
		{"allow-private", "discovery", "allow_private = true"},
		{"allow", "discovery", fmt.Sprintf("allow = %s", tomlList(f.allow))},
		{"roots", "discovery", fmt.Sprintf("roots = %q", f.roots)},
	} {
		if cmd.Flags().Changed(flag.name) {
			lines = append(lines, flag.section+"."+flag.line)
		}
	}
	if f.exec != "" {
		lines = append(lines, fmt.Sprintf("[[challenge.dns]]\nlabel = %q\nkind = \"exec\"\ncommand = [%q]", execLabel, f.exec))
	}
	fmt.Fprintf(p.out, "\nIt is renewed by \"chancery agent\" while that runs, or by \"chancery renew\" from time to time.\n")
	if len(lines) > 0 {
		where := c.Settings.File()
		if where == "" {
			where = "client.toml (chancery agent --help says where)"
		}
		fmt.Fprintf(p.out, "Some flags were for this run only; renewals need them in %s:\n\n%s\n", where, indentLines(lines))
	}
}

func indentLines(lines []string) string {
	return "  " + strings.ReplaceAll(strings.Join(lines, "\n"), "\n", "\n  ")
}

func tomlList(values []string) string {
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = fmt.Sprintf("%q", v)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

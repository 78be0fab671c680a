package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"chancery/internal/desk"

	"github.com/spf13/cobra"
)

// trusting is what the trust commands were told.
type trusting struct {
	url, file, root string
	fingerprints    []string
	dryRun          bool
}

const trustLong = `Puts the root certificate into the trust stores of this machine, or takes it out: the
system's (Debian, Ubuntu, Alpine, SUSE, Fedora, RHEL, Arch) and, where certutil is
installed, the NSS databases of Firefox and Chromium of the user who calls. The root
comes from the running server, from --file, or from another host by --url; then
--fingerprint must say which root it is, as "chancery ca root --fingerprint" tells
there: ask for it by a way that nobody can forge. So it must for a server on this host
that another user runs, unless root does, or who called sudo.`

func (p *program) trust() *cobra.Command {
	cmd := group("trust", "install the root in this machine's trust stores, or remove it", trustLong)
	cmd.AddCommand(p.trustDo("install", "trust the root on this machine"), p.trustDo("uninstall", "trust the root no longer"))
	return cmd
}

func (p *program) trustDo(verb, short string) *cobra.Command {
	t := trusting{}
	cmd := &cobra.Command{
		Use: verb + " [flags]", Short: short, Long: trustLong,
		Example: fmt.Sprintf("  sudo chancery trust %[1]s\n  sudo chancery trust %[1]s --url https://ca.corp.example --fingerprint 12:AB:...", verb),
		Args:    apart(between(0, 0, verb+" takes flags only; did you mean --file FILE?"), "url", "file"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			roots, err := p.rootsToTrust(cmd.Context(), t)
			if err != nil {
				return err
			}
			return p.changeStores(cmd.Context(), &t, verb, roots)
		},
	}
	f := cmd.Flags()
	f.StringVar(&t.url, "url", "", "fetch the root from the server at this `URL`")
	f.StringSliceVar(&t.fingerprints, "fingerprint", nil, "`SHA256` that the root must have; may be repeated")
	f.StringVar(&t.file, "file", "", "take the root from `FILE` (PEM)")
	f.BoolVar(&t.dryRun, "dry-run", false, "only say what would be done")
	f.StringVar(&t.root, "root", "", "a system in `DIR`, not this one: files are written below it, no programs are run")
	return cmd
}

// rootsToTrust finds the roots and keeps those that were asked for.
func (p *program) rootsToTrust(ctx context.Context, t trusting) ([]*x509.Certificate, error) {
	wanted := map[string]bool{}
	for _, text := range t.fingerprints {
		hex, err := parseFingerprint(text)
		if err != nil {
			return nil, err
		}
		wanted[hex] = true
	}
	var text []byte
	var err error
	switch {
	case t.url != "" && len(wanted) == 0:
		return nil, badInput("--url needs --fingerprint: nothing else can tell the right root from a forged one. On the server's host: chancery ca root --fingerprint")
	case t.url != "":
		text, err = fetchRoot(ctx, t.url)
	case t.file != "":
		text, err = p.readInput(t.file)
	default:
		if len(wanted) == 0 {
			p.foreign = refuseOwner
		}
		var roots desk.Roots
		roots, err = call[struct{}, desk.Roots](ctx, p, "ca.roots", struct{}{})
		for _, r := range roots.Roots {
			text = append(text, r.PEM...)
		}
	}
	if err != nil {
		return nil, err
	}
	return pickRoots(text, wanted)
}

func parseFingerprint(text string) (string, error) {
	hex := strings.ToLower(strings.NewReplacer(":", "", " ", "").Replace(strings.TrimSpace(text)))
	hex = strings.TrimPrefix(strings.TrimPrefix(hex, "sha256"), "fingerprint=") // as OpenSSL prints it
	if len(hex) != 64 || strings.Trim(hex, "0123456789abcdef") != "" {
		return "", badInput("%q is no SHA-256 fingerprint: 64 hex digits are wanted, with or without colons", text)
	}
	return hex, nil
}

// pickRoots reads PEM and gives the certificates with a wanted fingerprint; with
// none wanted, all that have not ended.
func pickRoots(text []byte, wanted map[string]bool) ([]*x509.Certificate, error) {
	var picked []*x509.Certificate
	var seen []string
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, badInput("a certificate cannot be read: %v", err)
		}
		print := desk.Fingerprint(cert.Raw)
		seen = append(seen, fmt.Sprintf("%s  %s", colons(print), cert.Subject))
		if len(wanted) == 0 && !cert.IsCA {
			return nil, badInput("%q is not a certification authority's certificate, so there is nothing to trust it for", cert.Subject)
		}
		if wanted[print] || len(wanted) == 0 && cert.NotAfter.After(time.Now()) {
			picked = append(picked, cert)
		}
	}
	switch {
	case len(seen) == 0:
		return nil, badInput("there is no certificate in PEM in what was read")
	case len(picked) == 0 && len(wanted) > 0:
		return nil, fmt.Errorf("the fingerprint does not fit, so nothing was trusted. What was offered:\n  %s\nAsk on the server's host: chancery ca root --fingerprint", strings.Join(seen, "\n  "))
	case len(picked) == 0:
		return nil, fmt.Errorf("all roots in what was read have ended")
	}
	return picked, nil
}

// changed is what the trust commands say.
type changed struct {
	Verb   string   `json:"verb"` // install, uninstall
	DryRun bool     `json:"dry_run"`
	Roots  []string `json:"sha256"`
	Steps  []step   `json:"steps"`
}

func (p *program) changeStores(ctx context.Context, t *trusting, verb string, roots []*x509.Certificate) error {
	stores, err := findStores(t.root)
	if err != nil {
		return err
	}
	out := changed{Verb: verb, DryRun: t.dryRun, Roots: []string{}, Steps: []step{}}
	for _, cert := range roots {
		out.Roots = append(out.Roots, desk.Fingerprint(cert.Raw))
	}
	var failed []error
	for _, s := range stores {
		done, err := doSteps(ctx, s.steps(verb == "install", roots), t.dryRun)
		out.Steps = append(out.Steps, done...)
		failed = append(failed, err)
	}
	err = p.show(out, func(w io.Writer) {
		for _, cert := range roots {
			pairs(w, [2]string{"root", cert.Subject.String()}, [2]string{"SHA-256", colons(desk.Fingerprint(cert.Raw))})
		}
		did := "did"
		if t.dryRun {
			did = "would do"
		}
		for _, s := range out.Steps {
			pairs(w, [2]string{did, s.String()})
		}
		if len(out.Steps) == 0 && errors.Join(failed...) == nil {
			fmt.Fprintln(w, "There is nothing to do.")
		}
	})
	return errors.Join(append(failed, err)...)
}

// doSteps does one store's steps up to the first that fails; the other stores
// do not depend on it. It gives those that were done, or would be.
func doSteps(ctx context.Context, steps []step, dryRun bool) ([]step, error) {
	for n, s := range steps {
		if dryRun {
			continue
		}
		if err := s.do(ctx); err != nil {
			return steps[:n], err
		}
	}
	return steps, nil
}

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"chancery/est"
	"chancery/internal/conform"
	"chancery/internal/plain"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

func (p *program) conform() *cobra.Command {
	cmd := group("conform", "measure somebody's server, clause by clause", `Black-box suites: they ask a running server, anybody's, what the specification lets them
ask, and say of each clause what was expected and what was seen. docs/conform.md has
more, and the list of all checks.`)
	cmd.AddCommand(p.conformEST())
	return cmd
}

// conformFlags are those of "conform est".
type conformFlags struct {
	url, roots, fingerprint  string
	user, password           string
	cert, key                string
	names, only, skip        []string
	oneTime, secret, listing bool
	timeout                  time.Duration
}

const conformESTLong = `Measures an EST server (RFC 7030, with RFC 8951, 7894 and 9908, and what clients in use
need). Without a user or a certificate it only asks what anybody may ask; with one, and a
name that may be enrolled, it enrols certificates, and says before how many. It sends
broken and hostile requests, one after the other: ask the server's people first.

  chancery conform est --url https://est.example --fingerprint sha256:HEX
  chancery conform est --url https://est.example/.well-known/est/label --roots ca.pem \
      --user u --password-file FILE --name device1.example

Each check has a level: MUST and SHOULD are the specification's, field is what a client
in use trips over. Passwords are shown only to a server that the anchors verify.

Exit status: 0 no MUST failed; 1 one did, or the server cannot be measured; 2 wrong flags
or files; 6 nobody answers there. Findings of SHOULD and field do not change it.`

func (p *program) conformEST() *cobra.Command {
	var f conformFlags
	cmd := &cobra.Command{
		Use: "est --url URL", Short: "measure an EST server", Long: conformESTLong, Args: between(0, 0, "the server goes into --url"),
		RunE: interruptible(func(cmd *cobra.Command, _ []string) error {
			if f.listing {
				return p.show(conform.ESTChecks(), showChecks)
			}
			config, err := p.conformConfig(cmd, &f)
			if err != nil {
				return err
			}
			return p.runConform(cmd.Context(), config)
		}),
	}
	estTexts(cmd,
		textFlag{&f.url, "url", "`URL` of the server: https://HOST[:PORT], with /.well-known/est[/LABEL] or without"},
		textFlag{&f.roots, "roots", "PEM `FILE` with the CA's roots, the explicit trust anchors"},
		textFlag{&f.fingerprint, "fingerprint", "of the CA's root, instead of --roots: sha256:`HEX` or sha512:HEX"},
		textFlag{&f.user, "user", "`NAME` for HTTP authentication"},
		textFlag{&f.password, "password-file", "`FILE` with the password; - is standard input, credential:NAME a systemd credential"},
		textFlag{&f.cert, "cert", "PEM `FILE` with a client certificate and its chain: it authenticates where there is no user, and is renewed"},
		textFlag{&f.key, "key", "PEM `FILE` with its key"},
	)
	flags := cmd.Flags()
	flags.StringArrayVar(&f.names, "name", nil, "`NAME` that may be enrolled: a DNS name, an IP address, an e-mail address or a URI; may be repeated")
	flags.BoolVar(&f.oneTime, "one-time", false, "the password is good for one certificate: every request has the same key")
	flags.BoolVar(&f.secret, "challenge-secret", false, "the server reads challengePassword as a secret of its own (EJBCA, OpenXPKI): leave linking out")
	flags.StringArrayVar(&f.only, "only", nil, "run this `GROUP` or check alone; may be repeated")
	flags.StringArrayVar(&f.skip, "skip", nil, "leave this `GROUP` or check out; may be repeated")
	flags.DurationVar(&f.timeout, "timeout", 15*time.Second, "the longest that one exchange may take")
	flags.BoolVar(&f.listing, "list", false, "list the checks and ask nobody anything")
	return cmd
}

func (p *program) conformConfig(cmd *cobra.Command, f *conformFlags) (conform.ESTConfig, error) {
	c := conform.ESTConfig{
		URL: f.url, Fingerprint: f.fingerprint, Names: f.names, OneTime: f.oneTime, ChallengeSecret: f.secret,
		Choice: conform.Choice{Only: f.only, Skip: f.skip}, Timeout: f.timeout,
	}
	mistake := func(text string, args ...any) (conform.ESTConfig, error) {
		return c, &usageError{cmd: cmd, text: fmt.Sprintf(text, args...)}
	}
	switch unknown := c.Choice.Unknown(conform.ESTChecks()); {
	case f.url == "":
		return mistake("something is missing: the server (--url https://HOST)")
	case f.roots != "" && f.fingerprint != "":
		return mistake("--roots and --fingerprint contradict each other: give one")
	case (f.cert == "") != (f.key == ""):
		return mistake("--cert needs both files, the other with --key")
	case len(unknown) > 0:
		return mistake("there is no group and no check %q; see: chancery conform est --list", unknown[0])
	case f.timeout <= 0:
		return mistake("--timeout is a time, as 15s")
	case (f.user != "" || f.password != "" || f.cert != "") && f.roots == "" && f.fingerprint == "":
		return mistake("a password or certificate is shown only to a server that anchors verify: give --roots FILE or --fingerprint sha256:HEX")
	}
	if _, _, err := est.ServerURL(f.url, ""); err != nil {
		return mistake("%v", err)
	}
	return c, p.conformSecrets(f, &c)
}

// conformSecrets reads the files.
func (p *program) conformSecrets(f *conformFlags, c *conform.ESTConfig) error {
	if f.roots != "" {
		text, err := p.readUpTo(f.roots, 1<<20)
		if err != nil {
			return err
		}
		if c.Roots, err = certificatesIn(text); err != nil {
			return badInput("%s: %v", f.roots, err)
		}
	}
	if c.Fingerprint != "" {
		if _, _, err := est.ParseFingerprint(c.Fingerprint); err != nil {
			return badInput("--fingerprint: %v", err)
		}
	}
	if f.user != "" || f.password != "" {
		word, _, err := p.estSecret(f.password, "Password of "+f.user+": ")
		if err != nil {
			return err
		}
		c.Login = &est.Login{User: f.user, Password: word}
	}
	if f.cert != "" {
		pair, err := tls.LoadX509KeyPair(f.cert, f.key)
		if err != nil {
			return badInput("%v", err)
		}
		c.Shown = &pair
	}
	return nil
}

// errNotConforming ends the command after the report said everything.
var errNotConforming = errors.New("")

func (p *program) runConform(ctx context.Context, c conform.ESTConfig) error {
	if n := c.Enrols(); n > 0 {
		p.remark("Up to %d certificates for %v will be asked for, and what comes is thrown away.", n, c.Names)
	} else {
		p.remark("Nothing will be enrolled: that needs --user or --cert, and --name.")
	}
	if terminal(p.err) {
		total, done := 0, 0
		for _, check := range conform.ESTChecks() {
			if c.Choice.Has(check) {
				total++
			}
		}
		c.Progress = func(f conform.Finding) {
			done++
			fmt.Fprintf(p.err, "\r\x1b[K%d/%d %s", done, total, f.ID)
			if done == total {
				fmt.Fprint(p.err, "\r\x1b[K")
			}
		}
	}
	report, err := conform.EST(ctx, c)
	if err != nil && len(report.Findings) == 0 {
		return err
	}
	if showing := p.show(report, func(w io.Writer) { showConform(w, &report) }); showing != nil {
		return showing
	}
	if err != nil {
		return fmt.Errorf("the run was cut short: %w", err)
	}
	if !report.Conforms() {
		return errNotConforming
	}
	return nil
}

// terminal tells whether somebody watches.
func terminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	return term.IsTerminal(int(file.Fd()))
}

// certificatesIn reads all certificates of a PEM text.
func certificatesIn(text []byte) (all []*x509.Certificate, err error) {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil, errors.New("there is no certificate in PEM form")
	}
	return all, nil
}

// outcomes are the words of the table; what failed is to be seen.
var outcomes = map[conform.Outcome]string{
	conform.Passed: "pass", conform.Failed: "FAIL", conform.NotApplicable: "n/a", conform.NotRun: "not run",
}

func showConform(w io.Writer, r *conform.Report) {
	group := ""
	for _, f := range r.Findings {
		if f.Group() != group {
			group = f.Group()
			fmt.Fprintf(w, "\n%s\n", group)
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\t%s\n", outcomes[f.Outcome], f.Level, f.ID, plain.Line(f.Seen, 1000))
		if f.Outcome == conform.Failed {
			fmt.Fprintf(w, "  \t\t\texpected: %s (%s)\n", f.Expected, f.Clause)
		}
	}
	fmt.Fprintf(w, "\n%s\n", plain.Line(r.Target, 500))
	fmt.Fprintf(w, "%d passed, %d failed (%d MUST, %d SHOULD, %d field), %d not applicable, %d not run; %d connections, %d certificates\n",
		r.Count(conform.Passed, ""), r.Count(conform.Failed, ""), r.Count(conform.Failed, conform.Must), r.Count(conform.Failed, conform.Should), r.Count(conform.Failed, conform.Field),
		r.Count(conform.NotApplicable, ""), r.Count(conform.NotRun, ""), r.Connections, len(r.Certificates))
}

func showChecks(w io.Writer) {
	for _, c := range conform.ESTChecks() {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", c.ID, c.Level, c.Clause, c.Expected)
	}
}

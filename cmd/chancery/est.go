package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"chancery/est"
	"chancery/internal/conform"
	"chancery/internal/durable"
	"chancery/internal/enroll/device"
	"chancery/internal/keys"
	"chancery/internal/plain"

	"github.com/spf13/cobra"
)

const estLong = `EST (RFC 7030) is how devices get certificates over HTTPS. Of the commands some are a
device's: they work on any EST server, and keep all they know in one directory.

  chancery est enroll --server https://est.example --name device1.example \
      --user u --password-file FILE --dir DIR      a first certificate
  chancery est agent --dir DIR                     keeps it renewed

The server's CA is not known at first: its root's fingerprint is shown and asked about, or
given with --fingerprint. docs/est-client.md tells the whole story. The other commands
are for administrators of this program's own EST server.`

func (p *program) est() *cobra.Command {
	cmd := group("est", "EST: enrol devices, and see to those that enrol here", estLong)
	cmd.AddGroup(&cobra.Group{ID: "device", Title: "On a device:"}, &cobra.Group{ID: "admin", Title: "At the server:"})
	for id, commands := range map[string][]*cobra.Command{
		"device": {p.estEnroll(), p.estReenroll(), p.estServerKeyGen(), p.estFullCMC(), p.estCACerts(), p.estCSRAttrs(), p.estAgent()},
		"admin":  p.estAdminCommands(),
	} {
		for _, c := range commands {
			c.GroupID = id
			cmd.AddCommand(c)
		}
	}
	return cmd
}

// estFlags are those of the commands of a device.
type estFlags struct {
	dir, server, label                    string
	anchors, implicit, fingerprint        string
	given                                 bool // the fingerprint, be it empty
	keepImplicit, implicitSecrets         bool
	user, password, secret, revocation    string
	makerCert, makerKey                   string
	maxTLS, anchorsOut, linking, ownKey   string
	keyIn                                 string
	ownToken                              bool // the own key is in a token or a TPM
	names                                 []string
	subject, mac, unit                    string
	keyType                               string
	reuse, accept, anew, noWait           bool
	newNames                              []string
	newSubject                            string
	shared, sealCert, sealKey             string
	plainKey                              bool
	deploy                                []string
	cert, key, chain, fullchain, combined string
	owner, group, mode, keyMode           string

	state *device.State // that was configured by them
}

// estTexts defines flags with a text.
func estTexts(cmd *cobra.Command, all ...textFlag) {
	for _, f := range all {
		cmd.Flags().StringVar(f.into, f.name, "", f.what)
	}
}

type textFlag struct {
	into       *string
	name, what string
}

// addServer defines where the server is and how it is judged.
func (f *estFlags) addServer(cmd *cobra.Command) {
	estTexts(cmd,
		textFlag{&f.dir, "dir", "`DIR` of the device: what is trusted, keys, certificates"},
		textFlag{&f.server, "server", "the EST server: `URL`, or HOST[:PORT]"},
		textFlag{&f.label, "label", "`LABEL` of the server's path, if it has several"},
		textFlag{&f.fingerprint, "fingerprint", "of the CA's root: sha256:`HEX` or sha512:HEX; otherwise you are asked"},
		textFlag{&f.anchors, "anchors", "PEM `FILE` with the CA's roots, if there is one: explicit trust anchors"},
		textFlag{&f.implicit, "implicit", "implicit trust `ANCHORS`: the word system, or a PEM file; they are used until the CA's own are known"},
		textFlag{&f.anchorsOut, "anchors-out", "write the CA's roots to this PEM `FILE`, for other programs, whenever they change"},
		textFlag{&f.maxTLS, "tls-max", "1.2: for servers whose proof of possession breaks under TLS `VERSION` 1.3"},
	)
	flags := cmd.Flags()
	flags.BoolVar(&f.keepImplicit, "keep-implicit", false, "go on using implicit anchors when the CA's own are known")
	flags.BoolVar(&f.implicitSecrets, "allow-implicit-secrets", false, "send passwords to, and have keys made by, a server that only implicit anchors verify")
}

// addLogin defines who asks.
func (f *estFlags) addLogin(cmd *cobra.Command) {
	estTexts(cmd,
		textFlag{&f.user, "user", "`NAME` for HTTP authentication; the password is asked for, or in --password-file"},
		textFlag{&f.password, "password-file", "`FILE` with the password; - is standard input, credential:NAME a systemd credential"},
		textFlag{&f.secret, "secret-file", "`FILE` with an enrolment secret for servers that read one in the request (challengePassword)"},
		textFlag{&f.revocation, "revocation-file", "`FILE` with a secret by which the certificate can be revoked later without its key: \"chancery est fullcmc --revoke --revoked-by FILE\""},
		textFlag{&f.makerCert, "with-cert", "PEM `FILE` with a certificate to show until there is one of the server's, as the device's maker gave it"},
		textFlag{&f.makerKey, "with-key", "PEM `FILE` with its key, or the key's name: pkcs11:… or tpm:…"},
	)
}

// addWanted defines what is asked for and where it goes.
func (f *estFlags) addWanted(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringArrayVar(&f.names, "name", nil, "`NAME` to certify: a DNS name, an IP address, an e-mail address or a URI; may be repeated")
	estTexts(cmd,
		textFlag{&f.subject, "subject", "`SUBJECT`, as \"CN=device1,O=Corp\" (default CN= the first name)"},
		textFlag{&f.mac, "mac", "MAC `ADDRESS`, where the server wants to be told it"},
		textFlag{&f.unit, "unstructured-name", "what the device calls itself, where the server wants to be told it: `TEXT`"},
		textFlag{&f.keyType, "key-type", "`KIND` of the key: ecdsa-p256, ecdsa-p384, rsa-2048, rsa-3072, rsa-4096, ed25519 (default the server's wish)"},
		textFlag{&f.linking, "linking", "`WHERE` the request is tied to its TLS connection: challenge, identity or never (for servers that read the challenge password as a secret)"},
	)
	flags.BoolVar(&f.accept, "accept-changed", false, "take a certificate that lacks names that were asked for")
	f.addPlaces(cmd)
	f.addWaiting(cmd)
}

// addPlaces defines where a certificate goes beside the directory.
func (f *estFlags) addPlaces(cmd *cobra.Command) {
	estTexts(cmd,
		textFlag{&f.cert, "cert", "put the certificate into this `FILE`, too"},
		textFlag{&f.key, "key", "put its key into this `FILE`, too"},
		textFlag{&f.chain, "chain", "put the intermediates into this `FILE`"},
		textFlag{&f.fullchain, "fullchain", "put certificate and intermediates into this `FILE`"},
		textFlag{&f.combined, "combined", "put all into one PEM `FILE`"},
		textFlag{&f.owner, "owner", "`USER` that those files belong to"},
		textFlag{&f.group, "group", "`GROUP` that those files belong to"},
		textFlag{&f.mode, "mode", "`MODE` of those without the key (default 0644)"},
		textFlag{&f.keyMode, "key-mode", "`MODE` of those with the key (default 0600)"},
	)
	cmd.Flags().StringArrayVar(&f.deploy, "deploy", nil, "run this shell `COMMAND` when a certificate is in place; \"\" for none")
}

func (f *estFlags) addWaiting(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.noWait, "no-wait", false, "when the server wants to be asked again later, end; the same command takes the request up again")
	cmd.Flags().BoolVar(&f.anew, "anew", false, "forget a request that is under way, or get another certificate where there is one, and begin anew; with another --server forget the CA that was trusted, too")
}

// estError is a failure of a device's command, fit for a terminal.
type estError struct{ err error }

// Error shows all that is the server's as plain text.
func (e *estError) Error() string {
	if _, pending := errors.AsType[*est.PendingError](e.err); pending { // how long was said when it was
		return "there is no answer yet: the request is kept with its key, and the same command, or chancery est agent, takes it up"
	}
	var lines []string
	for _, line := range strings.Split(e.err.Error(), "\n") {
		lines = append(lines, plain.Line(line, 4000))
	}
	return strings.Join(lines, "\n") + e.next()
}

// Unwrap gives the error itself.
func (e *estError) Unwrap() error { return e.err }

// next is what to do, where the error itself cannot know.
func (e *estError) next() string {
	refused, server := errors.AsType[*est.ServerError](e.err)
	_, busy := errors.AsType[*durable.BusyError](e.err)
	_, changed := errors.AsType[*est.MismatchError](e.err)
	_, login := errors.AsType[*est.LoginError](e.err)
	missing, answered := errors.AsType[*est.StatusError](e.err)
	switch {
	case errors.Is(e.err, device.ErrNobody):
		return "\nAsk the CA's people for the fingerprint of its root and give it: --fingerprint sha256:HEX (where the CA is a chancery: chancery ca root --fingerprint)"
	case errors.Is(e.err, device.ErrNone):
		return "\nEnrol first: chancery est enroll --server URL --name NAME --dir DIR, and what shows who asks: --user NAME --password-file FILE, or --with-cert FILE --with-key FILE"
	case login:
		return "\nA user and password are given by --user NAME --password-file FILE (- is standard input), a certificate by --with-cert FILE --with-key FILE"
	case answered && missing.Missing() && missing.Operation == est.SimpleReenroll:
		return "\nGet another certificate instead: chancery est enroll --dir DIR --anew, or where the server makes the key chancery est serverkeygen --dir DIR --anew"
	case server && refused.Why == est.OnlyImplicit:
		return "\nThe switches are --keep-implicit, and --allow-implicit-secrets for passwords and keys"
	case unreachable(e.err):
		return "\nNothing was sent: see that the address is right and the server runs, and try again"
	case changed:
		return "\nThe switch that takes it as it is: --accept-changed"
	case busy:
		return "\nAn agent at work lets others in between its passes"
	}
	return ""
}

// estStatusOf gives the exit status for what went wrong on a device.
func estStatusOf(err error) (status int, ok bool) {
	if ended, is := errors.AsType[*deviceError](err); is {
		return ended.status, true
	}
	if _, measuring := errors.AsType[*conform.ESTError](err); measuring && unreachable(err) {
		return exitLater, true
	}
	ours, is := errors.AsType[*estError](err)
	if !is {
		return 0, false
	}
	_, pending := errors.AsType[*est.PendingError](ours.err)
	answered, refused := errors.AsType[*est.StatusError](ours.err)
	_, login := errors.AsType[*est.LoginError](ours.err)
	_, server := errors.AsType[*est.ServerError](ours.err)
	_, print := errors.AsType[*est.FingerprintError](ours.err)
	_, mismatch := errors.AsType[*est.MismatchError](ours.err)
	_, redirect := errors.AsType[*est.RedirectError](ours.err)
	_, busy := errors.AsType[*durable.BusyError](ours.err)
	_, kept := errors.AsType[*keptError](ours.err)
	_, revoked := errors.AsType[*device.RevokedError](ours.err)
	login = login || revoked
	full, isFull := errors.AsType[*est.FullError](ours.err)
	pending = pending || isFull && full.Pending
	refusedFully := isFull && full.HTTP < http.StatusInternalServerError
	switch {
	case pending, busy, kept, unreachable(ours.err), refused && (answered.Status >= http.StatusInternalServerError && !answered.Missing() || answered.Status == http.StatusTooManyRequests):
		return exitLater, true
	case errors.Is(err, device.ErrNameless):
		return exitUsage, true
	case refused && answered.Missing(), errors.Is(err, device.ErrNone):
		return exitNotFound, true
	case errors.Is(err, errNo), refused, refusedFully, login, server, print, mismatch, redirect, errors.Is(err, device.ErrNobody), est.Is(err, est.Unmet), est.Is(err, est.Untrusted):
		return exitRefused, true
	}
	return 0, false
}

// unreachable tells whether no connection could be made: not a word was exchanged, and
// another time may be better.
func unreachable(err error) bool {
	failed, ok := errors.AsType[*net.OpError](err)
	return ok && failed.Op == "dial"
}

// lockPatience is how long a command waits for an agent that is at work.
const lockPatience = 30 * time.Second

// onDevice opens the directory of a device, takes it for itself, and runs do.
func (p *program) onDevice(cmd *cobra.Command, f *estFlags, do func(context.Context, *device.Device) error) error {
	if f.dir == "" {
		return &usageError{cmd: cmd, text: "something is missing: the directory for the device's keys and certificates (--dir DIR)"}
	}
	f.given = cmd.Flags().Changed("fingerprint")
	d, err := p.openDevice(f.dir, !f.noWait)
	if err != nil {
		return &estError{err}
	}
	patience, cancel := context.WithTimeout(cmd.Context(), lockPatience)
	defer cancel()
	unlock, err := d.Lock(patience)
	if err != nil {
		return &estError{err}
	}
	defer unlock()
	if err := do(cmd.Context(), d); err != nil {
		if f.state != nil {
			err = f.ended(cmd.Context(), d, err)
		}
		if _, usage := errors.AsType[*usageError](err); usage {
			return err
		}
		if _, input := errors.AsType[*inputError](err); input {
			return err
		}
		return &estError{err}
	}
	return nil
}

// ended tells how an order ended that failed, or that somebody interrupted: what it was
// told is kept only as long as something of it is under way.
func (f *estFlags) ended(ctx context.Context, d *device.Device, failed error) error {
	if _, deployed := errors.AsType[*undeployedError](failed); deployed {
		return failed
	}
	if f.state.Pending != nil && ctx.Err() != nil {
		return &keptError{d.Dir()}
	}
	return errors.Join(failed, d.Withdraw(f.state, failed))
}

// keptError says that somebody interrupted the wait for a decision.
type keptError struct{ dir string }

// Error says how it goes on.
func (e *keptError) Error() string {
	return "ended before there was an answer: the request is kept in " + e.dir + " with its key, and the same command, or chancery est agent, takes it up"
}

// undeployedError says that a certificate came and is not yet where it is wanted.
type undeployedError struct {
	dir string
	err error
}

// Error says how it goes on.
func (e *undeployedError) Error() string {
	return e.err.Error() + "\nThe agent tries again. Places and commands are changed with the next renewal: chancery est reenroll --dir " + e.dir + " --deploy COMMAND (--deploy '' for none)"
}

// Unwrap gives the reason.
func (e *undeployedError) Unwrap() error { return e.err }

func (p *program) openDevice(dir string, wait bool) (*device.Device, error) {
	o := device.Options{Observe: p.observeDevice, Wait: wait, UserAgent: "chancery"}
	if person := p.person(); person != nil {
		o.Person, o.PIN = person, p.askPIN
	}
	return device.Open(dir, o)
}

// ask reads the secrets that the flags name.
func (p *program) estAsk(f *estFlags) (device.Ask, error) {
	a := device.Ask{Fingerprint: f.fingerprint, Anew: f.anew, Where: &device.Login{User: f.user}}
	if f.fingerprint != "" || f.given { // an empty one is a mistake in a script, not a wish to be asked
		if _, _, err := est.ParseFingerprint(f.fingerprint); err != nil {
			return a, badInput("--fingerprint: %v", err)
		}
	}
	if f.user != "" || f.password != "" {
		word, where, err := p.estSecret(f.password, "Password of "+f.user+": ")
		if err != nil {
			return a, err
		}
		a.Login = &est.Login{User: f.user, Password: word}
		a.Where.Use, a.Where.Password = true, where
	}
	var err error
	if f.secret != "" {
		if a.Secret, a.Where.Secret, err = p.estSecret(f.secret, ""); err != nil {
			return a, err
		}
	}
	if f.revocation != "" {
		a.Revocation, a.Where.Revocation, err = p.estSecret(f.revocation, "")
		if n := utf8.RuneCountInString(string(a.Revocation)); err == nil && n < leastRevocation {
			err = badInput("--revocation-file: the secret has %d characters, and whoever guesses it revokes the certificate: %d are the least; make one with: openssl rand -hex 16", n, leastRevocation)
		}
	}
	return a, err
}

// leastRevocation is how many characters a secret that revokes a certificate has; our
// server refuses shorter ones, too.
const leastRevocation = 12

// estSecret reads a secret from a file, standard input, a credential, or the terminal, and
// gives where another process finds it; "" if it does not.
func (p *program) estSecret(from, prompt string) (est.Password, string, error) {
	switch {
	case from == "":
		word, err := p.askPassword(prompt)
		return word, "", err
	case from == "-":
		text, err := p.readUpTo("-", 4096)
		return est.Password(strings.TrimRight(string(text), "\r\n")), "", err
	case strings.HasPrefix(from, "credential:"), strings.HasPrefix(from, "file:"):
	default:
		full, err := filepath.Abs(from)
		if err != nil {
			return "", "", err
		}
		from = "file:" + full
	}
	secret, err := keys.ReadSecret(from)
	if errors.Is(err, keys.ErrNoFile) {
		return "", "", badInput("%v, or give - instead of its name and write the secret to standard input, as --password-file - does", err)
	}
	if err != nil {
		return "", "", badInput("%v", err)
	}
	return est.Password(secret.Reveal()), from, nil
}

// absolutes makes paths that hold in another directory, too.
func absolutes(paths ...*string) error {
	for _, path := range paths {
		if *path == "" {
			continue
		}
		full, err := filepath.Abs(*path)
		if err != nil {
			return err
		}
		*path = full
	}
	return nil
}

// inPassing runs do on a directory that is gone afterwards, for questions to a server
// where nothing is to be kept.
func (p *program) inPassing(cmd *cobra.Command, f *estFlags, do func(context.Context, *device.Device) error) error {
	dir, err := os.MkdirTemp("", "chancery-est-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	f.dir = dir
	return p.onDevice(cmd, f, do)
}

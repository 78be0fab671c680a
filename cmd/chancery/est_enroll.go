package main

import (
	"context"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"chancery/est"
	"chancery/internal/enroll/device"
	"chancery/internal/enroll/install"
	"chancery/internal/plain"
	"chancery/internal/token"

	"github.com/spf13/cobra"
)

const enrollLong = `Gets a certificate from an EST server (RFC 7030) for a device, and keeps it, its key and
what is trusted in one directory. The first time the server's CA has to be confirmed:
compare the fingerprint that is shown, or give it with --fingerprint.

Who asks is shown by a certificate of the device's maker (--with-cert, --with-key), or by a
user and password, which is used this one time: renewals show the certificate. If the
server wants a person to decide first this waits; ended by Ctrl-C or --no-wait, the same
command, or the agent, takes the request up again, with the same key. Where there is a
certificate already another one is got with --anew only. What a command was told is kept
for renewals; of one that fails nothing is, unless its request is under way.

Keys are files in the directory, or stay in a PKCS#11 token or a TPM 2.0: --key-in says where
new ones are made, --own-key and --with-key take the name of one that is there:

  pkcs11:token=T;object=LABEL;id=%01?module-path=/…/library.so&pin-source=file:/…/pin
  tpm:0x81000001 (a persistent handle), tpm:/…/key.pem (TSS2 PRIVATE KEY); ?device=/dev/tpmrm0

A PIN is never in a name: pin-source is file:PATH or credential:NAME, and without it you are
asked. docs/est-client.md tells more.

Exit status: 0 there is a certificate; 5 refused, by the server or since it is not the
right one; 6 not yet, or not now: try again.`

func (p *program) estEnroll() *cobra.Command {
	var f estFlags
	cmd := &cobra.Command{
		Use: "enroll --server URL --name NAME --dir DIR [flags]", Short: "get a first certificate", Long: enrollLong,
		Example: "  chancery est enroll --server https://est.example --name device1.example \\\n      --user u --password-file FILE --dir DIR",
		Args:    between(0, 0, "enroll takes flags only; names go into --name"),
		RunE: interruptible(func(cmd *cobra.Command, _ []string) error {
			return p.estRun(cmd, &f, func(ctx context.Context, d *device.Device, o estOrder) (*device.Outcome, error) {
				if err := enrolled(cmd, d, o); err != nil {
					return nil, err
				}
				return d.Enroll(ctx, o.state, o.ask)
			})
		}),
	}
	f.addServer(cmd)
	f.addLogin(cmd)
	f.addWanted(cmd)
	f.addKeyIn(cmd)
	cmd.Flags().BoolVar(&f.reuse, "reuse-key", false, "renewals keep the key")
	estTexts(cmd, textFlag{&f.ownKey, "own-key", "certify the key in this PEM `FILE` instead of a new one, which is copied; or the one that pkcs11:… or tpm:… names, which renewals then keep, unless --key-in says where theirs are made"})
	return cmd
}

// enrolled refuses to get a first certificate where a good one is, unless that is asked for.
func enrolled(cmd *cobra.Command, d *device.Device, o estOrder) error {
	c := o.state.Current
	if c == nil || o.ask.Anew || o.state.Pending != nil || d.Revoked(o.state) != nil || time.Now().After(c.NotAfter) {
		return nil
	}
	renew := "renew it with chancery est reenroll --dir " + d.Dir() + " (--new-name for another name)"
	if cmd.Name() == "serverkeygen" && c.ServerKey {
		renew = "chancery est agent renews it in time, again with a key of the server's"
	}
	return badInput("%s has a certificate already, for %s until %s: %s, or give --anew to get another one",
		d.Dir(), plain.Line(strings.Join(c.Names, ", "), 200), moment(c.NotAfter), renew)
}

// sealed refuses a key without encryption that nobody asked for.
func sealed(ctx context.Context, d *device.Device, o estOrder) error {
	if o.state.Pending != nil && !o.ask.Anew {
		return nil
	}
	err := d.CheckSealed(ctx, o.state)
	if errors.Is(err, device.ErrInClear) {
		return badInput("%v: give --shared-key ID=FILE with a key that the server knows, or --seal-to-cert FILE --seal-to-key FILE; --plain takes it so", err)
	}
	return err
}

func (p *program) estReenroll() *cobra.Command {
	var f estFlags
	cmd := &cobra.Command{
		Use: "reenroll --dir DIR [flags]", Short: "renew the certificate now",
		Long: `Renews the certificate in use, whenever it ends: with a new key unless --reuse-key, and
with the same names unless --new-name or --new-subject ask the server to change them.
"chancery est agent" does it by itself in time.`,
		Args: between(0, 0, "reenroll takes flags only"),
		RunE: interruptible(func(cmd *cobra.Command, _ []string) error {
			return p.estRun(cmd, &f, func(ctx context.Context, d *device.Device, o estOrder) (_ *device.Outcome, err error) {
				if o.ask.Change, err = f.change(); err != nil {
					return nil, err
				}
				return d.Reenroll(ctx, o.state, o.ask)
			})
		}),
	}
	f.addServer(cmd)
	f.addLogin(cmd)
	f.addWaiting(cmd)
	f.addPlaces(cmd)
	f.addKeyIn(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&f.reuse, "reuse-key", false, "keep the key, now and later")
	flags.BoolVar(&f.accept, "accept-changed", false, "take a certificate that lacks names that were asked for")
	flags.StringArrayVar(&f.newNames, "new-name", nil, "ask for this `NAME` instead of those in the certificate; may be repeated")
	estTexts(cmd, textFlag{&f.newSubject, "new-subject", "ask for this `SUBJECT` instead of the certificate's"},
		textFlag{&f.keyType, "key-type", "`KIND` of the new key"}, textFlag{&f.linking, "linking", "`WHERE` the request is tied to its TLS connection: challenge, identity or never"})
	return cmd
}

func (p *program) estServerKeyGen() *cobra.Command {
	var f estFlags
	cmd := &cobra.Command{
		Use: "serverkeygen --dir DIR [--server URL --name NAME] [flags]", Short: "have the server make the key, too",
		Long: `Gets a certificate of which the server makes the key. The key comes encrypted, beside
TLS, to the device's present certificate if its key may decrypt, or to the key that
--shared-key or --seal-to-cert name, which the server has to know. Where there is none of
them nothing is asked for, unless --plain takes the key as it comes through TLS. The agent
renews the certificate in the same way. Where there is a certificate already another one is
got with --anew only.`,
		Args: between(0, 0, "serverkeygen takes flags only; names go into --name"),
		RunE: interruptible(func(cmd *cobra.Command, _ []string) error {
			return p.estRun(cmd, &f, func(ctx context.Context, d *device.Device, o estOrder) (*device.Outcome, error) {
				if err := enrolled(cmd, d, o); err != nil {
					return nil, err
				}
				if err := sealed(ctx, d, o); err != nil {
					return nil, err
				}
				return d.ServerKey(ctx, o.state, o.ask)
			})
		}),
	}
	f.addServer(cmd)
	f.addLogin(cmd)
	f.addWanted(cmd)
	estTexts(cmd,
		textFlag{&f.shared, "shared-key", "`ID=FILE`: encrypted to this secret key of 16, 24 or 32 octets, or their hex digits; ID as the server knows it: a text, or hex:… or pairs of hexadecimal digits for octets, as \"chancery est key add --id\" has it"},
		textFlag{&f.sealCert, "seal-to-cert", "encrypted to the key of this certificate: PEM `FILE`"},
		textFlag{&f.sealKey, "seal-to-key", "PEM `FILE` with its key, or the name of one in a token (pkcs11:…)"})
	cmd.Flags().BoolVar(&f.plainKey, "plain", false, "take the key without encryption beside TLS, now and in renewals, though it could be encrypted")
	return cmd
}

// estOrder is what a command orders of a device.
type estOrder struct {
	state *device.State
	ask   device.Ask
}

// estRun configures a device as the flags say, does something with it, and shows what came.
func (p *program) estRun(cmd *cobra.Command, f *estFlags, do func(context.Context, *device.Device, estOrder) (*device.Outcome, error)) error {
	return p.onDevice(cmd, f, func(ctx context.Context, d *device.Device) error {
		ask, err := p.estAsk(f)
		if err != nil {
			return err
		}
		if err := p.estOwnKey(f, &ask); err != nil {
			return err
		}
		state, err := p.estConfigure(cmd, d, f)
		if err != nil {
			return err
		}
		o, err := do(ctx, d, estOrder{state, ask})
		if err != nil {
			return err
		}
		if err := p.estIssued(d, state, o); err != nil {
			return err
		}
		if o.Deployed != nil {
			return &undeployedError{d.Dir(), o.Deployed}
		}
		return nil
	})
}

// estConfigure puts what was typed over what the directory has.
func (p *program) estConfigure(cmd *cobra.Command, d *device.Device, f *estFlags) (*device.State, error) {
	configure := d.Configure
	if f.anew {
		configure = d.ConfigureAnew
	}
	state, err := configure(func(s *device.Settings) error {
		if f.server == "" && s.Server == "" && cmd.Name() == "reenroll" {
			return fmt.Errorf("%s: %w", d.Dir(), device.ErrNone)
		}
		if f.server == "" && s.Server == "" {
			return &usageError{cmd: cmd, text: "something is missing: the EST server (--server https://HOST)"}
		}
		return f.apply(cmd, s)
	})
	if err != nil {
		return nil, estInput(err)
	}
	f.state = state
	if f.anchors != "" {
		text, err := p.readInput(f.anchors)
		if err != nil {
			return nil, err
		}
		roots, err := install.ParseCertificates(text)
		if err != nil {
			return nil, badInput("%s: %v", f.anchors, err)
		}
		if err := d.SetAnchors(state, roots); err != nil {
			return nil, badInput("%s: %v", f.anchors, err)
		}
	}
	return state, nil
}

// estInput tells mistakes in what was typed from troubles with files.
func estInput(err error) error {
	if errors.Is(err, device.ErrNone) {
		return err
	}
	switch err.(type) {
	case *device.FileError, *usageError, *inputError:
		return err
	}
	return badInput("%s", plain.Line(err.Error(), 1000))
}

// apply puts what was typed over the settings.
func (f *estFlags) apply(cmd *cobra.Command, s *device.Settings) error {
	given := cmd.Flags().Changed
	for _, one := range []struct {
		into *string
		from string
		name string
	}{
		{&s.Server, f.server, "server"}, {&s.Label, f.label, "label"}, {&s.Implicit, f.implicit, "implicit"}, {&s.MaxTLS, f.maxTLS, "tls-max"},
		{&s.AnchorsOut, f.anchorsOut, "anchors-out"}, {&s.KeyType, f.keyType, "key-type"}, {&s.KeyIn, f.keyIn, "key-in"}, {&s.MAC, f.mac, "mac"}, {&s.Unit, f.unit, "unstructured-name"},
		{&s.Install.Cert, f.cert, "cert"}, {&s.Install.Key, f.key, "key"}, {&s.Install.Chain, f.chain, "chain"}, {&s.Install.FullChain, f.fullchain, "fullchain"},
		{&s.Install.Combined, f.combined, "combined"}, {&s.Install.Owner, f.owner, "owner"}, {&s.Install.Group, f.group, "group"},
	} {
		if given(one.name) {
			*one.into = one.from
		}
	}
	for name, one := range map[string]struct {
		into *bool
		from bool
	}{
		"keep-implicit": {&s.KeepImplicit, f.keepImplicit}, "allow-implicit-secrets": {&s.ImplicitSecrets, f.implicitSecrets},
		"reuse-key": {&s.ReuseKey, f.reuse}, "accept-changed": {&s.AcceptChanged, f.accept}, "plain": {&s.PlainKey, f.plainKey},
	} {
		if given(name) {
			*one.into = one.from
		}
	}
	if !given("reuse-key") && (f.ownToken || given("key-in")) { // a key in a token is not followed by one in a file
		s.ReuseKey = f.ownToken && s.KeyIn == ""
	}
	if f.shared != "" || f.sealCert != "" {
		if f.plainKey {
			return badInput("--plain takes the key without encryption: leave it out with --shared-key and --seal-to-cert")
		}
		s.PlainKey = false
	}
	if given("linking") {
		s.Linking = est.Linking(f.linking)
	}
	if given("deploy") {
		s.Hooks = install.Hooks{Deploy: shell(slices.DeleteFunc(f.deploy, func(line string) bool { return line == "" }))}
	}
	if s.Implicit != "" && s.Implicit != "system" {
		if err := absolutes(&s.Implicit); err != nil {
			return err
		}
	}
	if err := absolutes(&s.AnchorsOut, &s.Install.Cert, &s.Install.Key, &s.Install.Chain, &s.Install.FullChain, &s.Install.Combined); err != nil {
		return err
	}
	if err := f.applyModes(s); err != nil {
		return err
	}
	if err := f.applyKeys(s); err != nil {
		return err
	}
	return f.applyNames(cmd, s)
}

func (f *estFlags) applyModes(s *device.Settings) error {
	if f.mode != "" {
		if err := s.Install.Mode.UnmarshalText([]byte(f.mode)); err != nil {
			return badInput("--mode: %v", err)
		}
	}
	if f.keyMode != "" {
		if err := s.Install.KeyMode.UnmarshalText([]byte(f.keyMode)); err != nil {
			return badInput("--key-mode: %v", err)
		}
	}
	return nil
}

// applyKeys reads the flags that name keys in files.
func (f *estFlags) applyKeys(s *device.Settings) error {
	pair := func(into **device.Files, cert, key string) error {
		switch {
		case cert == "" && key == "":
			return nil
		case cert == "" || key == "":
			return badInput("a certificate to show or to encrypt to needs both files: the certificate's and its key's")
		}
		*into = &device.Files{Cert: cert, Key: key}
		if token.IsName(key) {
			return absolutes(&(*into).Cert)
		}
		return absolutes(&(*into).Cert, &(*into).Key)
	}
	if err := pair(&s.Maker, f.makerCert, f.makerKey); err != nil {
		return err
	}
	if err := pair(&s.SealTo, f.sealCert, f.sealKey); err != nil {
		return err
	}
	if f.shared == "" {
		return nil
	}
	id, file, ok := strings.Cut(f.shared, "=")
	if !ok || id == "" || file == "" {
		return badInput("--shared-key is ID=FILE: the name by which the server knows the key, and the file that holds it")
	}
	octets, err := est.ParseKeyIdentifier(id)
	if err != nil {
		return badInput("--shared-key: %v", err)
	}
	if !strings.HasPrefix(file, "credential:") {
		file = strings.TrimPrefix(file, "file:")
		if err := absolutes(&file); err != nil {
			return err
		}
		file = "file:" + file
	}
	s.Shared, s.SealTo = &device.SharedKey{ID: octets, Key: file}, nil
	return nil
}

// applyNames reads the names, each by its form.
func (f *estFlags) applyNames(cmd *cobra.Command, s *device.Settings) error {
	if len(f.names) > 0 {
		s.DNS, s.IP, s.Email, s.URI = nil, nil, nil, nil
		for _, name := range f.names {
			sorted(name, s)
		}
	}
	switch {
	case cmd.Flags().Changed("subject"):
		subject, err := subjectDER(f.subject)
		if err != nil {
			return err
		}
		s.Subject = subject
	case len(f.names) > 0:
		der, err := asn1.Marshal(pkix.Name{CommonName: f.names[0]}.ToRDNSequence())
		if err != nil {
			return err
		}
		s.Subject = der
	}
	return nil
}

// sorted puts a name where it belongs, by its form.
func sorted(name string, s *device.Settings) {
	u, err := url.Parse(name)
	switch {
	case net.ParseIP(name) != nil:
		s.IP = append(s.IP, name)
	case err == nil && u.Scheme != "" && strings.Contains(name, ":"):
		s.URI = append(s.URI, name)
	case strings.Contains(name, "@"):
		s.Email = append(s.Email, name)
	default:
		s.DNS = append(s.DNS, name)
	}
}

// serialNumber is how label patterns write the attribute.
var serialNumber = regexp.MustCompile(`(?i)((?:^|,)\s*)SN\s*=`)

// subjectDER reads a subject as people write it.
func subjectDER(text string) ([]byte, error) {
	parsed, err := parseSubject(serialNumber.ReplaceAllString(text, "${1}serialNumber="))
	if err != nil {
		return nil, err
	}
	if parsed.BusinessCategory != "" || parsed.JurisdictionCountry != "" {
		return nil, badInput("a device's subject has no businessCategory or jurisdiction")
	}
	one := func(value string) []string {
		if value == "" {
			return nil
		}
		return []string{value}
	}
	return asn1.Marshal(pkix.Name{
		CommonName: parsed.CommonName, SerialNumber: parsed.SerialNumber, Organization: one(parsed.Organization), OrganizationalUnit: one(parsed.OrganizationalUnit),
		Country: one(parsed.Country), Locality: one(parsed.Locality), Province: one(parsed.Province),
	}.ToRDNSequence())
}

// change is the ChangeSubjectName that --new-name and --new-subject ask for, the
// attribute's value; nil when they ask for nothing.
func (f *estFlags) change() ([]byte, error) {
	if len(f.newNames) == 0 && f.newSubject == "" {
		return nil, nil
	}
	var c est.NameChange
	var names device.Settings
	for _, name := range f.newNames {
		sorted(name, &names)
	}
	text := f.newSubject
	if text == "" {
		text = "CN=" + strings.ReplaceAll(f.newNames[0], ",", `\,`)
	}
	var err error
	if c.Subject, err = subjectDER(text); err != nil {
		return nil, err
	}
	if len(f.newNames) > 0 {
		r, err := names.Request()
		if err != nil {
			return nil, badInput("%v", err)
		}
		if c.SAN, err = r.SAN(); err != nil {
			return nil, badInput("%v", err)
		}
	}
	a, err := c.Attribute()
	if err != nil {
		return nil, err
	}
	return a.Values[0], nil
}

// estCertificate is what a command says of a certificate that came.
type estCertificate struct {
	Event       string    `json:"event"` // "finished"
	Names       []string  `json:"names"`
	Subject     string    `json:"subject"`
	Serial      string    `json:"serial"`
	SHA256      string    `json:"sha256"`
	NotBefore   time.Time `json:"notBefore"`
	NotAfter    time.Time `json:"notAfter"`
	Linked      bool      `json:"linked"`
	Differences []string  `json:"differences,omitempty"`
	Dir         string    `json:"dir"`
	Key         string    `json:"key"`
	KeyName     string    `json:"keyName,omitempty"` // where it is, if not in a file
	Cert        string    `json:"cert"`
	Chain       string    `json:"chain"`
	FullChain   string    `json:"fullchain"`
	Renew       time.Time `json:"renew"`
}

func (p *program) estIssued(d *device.Device, s *device.State, o *device.Outcome) error {
	c := estCertificate{
		Event: "finished", Names: s.Current.Names, Subject: o.Certificate.Subject.String(), Serial: s.Current.Serial, SHA256: s.Current.SHA256,
		NotBefore: s.Current.NotBefore, NotAfter: s.Current.NotAfter, Linked: o.Linked, Differences: o.Differences, Dir: d.Dir(),
		Key: o.Paths.Key, KeyName: o.Place, Cert: o.Paths.Cert, Chain: o.Paths.Chain, FullChain: o.Paths.FullChain, Renew: device.RenewAt(s.Current),
	}
	if p.json {
		(&progress{out: p.out}).line(c)
		return nil
	}
	fmt.Fprintf(p.out, "\nReady: a certificate for %s, valid until %s\n", plain.Line(strings.Join(c.Names, ", "), 500), moment(c.NotAfter))
	err := p.table(p.out, func(w io.Writer) {
		pairs(w, [2]string{"  files in", d.Lineage()}, [2]string{"  key in", plain.Line(c.KeyName, 1000)}, [2]string{"  installed", strings.Join(s.Settings.Install.Paths(), "\n")},
			[2]string{"  roots in", s.Settings.AnchorsOut}, [2]string{"  tied to its TLS connection", map[bool]string{true: "yes", false: "no"}[c.Linked]})
	})
	fmt.Fprintf(p.out, "\nIt is due on %s: \"chancery est agent --dir %s\" renews it then, while that runs.\n", day(c.Renew), d.Dir())
	return err
}

package main

import (
	"context"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"chancery/est"
	"chancery/internal/enroll/device"
	"chancery/internal/enroll/install"
	"chancery/internal/plain"

	"github.com/spf13/cobra"
)

func (p *program) estCACerts() *cobra.Command {
	var f estFlags
	var out string
	cmd := &cobra.Command{
		Use: "cacerts {--dir DIR | --server URL} [flags]", Short: "fetch the CA's certificates, and follow a change of its root",
		Long: `Fetches the CA's certificates (RFC 7030 §4.1). With --dir they are what the device trusts
from then on: roots that a known one vouches for join it by themselves, others only when
they are confirmed anew (--anew). Without --dir nothing is kept; --out writes them.`,
		Args: between(0, 0, "cacerts takes flags only"),
		RunE: interruptible(func(cmd *cobra.Command, _ []string) error {
			if err := mayWrite(out); err != nil {
				return err
			}
			run := p.onDevice
			if f.dir == "" && f.server != "" {
				run = p.inPassing
			}
			return run(cmd, &f, func(ctx context.Context, d *device.Device) error {
				return p.fetchAnchors(ctx, d, anchorsWanted{cmd, &f, out})
			})
		}),
	}
	f.addServer(cmd)
	flags := cmd.Flags()
	flags.StringVar(&out, "out", "", "write the certificates to `FILE` (PEM)")
	flags.BoolVar(&f.anew, "anew", false, "confirm the CA's root again, or another --server's, in place of the roots that are trusted now")
	return cmd
}

// anchorsWanted is what cacerts was told.
type anchorsWanted struct {
	cmd *cobra.Command
	f   *estFlags
	out string
}

// anchorShown is one CA certificate.
type anchorShown struct {
	Subject   string    `json:"subject"`
	Root      bool      `json:"root"`
	SHA256    string    `json:"sha256"`
	NotAfter  time.Time `json:"notAfter"`
	PEM       string    `json:"pem"`
	Confirmed bool      `json:"trusted"`
}

func (p *program) fetchAnchors(ctx context.Context, d *device.Device, w anchorsWanted) error {
	ask, err := p.estAsk(w.f)
	if err != nil {
		return err
	}
	s, err := p.estConfigure(w.cmd, d, w.f)
	if err != nil {
		return err
	}
	trust, err := d.Trust(s)
	switch {
	case err != nil:
		return err
	case w.f.anew || len(trust.Explicit) == 0 && (trust.Implicit == nil || trust.ImplicitOff):
		err = d.Bootstrap(ctx, s, ask.Fingerprint)
	default:
		_, err = d.Refresh(ctx, s)
	}
	if err != nil {
		return err
	}
	if trust, err = d.Trust(s); err != nil {
		return err
	}
	var shown []anchorShown
	all := slices.Concat(trust.Explicit, trust.Intermediates)
	for i, c := range all {
		shown = append(shown, anchorShown{
			Subject: c.Subject.String(), Root: i < len(trust.Explicit), SHA256: strings.TrimPrefix(est.Fingerprint(c.Raw, "sha256"), "sha256:"), NotAfter: c.NotAfter.UTC(),
			PEM: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})), Confirmed: i < len(trust.Explicit),
		})
	}
	if w.out != "" {
		to := w.out
		if err := absolutes(&to); err != nil {
			return err
		}
		if err := install.Put(ctx, to, install.EncodeCertificates(all...)); err != nil {
			return err
		}
	}
	if p.json {
		for _, a := range shown {
			(&progress{out: p.out}).line(a)
		}
		(&progress{out: p.out}).line(map[string]any{"event": "finished", "certificates": len(shown)})
		return nil
	}
	return p.show(shown, func(out io.Writer) {
		for _, a := range shown {
			kind := "leads to one"
			if a.Root {
				kind = "trusted root"
			}
			pairs(out, [2]string{kind, plain.Line(a.Subject, 500)}, [2]string{"", "until " + moment(a.NotAfter)}, [2]string{"", "SHA-256 " + colons(a.SHA256)})
		}
	})
}

func (p *program) estCSRAttrs() *cobra.Command {
	var f estFlags
	cmd := &cobra.Command{
		Use: "csrattrs {--dir DIR | --server URL} [flags]", Short: "show what the server wants of requests",
		Long: `Shows the CSR attributes (RFC 7030 §4.5, RFC 9908): which key, which hash, which extensions
and attributes the server wants requests to have. "chancery est enroll" obeys them by
itself; what it cannot tell by itself is said in flags.`,
		Args: between(0, 0, "csrattrs takes flags only"),
		RunE: interruptible(func(cmd *cobra.Command, _ []string) error {
			run := p.onDevice
			if f.dir == "" && f.server != "" {
				run = p.inPassing
			}
			return run(cmd, &f, func(ctx context.Context, d *device.Device) error {
				ask, err := p.estAsk(&f)
				if err != nil {
					return err
				}
				s, err := p.estConfigure(cmd, d, &f)
				if err != nil {
					return err
				}
				list, err := d.Wishes(ctx, s, ask)
				if err != nil {
					return err
				}
				return p.showWishes(list)
			})
		}),
	}
	f.addServer(cmd)
	f.addLogin(cmd)
	return cmd
}

// wishesShown is what csrattrs says.
type wishesShown struct {
	Key          string   `json:"key,omitempty"`
	Hash         string   `json:"hash,omitempty"`
	Template     bool     `json:"template"`
	Linking      []string `json:"linking,omitempty"` // where it may be
	Secrets      []string `json:"secrets,omitempty"`
	Extensions   []string `json:"extensions,omitempty"`
	Attributes   []string `json:"attributes,omitempty"`
	Tell         []string `json:"tell,omitempty"` // by the client
	Unmet        []string `json:"unmet,omitempty"`
	Ignored      []string `json:"ignored,omitempty"`
	Requirements []string `json:"list"` // as it came
}

// wishNames are what people call the usual ones.
var wishNames = map[string]string{
	"2.5.29.15": "key usage", "2.5.29.37": "extended key usage", "2.5.29.17": "subject alternative name", "2.5.29.19": "basic constraints",
	"2.5.4.3": "common name", "2.5.4.5": "serial number", "2.5.4.10": "organization", "2.5.4.11": "organizational unit", "2.5.4.6": "country",
	est.OIDMACAddress.String(): "MAC address (--mac)", est.OIDUnstructuredName.String(): "unstructured name (--unstructured-name)",
}

func wishName(kind asn1.ObjectIdentifier) string {
	if name := wishNames[kind.String()]; name != "" {
		return name + ", " + kind.String()
	}
	return kind.String()
}

func (p *program) showWishes(list est.CSRAttrs) error {
	out := wishesShown{Requirements: []string{}}
	for _, w := range list {
		out.Requirements = append(out.Requirements, w.Type.String())
	}
	w, err := est.Want(list)
	if err != nil {
		return err
	}
	texts := func(kinds []asn1.ObjectIdentifier) (all []string) {
		for _, k := range kinds {
			all = append(all, wishName(k))
		}
		return all
	}
	out.Key, out.Template, out.Unmet, out.Ignored, out.Tell = w.Key, w.Template, texts(w.Unmet), texts(w.Ignored), texts(w.Describe)
	if w.Hash != 0 {
		out.Hash = w.Hash.String()
	}
	for _, e := range w.Extensions {
		out.Extensions = append(out.Extensions, wishName(e.ID))
	}
	for _, a := range w.Attributes {
		out.Attributes = append(out.Attributes, wishName(a.Type))
	}
	if w.IdentityLinking {
		out.Linking = append(out.Linking, "identity")
	}
	if w.ChallengePassword {
		out.Linking = append(out.Linking, "challenge")
	}
	if w.OTPChallenge {
		out.Secrets = append(out.Secrets, "one-time password (--secret-file)")
	}
	if w.RevocationChallenge {
		out.Secrets = append(out.Secrets, "revocation secret (--revocation-file)")
	}
	return p.show(out, func(to io.Writer) {
		if len(list) == 0 {
			fmt.Fprintln(to, "The server wants nothing in particular.")
			return
		}
		pairs(to, [2]string{"key", out.Key}, [2]string{"hash of the signature", out.Hash}, [2]string{"tied to its connection", strings.Join(out.Linking, " or ")},
			[2]string{"secrets", strings.Join(out.Secrets, "\n")}, [2]string{"extensions", strings.Join(out.Extensions, "\n")}, [2]string{"attributes", strings.Join(out.Attributes, "\n")},
			[2]string{"to be told", strings.Join(out.Tell, "\n")}, [2]string{"cannot be had here", strings.Join(out.Unmet, "\n")}, [2]string{"not known, ignored", strings.Join(out.Ignored, "\n")})
	})
}

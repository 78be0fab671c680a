package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"chancery/est"
	"chancery/internal/enroll/device"

	"github.com/spf13/cobra"
)

// estReasons are why a certificate ends (RFC 5280 §5.3.1).
var estReasons = map[string]int{
	"unspecified": 0, "key-compromise": 1, "affiliation-changed": 3, "superseded": 4, "cessation-of-operation": 5, "certificate-hold": 6, "privilege-withdrawn": 9,
}

// fullFlags are fullcmc's own.
type fullFlags struct {
	estFlags
	crmf, revoke, anchors    bool
	identification, proof    string
	reason, comment, revoked string
}

func (p *program) estFullCMC() *cobra.Command {
	var f fullFlags
	cmd := &cobra.Command{
		Use: "fullcmc --dir DIR {--name NAME | --revoke | --published-anchors} [flags]", Short: "enrol, revoke or fetch trust anchors by CMC",
		Long: `Speaks CMC (RFC 5272) with servers that offer /fullcmc: enrols as "enroll" does, with a
PKCS #10 or CRMF request that the device's certificate, its maker's or the new key signs;
proves a shared secret (--identification, --proof-file); revokes the certificate in use;
or takes the trust anchors that the server publishes, the first time by their fingerprint.`,
		Args: apart(between(0, 0, "fullcmc takes flags only"), "revoke", "published-anchors"),
		RunE: interruptible(func(cmd *cobra.Command, _ []string) error {
			switch {
			case f.revoke:
				return p.estRevoke(cmd, &f)
			case f.anchors:
				return p.onDevice(cmd, &f.estFlags, func(ctx context.Context, d *device.Device) error {
					ask, err := p.estAsk(&f.estFlags)
					if err != nil {
						return err
					}
					s, err := p.estConfigure(cmd, d, &f.estFlags)
					if err != nil {
						return err
					}
					return d.Published(ctx, s, ask.Fingerprint)
				})
			}
			return p.estFullEnroll(cmd, &f)
		}),
	}
	f.addServer(cmd)
	f.addLogin(cmd)
	f.addWanted(cmd)
	f.addKeyIn(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&f.crmf, "crmf", false, "ask by CRMF (RFC 4211), not PKCS #10")
	flags.BoolVar(&f.revoke, "revoke", false, "have the certificate in use revoked")
	flags.BoolVar(&f.anchors, "published-anchors", false, "take the trust anchors that the server publishes")
	estTexts(cmd,
		textFlag{&f.identification, "identification", "the `NAME` that goes with the shared secret"},
		textFlag{&f.proof, "proof-file", "`FILE` with a shared secret that proves who asks"},
		textFlag{&f.reason, "reason", "why it is revoked: `WORD` of " + strings.Join(slices.Sorted(maps.Keys(estReasons)), ", ")},
		textFlag{&f.comment, "comment", "a `TEXT` for those who revoke it"},
		textFlag{&f.revoked, "revoked-by", "`FILE` with the secret that was registered with the certificate; it is then not signed by it"})
	return cmd
}

func (p *program) estFullEnroll(cmd *cobra.Command, f *fullFlags) error {
	return p.estRun(cmd, &f.estFlags, func(ctx context.Context, d *device.Device, o estOrder) (*device.Outcome, error) {
		full := device.Full{Ask: o.ask, CRMF: f.crmf}
		switch {
		case f.proof != "":
			secret, where, err := p.estSecret(f.proof, "")
			if err != nil {
				return nil, err
			}
			o.ask.Where.Proof = where
			full.Proof = &est.Proof{Name: f.identification, Secret: secret}
		case f.identification != "":
			return nil, badInput("--identification goes with --proof-file, the secret that proves it")
		}
		return d.FullEnroll(ctx, o.state, full)
	})
}

func (p *program) estRevoke(cmd *cobra.Command, f *fullFlags) error {
	reason, known := estReasons[f.reason]
	if f.reason != "" && !known {
		return badInput("%q is no reason: choose one of %s", f.reason, strings.Join(slices.Sorted(maps.Keys(estReasons)), ", "))
	}
	return p.onDevice(cmd, &f.estFlags, func(ctx context.Context, d *device.Device) error {
		s, err := d.State()
		if err != nil {
			return err
		}
		r := est.Revocation{Reason: reason, Comment: f.comment}
		if f.revoked != "" {
			if r.Secret, _, err = p.estSecret(f.revoked, ""); err != nil {
				return err
			}
		}
		if err := d.Revoke(ctx, s, r); err != nil {
			return err
		}
		if p.json {
			(&progress{out: p.out}).line(map[string]string{"event": "finished", "revoked": s.Current.Serial})
			return nil
		}
		fmt.Fprintf(p.out, "The server revoked the certificate %s. Its files are still in %s.\n", s.Current.Serial, d.Lineage())
		return nil
	})
}

package main

import (
	"io"
	"strings"

	"chancery/internal/desk"

	"github.com/spf13/cobra"
)

func (p *program) certRevoke() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use: "revoke {SERIAL | FILE} [--reason REASON]", Short: "revoke a certificate for good",
		Long: `Revokes a certificate. OCSP says so at once, the next CRL has it, and it cannot be
undone. Reasons (RFC 5280 §5.3.1): unspecified, keyCompromise, superseded,
cessationOfOperation, affiliationChanged, privilegeWithdrawn. keyCompromise also
keeps the key from being certified again.`,
		Args: between(1, 1, "the serial (hex, with or without colons) or a file with the certificate"),
		RunE: func(cmd *cobra.Command, args []string) error {
			in, err := p.which(args[0])
			if err != nil {
				return err
			}
			out, err := call[desk.Revoking, desk.Certificate](cmd.Context(), p, "cert.revoke", desk.Revoking{Which: in, Reason: reason})
			if err != nil {
				return err
			}
			return p.show(out, func(w io.Writer) {
				pairs(w, [2]string{"revoked", string(out.Serial)}, [2]string{"names", strings.Join(bare(out.Names), ", ")},
					[2]string{"reason", out.Reason}, [2]string{"at", moment(out.Revoked)})
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why (default unspecified)")
	return cmd
}

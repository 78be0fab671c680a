package main

import (
	"fmt"
	"io"

	"chancery/internal/desk"

	"github.com/spf13/cobra"
)

func (p *program) caRollover() *cobra.Command {
	var newName bool
	cmd := &cobra.Command{
		Use: "rollover NAME [--new-name]", Short: "replace a root or an issuer by a new one with a new key",
		Long: `Makes a new authority with a new key in the place of the one named, without an
outage: what the old one issued stays valid, and it goes on signing CRLs and OCSP.

  chancery ca rollover issuing   a new issuer under the same root
  chancery ca rollover root      a new root, tied to the old one by certificates in both
                                 directions, and new issuers below it

The new root has the old one's name (RFC 4210 section 4.4), and another key. ACME clients
that prefer a chain by the name on top cannot tell the two apart then: with --new-name it
has a name of its own.`,
		Args: between(1, 1, "the name of the line to roll over, such as issuing or root; see: chancery ca list"),
		RunE: func(cmd *cobra.Command, args []string) error {
			out, err := call[desk.Line, desk.RolledOver](cmd.Context(), p, "ca.rollover", desk.Line{Name: args[0], NewName: newName})
			if err != nil {
				return err
			}
			return p.show(out, func(w io.Writer) {
				fmt.Fprintln(w, "Made:")
				authorityTable(w, out.Made)
				fmt.Fprintln(w, "\nRetired (still sign CRLs and OCSP):")
				authorityTable(w, out.Retired)
				if len(out.Made) > 0 && out.Made[0].Root {
					fmt.Fprintf(w, "\nWho trusts the old root goes on as before. Let everybody install the new one in time:\n"+
						"  chancery%s ca root --out root.pem\n  chancery%s trust install\n", p.again(), p.again())
				}
			})
		},
	}
	cmd.Flags().BoolVar(&newName, "new-name", false, "give a new root a name of its own")
	return cmd
}

package main

import (
	"fmt"
	"io"
	"strings"

	"chancery/internal/enroll"

	"github.com/spf13/cobra"
)

// reasons are those that a subscriber may give (RFC 5280 §5.3.1).
var reasons = map[string]int{
	"unspecified": 0, "keyCompromise": 1, "affiliationChanged": 3, "superseded": 4, "cessationOfOperation": 5, "privilegeWithdrawn": 9,
}

func parseReason(text string) (int, error) {
	for name, code := range reasons {
		if strings.EqualFold(name, text) {
			return code, nil
		}
	}
	return 0, badInput("--reason %q is none of unspecified, keyCompromise, affiliationChanged, superseded, cessationOfOperation, privilegeWithdrawn", text)
}

func (p *program) revoke() *cobra.Command {
	var f clientFlags
	var reason string
	var what enroll.Revocation
	cmd := &cobra.Command{
		Use: "revoke NAME [--reason REASON] [--by-key]", Short: "have a certificate that get obtained revoked by its CA",
		Long: `Asks the CA that issued the certificate to revoke it, for good. It is signed by the
account by which it was obtained, or by the certificate's own key with --by-key, for
which no account is needed. The next renewal gets another certificate, with another key.

Reasons: unspecified, keyCompromise, affiliationChanged, superseded,
cessationOfOperation, privilegeWithdrawn. To revoke at a server of your own, as its
administrator: chancery cert revoke.`,
		Args: between(1, 1, "the name of the certificate, as chancery renew --list shows it"),
		RunE: interruptible(func(cmd *cobra.Command, args []string) (err error) {
			if what.Reason, err = parseReason(reason); err != nil {
				return err
			}
			c, err := p.openClient(cmd, &f, p.telling())
			if err != nil {
				return err
			}
			defer p.closeClient(cmd.Context(), c)
			rec, err := c.Engine.Revoke(cmd.Context(), args[0], what)
			if err != nil {
				return err
			}
			return p.show(heldOf(c, rec, nil), func(w io.Writer) {
				pairs(w, [2]string{"revoked", rec.Current.Serial}, [2]string{"names", strings.Join(rec.Sheet.Names, ", ")}, [2]string{"at", moment(rec.Revoked)})
				fmt.Fprintf(w, "\nThe next renewal gets another one, with another key: chancery renew %s\n", args[0])
			})
		}),
	}
	f.addWay(cmd)
	cmd.Flags().StringVar(&reason, "reason", "unspecified", "why")
	cmd.Flags().BoolVar(&what.ByKey, "by-key", false, "sign with the certificate's key instead of the account's")
	return cmd
}

func (p *program) forget() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use: "forget NAME [--yes]", Short: "stop renewing a certificate, and delete it and its key from the data directory",
		Long: `Deletes a certificate that get obtained from the data directory, with its keys. What was
installed elsewhere stays, and the certificate stays valid until its end: revoke it first
if it should not.`,
		Args: between(1, 1, "the name of the certificate, as chancery renew --list shows it"),
		RunE: interruptible(func(cmd *cobra.Command, args []string) error {
			c, err := p.openClient(cmd, &clientFlags{}, nil)
			if err != nil {
				return err
			}
			defer p.closeClient(cmd.Context(), c)
			name := args[0]
			if _, err := c.Vault.Record(name); err != nil {
				return err
			}
			if err := p.sure(yes, "This deletes the certificate "+name+" and its keys.", name); err != nil {
				return err
			}
			unlock, err := c.Vault.Lock(cmd.Context(), name)
			if err != nil {
				return err
			}
			defer unlock()
			if err := c.Vault.Remove(cmd.Context(), name); err != nil {
				return err
			}
			return p.show(map[string]string{"removed": name}, func(w io.Writer) { pairs(w, [2]string{"removed", name}) })
		}),
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

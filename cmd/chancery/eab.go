package main

import (
	"fmt"
	"io"
	"time"

	"chancery/internal/acmeserver"

	"github.com/spf13/cobra"
)

func (p *program) eab() *cobra.Command {
	cmd := group("eab", "external account keys for ACME", `External account binding (RFC 8555 §7.3.4): keys that you hand out, with each of which
one ACME account can be opened. acme.require_eab = true makes them a condition.`)
	cmd.AddCommand(p.eabCreate(), p.eabList(), p.eabWithdraw())
	return cmd
}

func (p *program) eabCreate() *cobra.Command {
	var expires string
	cmd := &cobra.Command{
		Use: "create LABEL [--expires TIME]", Short: "make a key for one account",
		Long: "Makes a key and shows it this once. The label says for whom it is.",
		Args: between(1, 1, `for whom the key is, as one argument: "web team"`),
		RunE: func(cmd *cobra.Command, args []string) error {
			end, err := parseWhen(expires, time.Now())
			if err != nil {
				return err
			}
			k, err := call[acmeserver.KeyWanted, acmeserver.KeyMade](cmd.Context(), p, "eab.create", acmeserver.KeyWanted{Label: args[0], Expires: end})
			if err != nil {
				return err
			}
			return p.show(k, func(w io.Writer) {
				pairs(w, [2]string{"key id", k.ID}, [2]string{"HMAC key", k.Secret}, [2]string{"directory", k.URL}, [2]string{"expires", moment(end)})
				fmt.Fprintf(w, "\nThe HMAC key is not shown again. To use it:\n"+
					"  certbot register --server %s \\\n    --eab-kid %s \\\n    --eab-hmac-key %s\n"+
					"  lego --server %s --eab \\\n    --kid %s \\\n    --hmac %s ...\n", k.URL, k.ID, k.Secret, k.URL, k.ID, k.Secret)
			})
		},
	}
	cmd.Flags().StringVar(&expires, "expires", "", "usable until this `TIME`: 2027-01-31, an RFC 3339 time, or 30d (default for ever)")
	return cmd
}

func (p *program) eabList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "list the keys and what became of them", Args: between(0, 0, "list takes no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			out, err := call[struct{}, acmeserver.KeysShown](cmd.Context(), p, "eab.list", struct{}{})
			if err != nil {
				return err
			}
			return p.show(out, func(w io.Writer) {
				if len(out.Keys) == 0 {
					fmt.Fprintf(w, "There are no external account keys; make one: chancery%s eab create LABEL\n", p.again())
					return
				}
				fmt.Fprintln(w, "KEY ID\tSTATE\tCREATED\tEXPIRES\tACCOUNT\tLABEL")
				for _, k := range out.Keys {
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, k.State, day(k.Created), orDash(day(k.Expires)), orDash(k.Account), k.Label)
				}
			})
		},
	}
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

func (p *program) eabWithdraw() *cobra.Command {
	return &cobra.Command{
		Use: "withdraw KEY-ID", Short: "withdraw a key that was not used", Args: between(1, 1, "the key's id; see: chancery eab list"),
		RunE: func(cmd *cobra.Command, args []string) error {
			_, err := call[acmeserver.Named, struct{}](cmd.Context(), p, "eab.withdraw", acmeserver.Named{ID: args[0]})
			if err != nil {
				return err
			}
			return p.show(map[string]string{"withdrawn": args[0]}, func(w io.Writer) { pairs(w, [2]string{"withdrawn", args[0]}) })
		},
	}
}

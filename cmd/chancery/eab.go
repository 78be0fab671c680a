package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"chancery/internal/acmeserver"
	"chancery/internal/registry"

	"github.com/spf13/cobra"
)

func (p *program) eab() *cobra.Command {
	cmd := group("eab", "external account keys for ACME", `External account binding (RFC 8555 §7.3.4): keys that you hand out, with which ACME
accounts can be opened. acme.require_eab = true makes them a condition. Accounts that are
opened with a customer's key are bound to him.`)
	cmd.AddCommand(p.eabCreate(), p.eabList(), p.eabShow(), p.eabWithdraw())
	return cmd
}

func (p *program) eabCreate() *cobra.Command {
	var in acmeserver.KeyWanted
	var expires, uses string
	cmd := &cobra.Command{
		Use: "create [LABEL] [--customer ID] [--uses {NUMBER | many}] [--expires TIME] [--algorithm NAME]", Short: "make a key to open accounts with",
		Long: "Makes a key and shows it this once. The label says for whom it is; it may be left out\nfor a customer's.",
		Args: between(0, 1, `for whom the key is, as one argument: "web team"`),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			switch {
			case len(args) == 1:
				in.Label = args[0]
			case in.Customer == "":
				return &usageError{cmd: cmd, text: `something is missing: for whom the key is, as one argument ("web team") or by --customer`}
			}
			if in.Uses, err = parseUses(uses); err != nil {
				return err
			}
			if in.Expires, err = parseWhen(expires, time.Now()); err != nil {
				return err
			}
			k, err := call[acmeserver.KeyWanted, acmeserver.KeyMade](cmd.Context(), p, "eab.create", in)
			if err != nil {
				return err
			}
			return p.show(k, func(w io.Writer) { showNewKey(w, k, in.Expires) })
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&in.Customer, "customer", "", "bind the accounts to the customer with this `ID`")
	flags.StringVar(&uses, "uses", "1", "good for this `NUMBER` of accounts, or many")
	flags.StringVar(&expires, "expires", "", "usable until this `TIME`: 2027-01-31, an RFC 3339 time, or 30d (default for ever)")
	flags.StringVar(&in.Algorithm, "algorithm", "", "take bindings by this `NAME` alone: HS256, HS384, HS512 (default any of them)")
	return cmd
}

// parseUses reads a number of accounts.
func parseUses(text string) (int, error) {
	if text == "many" {
		return registry.Many, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, badInput("--uses %q is neither a number of accounts nor many", text)
	}
	return n, nil
}

func usesOf(uses, most int) string {
	if most < 0 {
		return fmt.Sprintf("%d of many", uses)
	}
	return fmt.Sprintf("%d of %d", uses, most)
}

func showNewKey(w io.Writer, k acmeserver.KeyMade, end time.Time) {
	pairs(w, [2]string{"key id", k.ID}, [2]string{"HMAC key", k.Secret}, [2]string{"directory", k.URL}, [2]string{"customer", k.Customer},
		[2]string{"accounts", usesOf(0, k.Uses)}, [2]string{"algorithm", k.Algorithm}, [2]string{"expires", moment(end)})
	fmt.Fprintf(w, "\nThe HMAC key is not shown again. To use it:\n"+
		"  certbot register --server %s \\\n    --eab-kid %s \\\n    --eab-hmac-key %s\n"+
		"  lego --server %s --eab \\\n    --kid %s \\\n    --hmac %s ...\n", k.URL, k.ID, k.Secret, k.URL, k.ID, k.Secret)
}

func (p *program) eabList() *cobra.Command {
	var in acmeserver.KeysWanted
	cmd := &cobra.Command{
		Use: "list [--limit NUMBER] [--cursor CURSOR]", Short: "list the keys and what became of them, newest first", Args: between(0, 0, "list takes flags only"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			out, err := call[acmeserver.KeysWanted, acmeserver.KeysShown](cmd.Context(), p, "eab.list", in)
			if err != nil {
				return err
			}
			return p.show(out, func(w io.Writer) {
				if len(out.Keys) == 0 {
					fmt.Fprintf(w, "There are no external account keys; make one: chancery%s eab create LABEL\n", p.again())
					return
				}
				fmt.Fprintln(w, "KEY ID\tSTATE\tUSES\tCREATED\tEXPIRES\tACCOUNT\tCUSTOMER\tLABEL")
				for _, k := range out.Keys {
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, k.State, usesOf(k.Uses, k.Most), day(k.Created), orDash(day(k.Expires)), orDash(k.Account), orDash(k.Name), k.Label)
				}
				more(w, out.Next)
			})
		},
	}
	paged(cmd, &in.Limit, &in.Cursor)
	return cmd
}

func (p *program) eabShow() *cobra.Command {
	return &cobra.Command{
		Use: "show KEY-ID", Short: "show a key and the accounts that were opened with it", Args: between(1, 1, "the key's id; see: chancery eab list"),
		RunE: func(cmd *cobra.Command, args []string) error {
			k, err := call[acmeserver.Named, acmeserver.KeyShown](cmd.Context(), p, "eab.show", acmeserver.Named{ID: args[0]})
			if err != nil {
				return err
			}
			return p.show(k, func(w io.Writer) {
				pairs(w, [2]string{"key id", k.ID}, [2]string{"label", k.Label}, [2]string{"state", string(k.State)}, [2]string{"customer", k.Name},
					[2]string{"uses", usesOf(k.Uses, k.Most)}, [2]string{"algorithm", k.Algorithm}, [2]string{"created", moment(k.Created)}, [2]string{"by", k.By},
					[2]string{"expires", moment(k.Expires)}, [2]string{"first used", moment(k.Used)}, [2]string{"withdrawn", moment(k.Withdrawn)},
					[2]string{"accounts", strings.Join(k.Accounts, "\n")})
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
		Use: "withdraw KEY-ID", Short: "withdraw a key: no account more is opened with it",
		Long: "Withdraws a key. Accounts that were opened with it stay; close them one by one with\nchancery acme account deactivate. chancery eab show lists them.",
		Args: between(1, 1, "the key's id; see: chancery eab list"),
		RunE: func(cmd *cobra.Command, args []string) error {
			_, err := call[acmeserver.Named, struct{}](cmd.Context(), p, "eab.withdraw", acmeserver.Named{ID: args[0]})
			if err != nil {
				return err
			}
			return p.show(map[string]string{"withdrawn": args[0]}, func(w io.Writer) { pairs(w, [2]string{"withdrawn", args[0]}) })
		},
	}
}

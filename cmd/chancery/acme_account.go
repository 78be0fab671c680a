package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"chancery/internal/acmeserver"

	"github.com/spf13/cobra"
)

// acme is the server's side of ACME; "chancery account" is the client's.
func (p *program) acme() *cobra.Command {
	cmd := group("acme", "the running server's ACME side: account", "Shows and changes what the running server keeps for its ACME clients.\nchancery account is the client's: this machine's accounts at CAs.")
	accounts := group("account", "the ACME accounts at this server: list, show, deactivate", "Lists, shows and closes the ACME accounts at the running server.")
	accounts.AddCommand(p.acmeAccountList())
	for _, op := range []struct{ use, short, operation string }{
		{"show", "show an ACME account", "acme.account.show"},
		{"deactivate", "close an ACME account for good; its certificates stay valid", "acme.account.close"},
	} {
		accounts.AddCommand(&cobra.Command{
			Use: op.use + " {ID | URL}", Short: op.short, Args: between(1, 1, "the account's id or URL, as its client tells it"),
			RunE: func(cmd *cobra.Command, args []string) error {
				return p.acmeAccountDo(cmd.Context(), op.operation, args[0])
			},
		})
	}
	cmd.AddCommand(accounts)
	return cmd
}

func (p *program) acmeAccountList() *cobra.Command {
	var in acmeserver.AccountsWanted
	cmd := &cobra.Command{
		Use: "list [--limit NUMBER] [--cursor CURSOR]", Short: "list the ACME accounts, newest first", Args: between(0, 0, "list takes flags only"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			out, err := call[acmeserver.AccountsWanted, acmeserver.AccountsShown](cmd.Context(), p, "acme.account.list", in)
			if err != nil {
				return err
			}
			return p.show(out, func(w io.Writer) { acmeAccountTable(w, out) })
		},
	}
	paged(cmd, &in.Limit, &in.Cursor)
	return cmd
}

// more says that a list goes on.
func more(w io.Writer, next string) {
	if next != "" {
		fmt.Fprintf(w, "\nThere are more: add --cursor %s\n", next)
	}
}

func acmeAccountTable(w io.Writer, out acmeserver.AccountsShown) {
	if len(out.Accounts) == 0 {
		fmt.Fprintln(w, "There are no ACME accounts.")
		return
	}
	fmt.Fprintln(w, "ID\tSTATUS\tCREATED\tBOUND TO\tCONTACTS")
	for _, a := range out.Accounts {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", a.ID, a.Status, day(a.Created), orDash(a.Binding), orDash(strings.Join(a.Contacts, ", ")))
	}
	more(w, out.Next)
}

func (p *program) acmeAccountDo(ctx context.Context, operation, id string) error {
	id = id[strings.LastIndexByte(id, '/')+1:]
	a, err := call[acmeserver.Named, acmeserver.AccountShown](ctx, p, operation, acmeserver.Named{ID: id})
	if err != nil {
		return err
	}
	return p.show(a, func(w io.Writer) {
		pairs(w, [2]string{"id", a.ID}, [2]string{"URL", a.URL}, [2]string{"status", string(a.Status)},
			[2]string{"contacts", strings.Join(a.Contacts, "\n")}, [2]string{"bound to", a.Binding},
			[2]string{"key thumbprint", a.Thumb}, [2]string{"created", moment(a.Created)}, [2]string{"terms agreed", moment(a.Agreed)})
	})
}

package main

import (
	"context"
	"io"
	"strings"

	"chancery/internal/acmeserver"

	"github.com/spf13/cobra"
)

func (p *program) account() *cobra.Command {
	cmd := group("account", "ACME accounts: show, deactivate", "Shows and closes ACME accounts on the running server.")
	for _, op := range []struct{ use, short, operation string }{
		{"show", "show an ACME account", "acme.account.show"},
		{"deactivate", "close an ACME account for good; its certificates stay valid", "acme.account.close"},
	} {
		cmd.AddCommand(&cobra.Command{
			Use: op.use + " {ID | URL}", Short: op.short, Args: between(1, 1, "the account's id or URL, as its client tells it"),
			RunE: func(cmd *cobra.Command, args []string) error {
				return p.accountDo(cmd.Context(), op.operation, args[0])
			},
		})
	}
	return cmd
}

func (p *program) accountDo(ctx context.Context, operation, id string) error {
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

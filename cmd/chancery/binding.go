package main

import (
	"fmt"
	"io"
	"strings"

	"chancery/internal/acmeserver"
	"chancery/internal/desk"
	"chancery/internal/registry"

	"github.com/spf13/cobra"
)

func (p *program) binding() *cobra.Command {
	cmd := group("binding", "whose an ACME account is: list, show, add, confirm, refuse, end", `An ACME account that proves a customer's domain, or claims his address, is his only once
that was confirmed: by himself on the page that his mail links to, or here. A question
that nobody answers ends by itself. Once it is ended, the account's orders rest on the
binding no more; what was issued stays (chancery cert revoke).`)
	cmd.AddCommand(p.bindingList(), p.bindingShow(), p.bindingAdd(),
		p.bindingDecide("confirm", "say in the customer's place that the account is his"),
		p.bindingDecide("refuse", "say in the customer's place that the account is not his"),
		p.bindingDecide("end", "end a confirmed binding: the account gets no more certificates by it"))
	return cmd
}

func (p *program) bindingList() *cobra.Command {
	var in desk.BindingsWanted
	var state, account string
	cmd := &cobra.Command{
		Use: "list [--state STATE] [--customer ID] [--account {ID | URL}]", Short: "list bindings, newest first",
		Args: between(0, 0, "list takes flags only"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			in.State, in.Account = registry.BindingState(state), account[strings.LastIndexByte(account, '/')+1:]
			out, err := call[desk.BindingsWanted, desk.Bindings](cmd.Context(), p, "binding.list", in)
			if err != nil {
				return err
			}
			return p.show(out, func(w io.Writer) {
				if len(out.Bindings) == 0 {
					fmt.Fprintln(w, "There are no such bindings.")
					return
				}
				fmt.Fprintln(w, "ID\tSTATE\tVIA\tASKED\tACCOUNT\tDOMAIN\tCUSTOMER")
				for _, b := range out.Bindings {
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", b.ID, b.State, b.Via, day(b.Asked), b.Account, orDash(b.Domain), b.CustomerName)
				}
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&state, "state", "", "only those that are in this `STATE`: pending, confirmed, refused, expired, ended")
	flags.StringVar(&in.Customer, "customer", "", "only this customer's, by `ID`")
	flags.StringVar(&account, "account", "", "only this account's, by `ID` or URL")
	limited(cmd, &in.Limit)
	return cmd
}

func (p *program) bindingShow() *cobra.Command {
	return &cobra.Command{
		Use: "show BINDING", Short: "show a binding", Args: between(1, 1, "the binding's id; see: chancery binding list"),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := call[desk.BindingNamed, desk.Binding](cmd.Context(), p, "binding.show", desk.BindingNamed{ID: args[0]})
			if err != nil {
				return err
			}
			return p.showBinding(b)
		},
	}
}

func (p *program) bindingAdd() *cobra.Command {
	var in acmeserver.BindingWanted
	cmd := &cobra.Command{
		Use: "add {ID | URL} CUSTOMER [--reason TEXT]", Short: "make an ACME account a customer's on your own word: nobody is asked",
		Args: between(2, 2, "the account's id or URL and the customer's id; see: chancery acme account list, chancery customer list"),
		RunE: func(cmd *cobra.Command, args []string) error {
			in.Account, in.Customer = args[0][strings.LastIndexByte(args[0], '/')+1:], args[1]
			b, err := call[acmeserver.BindingWanted, acmeserver.BindingMade](cmd.Context(), p, "binding.add", in)
			if err != nil {
				return err
			}
			return p.show(b, func(w io.Writer) {
				pairs(w, [2]string{"id", b.ID}, [2]string{"state", string(b.State)}, [2]string{"account", b.Account}, [2]string{"account URL", b.URL},
					[2]string{"customer", b.Name + " (" + b.Customer + ")"})
			})
		},
	}
	cmd.Flags().StringVar(&in.Reason, "reason", "", "why, as one line of `TEXT`")
	return cmd
}

func (p *program) bindingDecide(verb, short string) *cobra.Command {
	in := desk.BindingDecided{}
	cmd := &cobra.Command{
		Use: verb + " BINDING [--reason TEXT]", Short: short, Args: between(1, 1, "the binding's id; see: chancery binding list"),
		RunE: func(cmd *cobra.Command, args []string) error {
			in.ID = args[0]
			b, err := call[desk.BindingDecided, desk.Binding](cmd.Context(), p, "binding."+verb, in)
			if err != nil {
				return err
			}
			return p.showBinding(b)
		},
	}
	cmd.Flags().StringVar(&in.Reason, "reason", "", "why, as one line of `TEXT`")
	return cmd
}

func (p *program) showBinding(b desk.Binding) error {
	return p.show(b, func(w io.Writer) {
		pairs(w, [2]string{"id", b.ID}, [2]string{"state", string(b.State)}, [2]string{"account", b.Account}, [2]string{"account URL", b.AccountURL},
			[2]string{"key thumbprint", b.Thumb}, [2]string{"customer", b.CustomerName + " (" + b.Customer + ")"}, [2]string{"via", string(b.Via)},
			[2]string{"domain", b.Domain}, [2]string{"claims to be", b.Contact}, [2]string{"asked", moment(b.Asked)}, [2]string{"told", moment(b.Told)},
			[2]string{"ends", moment(b.Expires)}, [2]string{"decided", moment(b.Decided)}, [2]string{"by", b.By}, [2]string{"reason", b.Reason})
	})
}

package main

import (
	"fmt"
	"io"

	"chancery/internal/desk"

	"github.com/spf13/cobra"
)

func (p *program) customerDomain() *cobra.Command {
	cmd := group("domain", "a customer's domains: add, verify, vouch, list, remove", `A proven domain covers itself and all names below it, for 398 days; verify or vouch
renews it. Several customers may prove the same domain.`)
	cmd.AddCommand(p.domainOne("add", "register a domain and show the TXT record that proves it"),
		p.domainOne("verify", "look for the TXT record: prove the domain, or renew the proof"),
		p.domainOne("vouch", "prove a domain, or renew the proof, on your own word"), p.domainList(), p.domainRemove())
	return cmd
}

const domainArgs = "the customer's id and the domain"

func (p *program) domainOne(verb, short string) *cobra.Command {
	force := false
	cmd := &cobra.Command{
		Use: verb + " CUSTOMER DOMAIN", Short: short, Args: between(2, 2, domainArgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			named := desk.DomainNamed{Customer: args[0], Domain: args[1]}
			var d desk.Domain
			var err error
			if verb == "add" {
				d, err = call[desk.DomainAdded, desk.Domain](cmd.Context(), p, "customer.domain.add", desk.DomainAdded{DomainNamed: named, Force: force})
			} else {
				d, err = call[desk.DomainNamed, desk.Domain](cmd.Context(), p, "customer.domain."+verb, named)
			}
			if err != nil {
				return err
			}
			if d.Warning != "" {
				p.warn("%s", d.Warning)
			}
			return p.show(d, func(w io.Writer) {
				pairs(w, [2]string{"domain", d.Name}, [2]string{"state", proof(d)})
				if d.State == "unproven" {
					fmt.Fprintf(w, "\nSet this record in the DNS, then verify it:\n  %s. 300 IN TXT %q\n  chancery%s customer domain verify %s %s\n", d.Record, d.Value, p.again(), args[0], d.Name)
				}
			})
		},
	}
	if verb == "add" {
		cmd.Use += " [--force]"
		cmd.Flags().BoolVar(&force, "force", false, "take a public suffix too, such as co.uk: everybody's domains below it")
	}
	return cmd
}

func (p *program) domainList() *cobra.Command {
	return &cobra.Command{
		Use: "list CUSTOMER", Short: "list a customer's domains and their proofs", Args: between(1, 1, customerID),
		RunE: func(cmd *cobra.Command, args []string) error {
			out, err := call[desk.CustomerNamed, desk.Domains](cmd.Context(), p, "customer.domain.list", desk.CustomerNamed{ID: args[0]})
			if err != nil {
				return err
			}
			return p.show(out, func(w io.Writer) {
				if len(out.Domains) == 0 {
					fmt.Fprintf(w, "The customer has no domains; register one: chancery%s customer domain add %s DOMAIN\n", p.again(), args[0])
					return
				}
				fmt.Fprintln(w, "DOMAIN\tSTATE\tTXT RECORD\tVALUE")
				for _, d := range out.Domains {
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", d.Name, proof(d), d.Record, d.Value)
				}
			})
		},
	}
}

func (p *program) domainRemove() *cobra.Command {
	return &cobra.Command{
		Use: "remove CUSTOMER DOMAIN", Short: "forget a domain and its proof", Args: between(2, 2, domainArgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			return do(cmd.Context(), p, deed[desk.DomainNamed]{"customer.domain.remove", desk.DomainNamed{Customer: args[0], Domain: args[1]}, [2]string{"removed", args[1]}})
		},
	}
}

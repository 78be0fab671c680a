package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"chancery/internal/desk"
	"chancery/internal/registry"

	"github.com/spf13/cobra"
)

const customerID = "the customer's id; see: chancery customer list"

func (p *program) customer() *cobra.Command {
	cmd := group("customer", "customers: who they are, their domains and addresses", `Customers are those whom the authority certifies. What is known of one (verified
addresses, proven domains, vettings) decides whose an ACME account is: an account that
was opened with a customer's key (chancery eab create --customer) is his; of others he is
asked (chancery binding).`)
	cmd.AddCommand(p.customerAdd(), p.customerList(), p.customerOne("show", "show a customer and his domains"),
		p.customerOne("suspend", "stop serving a customer: no certificates for his accounts, no new ones, nothing bound to him"),
		p.customerOne("resume", "serve a suspended customer again"), p.customerContact(), p.customerDomain(), p.customerPassphrase(), p.customerVet())
	return cmd
}

func (p *program) customerAdd() *cobra.Command {
	return &cobra.Command{
		Use: "add NAME", Short: "make a customer", Args: between(1, 1, `the customer's name, as one argument: "Example Ltd."`),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := call[desk.CustomerWanted, desk.Customer](cmd.Context(), p, "customer.add", desk.CustomerWanted{Name: args[0]})
			if err != nil {
				return err
			}
			return p.showCustomer(c)
		},
	}
}

func (p *program) customerList() *cobra.Command {
	var in desk.CustomersWanted
	cmd := &cobra.Command{
		Use: "list [--limit NUMBER] [--cursor CURSOR]", Short: "list the customers, newest first", Args: between(0, 0, "list takes flags only"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			out, err := call[desk.CustomersWanted, desk.Customers](cmd.Context(), p, "customer.list", in)
			if err != nil {
				return err
			}
			return p.show(out, func(w io.Writer) {
				if len(out.Customers) == 0 {
					fmt.Fprintf(w, "There are no customers; make one: chancery%s customer add NAME\n", p.again())
					return
				}
				fmt.Fprintln(w, "ID\tSTATE\tCREATED\tADDRESSES\tNAME")
				for _, c := range out.Customers {
					fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\n", c.ID, c.State, day(c.Created), len(c.Contacts), c.Name)
				}
				more(w, out.Next)
			})
		},
	}
	paged(cmd, &in.Limit, &in.Cursor)
	return cmd
}

// customerOne is a command whose operation, of the same name, takes one customer.
func (p *program) customerOne(verb, short string) *cobra.Command {
	return &cobra.Command{
		Use: verb + " CUSTOMER", Short: short, Args: between(1, 1, customerID),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := call[desk.CustomerNamed, desk.Customer](cmd.Context(), p, "customer."+verb, desk.CustomerNamed{ID: args[0]})
			if err != nil {
				return err
			}
			return p.showCustomer(c)
		},
	}
}

func (p *program) showCustomer(c desk.Customer) error {
	return p.show(c, func(w io.Writer) {
		pairs(w, [2]string{"id", c.ID}, [2]string{"name", c.Name}, [2]string{"state", string(c.State)}, [2]string{"created", moment(c.Created)},
			[2]string{"suspended", moment(c.Suspended)}, [2]string{"passphrase", map[bool]string{true: "set"}[c.CanSignIn]})
		for _, one := range c.Contacts {
			fmt.Fprintf(w, "address\t%s (%s)\n", one.Address, verification(one))
		}
		for _, one := range c.Domains {
			fmt.Fprintf(w, "domain\t%s (%s)\n", one.Name, proof(one))
		}
		for _, v := range c.Vettings {
			fmt.Fprintf(w, "%s\t%s until %s\n", v.Kind, subjectOf(v), day(v.Until))
		}
	})
}

func verification(c desk.Contact) string {
	if c.Verified.IsZero() {
		return "not verified"
	}
	return "verified " + day(c.Verified) + ", " + c.How
}

func proof(d desk.Domain) string {
	switch d.State {
	case "proven":
		return "proven until " + day(d.Expires) + ", " + d.How
	case "expired":
		return "proof ended " + day(d.Expires)
	}
	return "not proven"
}

func subjectOf(v desk.Vetting) string {
	var parts []string
	for _, one := range [][2]string{{"O", v.Organization}, {"L", v.Locality}, {"ST", v.Province}, {"C", v.Country}, {"serialNumber", v.Serial},
		{"businessCategory", v.Category}, {"jurisdictionCountry", v.Jurisdiction}} {
		if one[1] != "" {
			parts = append(parts, one[0]+"="+one[1])
		}
	}
	return strings.Join(parts, ", ")
}

func (p *program) customerVet() *cobra.Command {
	var in desk.VettingWanted
	var until string
	cmd := &cobra.Command{
		Use:   "vet CUSTOMER --kind KIND --organization NAME --until TIME [...]",
		Short: "record what an examination of a customer found",
		Long: `Records what an examination found, instead of the last one of its kind. Profiles of
that kind put it into the subject of certificates for accounts that are bound to the customer.`,
		Example: `  chancery customer vet CUSTOMER --kind ca-ov --organization 'Example Ltd.' \
    --locality Berlin --country DE --until 365d
  chancery customer vet CUSTOMER --kind ca-ev --organization 'Example GmbH' \
    --locality Berlin --country DE --serial 'HRB 12345' --until 365d \
    --business-category 'Private Organization' --jurisdiction-country DE`,
		Args: between(1, 1, customerID),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if in.Kind == "" || in.Organization == "" || until == "" {
				return &usageError{cmd: cmd, text: "say what was found, of whom, and until when it counts: --kind, --organization, --until"}
			}
			if in.Until, err = parseWhen(until, time.Now()); err != nil {
				return err
			}
			in.Customer = args[0]
			c, err := call[desk.VettingWanted, desk.Customer](cmd.Context(), p, "customer.vet", in)
			if err != nil {
				return err
			}
			return p.showCustomer(c)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&in.Kind, "kind", "", "the `KIND` of examination: ca-ov, ca-ev, ca-qwac")
	flags.StringVar(&in.Organization, "organization", "", "the organization's `NAME`")
	flags.StringVar(&in.Country, "country", "", "two `LETTERS` of ISO 3166")
	flags.StringVar(&in.Locality, "locality", "", "`CITY`")
	flags.StringVar(&in.Province, "province", "", "state or `PROVINCE`")
	flags.StringVar(&in.Serial, "serial", "", "`NUMBER` in a register")
	flags.StringVar(&in.Category, "business-category", "", "`WHAT` it is: "+strings.Join(registry.Categories, ", "))
	flags.StringVar(&in.Jurisdiction, "jurisdiction-country", "", "where it is registered: two `LETTERS` of ISO 3166")
	flags.StringVar(&until, "until", "", "good until this `TIME`: 2027-01-31, an RFC 3339 time, or 365d")
	return cmd
}

// deed is an operation that gives nothing, and what to say when it is done.
type deed[In any] struct {
	operation string
	in        In
	done      [2]string
}

func do[In any](ctx context.Context, p *program, d deed[In]) error {
	if _, err := call[In, struct{}](ctx, p, d.operation, d.in); err != nil {
		return err
	}
	return p.show(map[string]string{d.done[0]: d.done[1]}, func(w io.Writer) { pairs(w, d.done) })
}

package main

import (
	"io"
	"slices"

	"chancery/internal/enroll"
	"chancery/internal/enroll/vault"

	"github.com/spf13/cobra"
)

func (p *program) discover() *cobra.Command {
	var f clientFlags
	cmd := &cobra.Command{
		Use: "discover NAME... [--json]", Short: "which CA would certify these names, and why",
		Long: `Reads the CAA records of the names, works out which CAs their owners want, in which
order, and looks at each CA's directory. It says what was found where in the DNS,
whether DNSSEC vouches for it, what each record means, which CAs were ruled out and by
what rule, and what each CA wants: terms, an external account binding, challenges.

No account is made and nothing is ordered; "chancery get" does that, the same way.
Exit status: 0 there is a CA to ask; 3 there is none, or none of them can be used.`,
		Annotations: map[string]string{endsAsRun: "yes"},
		Args:        between(1, 1000, "the names of one certificate: shop.example www.shop.example"),
		RunE: interruptible(func(cmd *cobra.Command, args []string) error {
			c, err := p.openClient(cmd, &f, nil)
			if err != nil {
				return err
			}
			defer p.closeClient(cmd.Context(), c)
			challenges, err := f.challenges()
			if err != nil {
				return err
			}
			sheet := vault.Sheet{Name: vault.Label(args[0]), Names: args, Challenge: challenges, CA: f.choice()}
			report, err := c.Engine.Discover(cmd.Context(), sheet, enroll.Options{})
			if err != nil && len(report.Judged) == 0 {
				return &enrolError{enroll.Failed, err}
			}
			if showing := p.show(report, func(w io.Writer) { showReport(w, report, c.DNS) }); showing != nil {
				return showing
			}
			if err != nil || !usable(report) {
				return &enrolError{enroll.Failed, nil} // the report says why
			}
			return nil
		}),
	}
	f.add(cmd)
	return cmd
}

// usable tells whether any CA of a report could be asked for the certificate.
func usable(r enroll.Report) bool {
	return slices.ContainsFunc(r.Offers, func(o enroll.OfferReport) bool { return o.Usable })
}

// enrolError ends a command of the client with the status of a run's result (D17).
type enrolError struct {
	result enroll.Result
	err    error // nil: everything was said
}

// Error is what went wrong.
func (e *enrolError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

// Unwrap gives the cause.
func (e *enrolError) Unwrap() error { return e.err }

package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"chancery/internal/config"
	"chancery/internal/desk"

	"github.com/spf13/cobra"
)

func (p *program) certList() *cobra.Command {
	in := desk.Search{}
	var before string
	cmd := &cobra.Command{
		Use: "list [flags]", Short: "list certificates, newest first",
		Example: "  chancery cert list --state valid --ends-before 30d\n  chancery cert list --name www.corp.example",
		Args:    between(0, 0, "list takes flags only; did you mean --name?"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if in.Before, err = parseWhen(before, time.Now()); err != nil {
				return err
			}
			out, err := call[desk.Search, desk.Found](cmd.Context(), p, "cert.list", in)
			if err != nil {
				return err
			}
			return p.show(out, func(w io.Writer) { p.certTable(w, out) })
		},
	}
	f := cmd.Flags()
	f.StringVar(&in.Name, "name", "", "only those with exactly this `NAME`")
	f.StringVar(&in.Profile, "profile", "", "only of this `PROFILE`")
	f.StringVar(&in.Account, "account", "", "only of this ACME account (`ID` or URL)")
	f.StringVar(&in.Issuer, "issuer", "", "only of this issuer (`ID`, see ca list)")
	f.StringVar(&in.State, "state", "", "only those in this `STATE`: valid, expired, revoked or pending")
	f.StringVar(&before, "ends-before", "", "only those that end before this `TIME`: 2027-01-31, an RFC 3339 time, or 30d from now")
	paged(cmd, &in.Limit, &in.Cursor)
	return cmd
}

// parseWhen reads a time as people write it; "" is the zero time.
func parseWhen(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	d, err := config.ParseDuration(text)
	if err != nil {
		return time.Time{}, badInput("%q is no time: write 2027-01-31, 2027-01-31T12:00:00Z, or 30d for 30 days from now", text)
	}
	return now.Add(d.Std()), nil
}

func (p *program) certTable(w io.Writer, out desk.Found) {
	if len(out.Certificates) == 0 {
		fmt.Fprintln(w, "There are no such certificates.")
		return
	}
	fmt.Fprintln(w, "SERIAL\tSTATE\tENDS\tPROFILE\tNAMES")
	for _, c := range out.Certificates {
		names := bare(c.Names)
		if len(names) > 3 {
			names = append(names[:3], fmt.Sprintf("and %d more", len(c.Names)-3))
		}
		text := strings.Join(names, ", ")
		if text == "" {
			text = c.Subject
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", c.Serial, c.State, day(c.NotAfter), c.Profile, text)
	}
	if out.Next != "" {
		fmt.Fprintf(w, "\nThere are more: add --cursor %s\n", out.Next)
	}
}

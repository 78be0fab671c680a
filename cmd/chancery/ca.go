package main

import (
	"fmt"
	"io"
	"strings"

	"chancery/internal/desk"

	"github.com/spf13/cobra"
)

func (p *program) ca() *cobra.Command {
	cmd := group("ca", "the authorities: roots and issuers", "Shows and changes the authorities of the running server.")
	cmd.AddCommand(p.caList(), p.caRoot(), p.caRollover(), p.caCSR(), p.caImport())
	return cmd
}

func (p *program) caList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "list roots and issuers", Args: between(0, 0, "list takes no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			out, err := call[struct{}, desk.Authorities](cmd.Context(), p, "ca.list", struct{}{})
			if err != nil {
				return err
			}
			return p.show(out, func(w io.Writer) { authorityTable(w, out.Authorities) })
		},
	}
}

func authorityTable(w io.Writer, list []desk.Authority) {
	fmt.Fprintln(w, "NAME\tID\tSTATE\tKEY\tENDS\tMAY CERTIFY\tSUBJECT")
	for _, a := range list {
		key := a.Key
		if !a.HasKey {
			key += " (not here)"
		}
		state := string(a.State)
		if !a.Revoked.IsZero() {
			state += " " + day(a.Revoked) + ", " + a.Reason
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", a.Name, a.ID, state, key, day(a.NotAfter), scope(a.Domains), a.Subject)
	}
}

// scope says in a word what name constraints permit.
func scope(domains []string) string {
	if len(domains) == 0 {
		return "every name"
	}
	return strings.Join(domains, ", ")
}

func (p *program) caRoot() *cobra.Command {
	var fingerprint, all bool
	var out string
	cmd := &cobra.Command{
		Use: "root [--fingerprint] [--out FILE] [--all]", Short: "print the root certificate (PEM) or its fingerprint",
		Long: "Prints the newest root certificate, which relying parties install. After a rollover of the\nroot, --all adds the older ones, which those who have not learned the new one still trust.",
		Args: between(0, 0, "root takes no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			roots, err := call[struct{}, desk.Roots](cmd.Context(), p, "ca.roots", struct{}{})
			if err != nil {
				return err
			}
			if len(roots.Roots) == 0 {
				return fmt.Errorf("this server has no root of its own: its issuer was certified elsewhere; ask there for the root")
			}
			if !all {
				roots.Roots = roots.Roots[:1]
			}
			return p.showRoots(roots, out, fingerprint)
		},
	}
	cmd.Flags().BoolVar(&fingerprint, "fingerprint", false, "only the SHA-256 fingerprint")
	cmd.Flags().StringVar(&out, "out", "", "write the PEM to `FILE`")
	cmd.Flags().BoolVar(&all, "all", false, "also older roots")
	return cmd
}

func (p *program) showRoots(roots desk.Roots, out string, fingerprint bool) error {
	var text strings.Builder
	for _, r := range roots.Roots {
		text.WriteString(r.PEM)
	}
	if out != "" {
		if err := writeOutput(out, []byte(text.String())); err != nil {
			return err
		}
	}
	return p.show(roots, func(w io.Writer) {
		switch {
		case fingerprint:
			for _, r := range roots.Roots {
				fmt.Fprintln(w, colons(r.Fingerprint))
			}
		case out == "":
			fmt.Fprint(w, text.String())
		default:
			for _, r := range roots.Roots {
				pairs(w, [2]string{"root", r.Subject}, [2]string{"SHA-256", colons(r.Fingerprint)}, [2]string{"ends", day(r.NotAfter)})
			}
			pairs(w, [2]string{"written to", out})
		}
	})
}

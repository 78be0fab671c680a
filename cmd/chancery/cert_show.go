package main

import (
	"fmt"
	"io"

	"chancery/internal/desk"

	"github.com/spf13/cobra"
)

func (p *program) certShow() *cobra.Command {
	var onlyPEM, chain bool
	cmd := &cobra.Command{
		Use: "show {SERIAL | FILE}", Short: "show a certificate and how it came about",
		Args: apart(between(1, 1, "the serial (hex, with or without colons) or a file with the certificate"), "pem", "chain"),
		RunE: func(cmd *cobra.Command, args []string) error {
			in, err := p.which(args[0])
			if err != nil {
				return err
			}
			out, err := call[desk.Which, desk.Whole](cmd.Context(), p, "cert.show", in)
			if err != nil {
				return err
			}
			if (onlyPEM || chain) && out.PEM == "" {
				return fmt.Errorf("the certificate %s is not signed yet; try again in a minute", out.Serial)
			}
			return p.show(out, func(w io.Writer) {
				switch {
				case chain:
					fmt.Fprint(w, out.Chain)
				case onlyPEM:
					fmt.Fprint(w, out.PEM)
				default:
					whole(w, &out)
				}
			})
		},
	}
	cmd.Flags().BoolVar(&onlyPEM, "pem", false, "only the certificate in PEM")
	cmd.Flags().BoolVar(&chain, "chain", false, "only the certificate and those above it in PEM")
	return cmd
}

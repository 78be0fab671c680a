package main

import (
	"fmt"
	"io"

	"chancery/internal/ca"
	"chancery/internal/desk"

	"github.com/spf13/cobra"
)

// crlLimit bounds one CRL in octets; all that is given has to fit into the
// server's 16 MiB, in which octets count four thirds.
const crlLimit = 11 << 20

func (p *program) caImport() *cobra.Command {
	in := desk.AuthorityGiven{}
	var key string
	var crls []string
	cmd := &cobra.Command{
		Use: "import FILE... [--key FILE | --key-name NAME]", Short: "take in an authority that was certified or made elsewhere",
		Long: `Takes in an authority: its certificate first, then those above it, in one file or
several (PEM). The key is here already (--key-name, told by chancery ca csr), or it
comes along (--key, PEM, not encrypted), and is kept encrypted from then on.
--revoked takes the authority's newest CRL, so that ours go on from it. A renewed
certificate of an authority that is here already needs no key: it is added.`,
		Args: apart(between(1, 20, "the certificate file, and those of the authorities above it"), "key", "key-name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := p.readAuthority(&in, args, key); err != nil {
				return err
			}
			for _, name := range crls {
				text, err := p.readUpTo(name, crlLimit)
				if err != nil {
					return err
				}
				in.CRLs = append(in.CRLs, text)
			}
			taken, err := call[desk.AuthorityGiven, desk.AuthorityTaken](cmd.Context(), p, "ca.import", in)
			if err != nil {
				return err
			}
			return p.show(taken, func(w io.Writer) {
				authorityTable(w, []desk.Authority{taken.Authority})
				if taken.Renewed {
					fmt.Fprint(w, "\nIt was here already, and works under the new certificate from now on.\n")
				} else {
					fmt.Fprintf(w, "\nIt issues from now on, with %d revocation(s) taken over. An older issuer of the same name\nis retired.\n", taken.Revoked)
				}
				for _, note := range taken.Notes {
					fmt.Fprintf(w, "Note: %s.\n", note)
				}
			})
		},
	}
	cmd.Flags().StringVar(&in.Name, "name", ca.DefaultLine, "the line that it joins")
	cmd.Flags().StringVar(&key, "key", "", "private key `FILE` (PEM)")
	cmd.Flags().StringVar(&in.KeyName, "key-name", "", "`NAME` of the key that is here already")
	cmd.Flags().StringArrayVar(&crls, "revoked", nil, "its newest CRL (`FILE`, PEM or DER); may be repeated")
	cmd.Flags().StringSliceVar(&in.Revoked, "revoked-serial", nil, "a serial that it revoked; may be repeated")
	return cmd
}

// readAuthority reads certificates and key into the operation's input.
func (p *program) readAuthority(in *desk.AuthorityGiven, files []string, key string) error {
	for _, name := range files {
		text, err := p.readInput(name)
		if err != nil {
			return err
		}
		in.Chain = append(append(in.Chain, text...), '\n')
	}
	if len(files) == 1 {
		in.Chain = in.Chain[:len(in.Chain)-1] // one may be DER
	}
	if key == "" {
		return nil
	}
	var err error
	in.Key, err = p.readInput(key)
	return err
}

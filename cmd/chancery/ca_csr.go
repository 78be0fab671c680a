package main

import (
	"fmt"
	"io"

	"chancery/internal/ca"
	"chancery/internal/desk"

	"github.com/spf13/cobra"
)

func (p *program) caCSR() *cobra.Command {
	in := desk.AuthorityWanted{}
	var out, discard string
	var yes bool
	cmd := &cobra.Command{
		Use: "csr {[NAME] [--key KIND] [--organization NAME] [--out FILE] | --discard KEY [--yes]}", Short: "make a key and a CSR, to become an issuer under another authority",
		Long: `Makes a new key in the server's key store and prints the request that another authority is
to certify as a CA. The certificate comes back with: chancery ca import

A key whose request nobody will certify is put out of use with --discard KEY; "chancery
keys list" has their names. No certificate for it can be imported after that. Its file
stays in the key directory, under a name that ends in .retired.`,
		Args: between(0, 1, "the name of the line, issuing unless told otherwise"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if discard != "" && (len(args) > 0 || in.Key != "" || in.Organization != "" || out != "") {
				return &usageError{cmd: cmd, text: "--discard KEY stands alone: it makes no request"}
			}
			if discard != "" {
				return p.discardKey(cmd, discard, yes)
			}
			if err := mayWrite(out); err != nil {
				return err
			}
			in.Name = ca.DefaultLine
			if len(args) > 0 {
				in.Name = args[0]
			}
			made, err := call[desk.AuthorityWanted, desk.AuthorityRequest](cmd.Context(), p, "ca.csr", in)
			if err != nil {
				return err
			}
			return p.showRequest(made, out)
		},
	}
	cmd.Flags().StringVar(&in.Key, "key", "", "`KIND` of key: ecdsa-p256, ecdsa-p384, rsa-4096, … (default as configured)")
	cmd.Flags().StringVar(&in.Organization, "organization", "", "organisation in the subject, by its `NAME` (default as configured)")
	cmd.Flags().StringVar(&out, "out", "", "write the CSR to `FILE`")
	cmd.Flags().StringVar(&discard, "discard", "", "put the `KEY` of an earlier request out of use instead")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask before --discard")
	return cmd
}

func (p *program) discardKey(cmd *cobra.Command, key string, yes bool) error {
	discard := desk.KeyUnwanted{KeyName: key, Check: true}
	if !yes { // nobody is asked about what cannot be
		if _, err := call[desk.KeyUnwanted, desk.KeyUnwanted](cmd.Context(), p, "ca.discard", discard); err != nil {
			return err
		}
	}
	discard.Check = false
	if err := p.sure(yes, "This puts the key "+key+" out of use: no certificate for it can be imported any more.", key); err != nil {
		return err
	}
	gone, err := call[desk.KeyUnwanted, desk.KeyUnwanted](cmd.Context(), p, "ca.discard", discard)
	if err != nil {
		return err
	}
	return p.show(gone, func(w io.Writer) { pairs(w, [2]string{"discarded", gone.KeyName}) })
}

// showRequest keeps standard output clean for the CSR.
func (p *program) showRequest(made desk.AuthorityRequest, out string) error {
	file := "CSR"
	if out != "" {
		file = out
		if err := writeOutput(out, []byte(made.CSR)); err != nil {
			return err
		}
	}
	if p.json {
		return p.showJSON(made)
	}
	if out == "" {
		fmt.Fprint(p.out, made.CSR)
	}
	fmt.Fprintf(p.err, "The key is %s. Have the other authority certify %s as a CA, then take in the\ncertificate followed by those above it:\n  chancery%s ca import --name %s --key-name %s CERTIFICATE.pem\n",
		made.KeyName, file, p.again(), made.Name, made.KeyName)
	return nil
}

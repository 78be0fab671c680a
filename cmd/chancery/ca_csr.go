package main

import (
	"fmt"

	"chancery/internal/ca"
	"chancery/internal/desk"

	"github.com/spf13/cobra"
)

func (p *program) caCSR() *cobra.Command {
	in := desk.AuthorityWanted{}
	var out string
	cmd := &cobra.Command{
		Use: "csr [NAME] [--key ALGORITHM] [--out FILE]", Short: "make a key and a CSR, to become an issuer under another authority",
		Long: "Makes a new key in the server's key store and prints the request that another authority is\nto certify as a CA. The certificate comes back with: chancery ca import",
		Args: between(0, 1, "the name of the line, issuing unless told otherwise"),
		RunE: func(cmd *cobra.Command, args []string) error {
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
	cmd.Flags().StringVar(&in.Key, "key", "", "kind of key: ecdsa-p256, ecdsa-p384, rsa-4096, … (default as configured)")
	cmd.Flags().StringVar(&in.Organization, "organization", "", "organisation in the subject (default as configured)")
	cmd.Flags().StringVar(&out, "out", "", "write the CSR to `FILE`")
	return cmd
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

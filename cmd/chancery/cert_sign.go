package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"chancery/internal/desk"

	"github.com/spf13/cobra"
)

// signing is what cert sign was told.
type signing struct {
	desk.Signing
	subject, until, out string
}

func (p *program) certSign() *cobra.Command {
	s := signing{}
	cmd := &cobra.Command{
		Use: "sign {FILE.csr | -} [flags]", Short: "certify a CSR; your approval is the evidence",
		Long: `Certifies a CSR (PEM or DER) under a profile. That you may type this is the proof of
the names, and it is recorded who did. The certificate and those above it go to
standard output, or to --out; what was done is told on standard error.`,
		Example: "  chancery cert sign printer.csr --out printer.pem\n  chancery cert sign laptop.csr --profile tls-client --days 30",
		Args:    apart(between(1, 1, "the file with the CSR, or - for standard input"), "days", "until"),
		RunE: func(cmd *cobra.Command, args []string) error {
			err := mayWrite(s.out)
			if err != nil {
				return err
			}
			if s.CSR, err = p.readInput(args[0]); err != nil {
				return err
			}
			if cmd.Flags().Changed("subject") {
				if s.Subject, err = parseSubject(s.subject); err != nil {
					return err
				}
			}
			if s.NotAfter, err = parseWhen(s.until, time.Now()); err != nil {
				return err
			}
			made, err := call[desk.Signing, desk.Whole](cmd.Context(), p, "cert.sign", s.Signing)
			if err != nil {
				return err
			}
			return p.signed(&made, s.out)
		},
	}
	f := cmd.Flags()
	f.StringVar(&s.Profile, "profile", "", "the rules to certify under (default tls-server; see profile list)")
	f.StringSliceVar(&s.Names, "name", nil, "certify this `NAME` instead of the CSR's; may be repeated")
	f.StringVar(&s.subject, "subject", "", `subject instead of the CSR's, as "CN=www.corp.example,O=Corp"; "" for none`)
	f.IntVar(&s.Days, "days", 0, "valid for so many days (default the profile's life)")
	f.StringVar(&s.until, "until", "", "valid until this `TIME`: 2027-01-31, an RFC 3339 time, or 30d")
	f.StringVar(&s.Request, "request", "", "a `WORD` of yours: the same word gets the same certificate again")
	f.StringVar(&s.out, "out", "", "write certificate and chain to `FILE`")
	return cmd
}

func (p *program) signed(made *desk.Whole, out string) error {
	if out != "" {
		if err := writeOutput(out, []byte(made.Chain)); err != nil {
			return fmt.Errorf("%w; the certificate is issued all the same: chancery%s cert show --chain %s", err, p.again(), made.Serial)
		}
	}
	if p.json {
		return p.showJSON(made)
	}
	told := p.err
	if out == "" {
		fmt.Fprint(p.out, made.Chain)
	} else {
		told = p.out
	}
	return p.table(told, func(w io.Writer) {
		pairs(w, [2]string{"serial", string(made.Serial)}, [2]string{"names", strings.Join(bare(made.Names), ", ")},
			[2]string{"subject", made.Subject}, [2]string{"profile", made.Profile},
			[2]string{"valid until", moment(made.NotAfter)}, [2]string{"written to", out})
	})
}

// parseSubject reads "CN=www.corp.example,O=Corp"; a comma in a value is "\,".
func parseSubject(text string) (*desk.Subject, error) {
	s := &desk.Subject{}
	fields := map[string]*string{
		"CN": &s.CommonName, "SERIALNUMBER": &s.SerialNumber, "O": &s.Organization,
		"OU": &s.OrganizationalUnit, "C": &s.Country, "L": &s.Locality, "ST": &s.Province,
		"BUSINESSCATEGORY": &s.BusinessCategory, "JURISDICTIONC": &s.JurisdictionCountry,
	}
	const comma = "\x00"
	for part := range strings.SplitSeq(strings.ReplaceAll(text, `\,`, comma), ",") {
		if strings.TrimSpace(part) == "" {
			continue
		}
		key, value, found := strings.Cut(part, "=")
		field := fields[strings.ToUpper(strings.TrimSpace(key))]
		if !found || field == nil {
			return nil, badInput(`%q is no part of a subject: write it as "CN=www.corp.example,O=Corp", with CN, O, OU, C, L, ST, serialNumber, businessCategory, jurisdictionC`, strings.ReplaceAll(part, comma, ","))
		}
		if *field != "" {
			return nil, badInput("the subject has %s twice", strings.TrimSpace(key))
		}
		*field = strings.ReplaceAll(strings.TrimSpace(value), comma, ",")
	}
	return s, nil
}

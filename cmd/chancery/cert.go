package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"chancery/internal/ca"
	"chancery/internal/desk"

	"github.com/spf13/cobra"
)

func (p *program) cert() *cobra.Command {
	cmd := group("cert", "certificates: list, show, sign, revoke", "Shows, signs and revokes certificates on the running server.")
	cmd.AddCommand(p.certList(), p.certShow(), p.certSign(), p.certRevoke())
	return cmd
}

// which reads an argument that names a certificate: a serial, or a file with it.
func (p *program) which(arg string) (desk.Which, error) {
	_, serial := ca.ParseSerial(arg)
	if _, err := os.Stat(arg); arg != "-" && errors.Is(err, fs.ErrNotExist) {
		if serial != nil {
			return desk.Which{}, badInput("%q is neither a serial number (hex) nor a file with a certificate; see: chancery%s cert list", arg, p.again())
		}
		return desk.Which{Serial: arg}, nil
	}
	text, err := p.readInput(arg)
	return desk.Which{Certificate: text}, err
}

// whole shows one certificate to people.
func whole(w io.Writer, c *desk.Whole) {
	state := c.State
	if !c.Revoked.IsZero() {
		state += ", " + c.Reason + ", at " + moment(c.Revoked)
	}
	pairs(w,
		[2]string{"serial", string(c.Serial)},
		[2]string{"state", state},
		[2]string{"names", strings.Join(c.Names, "\n")},
		[2]string{"subject", c.Subject},
		[2]string{"profile", c.Profile},
		[2]string{"valid from", moment(c.NotBefore)},
		[2]string{"valid until", moment(c.NotAfter)},
		[2]string{"issuer", fmt.Sprintf("%s (%s)", c.Authority, c.Issuer)},
		[2]string{"asked for by", c.Room + ": " + c.By},
		[2]string{"asked at", moment(c.Asked)},
		[2]string{"issued at", moment(c.Issued)},
		[2]string{"request", c.Request},
	)
	if d := c.Details; d != nil {
		pairs(w,
			[2]string{"key", d.Key},
			[2]string{"signature", d.Signature},
			[2]string{"SHA-256", colons(d.Fingerprint)},
			[2]string{"key id", d.SubjectKeyID},
			[2]string{"CRL", strings.Join(d.CRLs, "\n")},
			[2]string{"OCSP", strings.Join(d.OCSP, "\n")},
			[2]string{"issuer at", strings.Join(d.Issuers, "\n")},
		)
	}
}

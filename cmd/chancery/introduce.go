package main

import (
	"crypto/x509"
	"fmt"
	"io"
	"path/filepath"

	"chancery/internal/desk"
)

func rootsSeen(roots []*x509.Certificate) []rootSeen {
	seen := make([]rootSeen, 0, len(roots))
	for _, cert := range roots {
		seen = append(seen, rootSeen{Subject: cert.Subject.String(), Fingerprint: desk.Fingerprint(cert.Raw), Domains: cert.PermittedDNSDomains})
	}
	return seen
}

// introduce is what somebody reads who has just started chancery for the first
// time: what there is now, what to be careful about, what to type next.
func (p *program) introduce(r ready) error {
	fmt.Fprint(p.out, "chancery made a new certification authority and is ready.\n\n")
	err := p.table(p.out, func(w io.Writer) {
		pairs(w, [2]string{"  data directory", absolute(r.Data) + "  (database and keys: keep it safe, back it up)"})
		p.rootLines(w, r.Roots[0])
		pairs(w, [2]string{"  ACME directory", r.Directory}, [2]string{"  CRL and OCSP", r.StatusURL})
	})
	if err != nil {
		return err
	}
	if len(r.Roots[0].Domains) == 0 {
		fmt.Fprintf(p.out, constrain, p.again())
	}
	fmt.Fprintf(p.out, `
Next, in another terminal:

  chancery%[1]s ca root --out root.pem     the root, for programs that take a file
  sudo chancery%[1]s trust install         or: this machine trusts the root
  REQUESTS_CA_BUNDLE=root.pem certbot certonly --standalone \
      --server %[2]s -d NAME
  LEGO_CA_CERTIFICATES=root.pem lego --server %[2]s \
      --accept-tos --email YOU@EXAMPLE --domains NAME --http run
  chancery%[1]s est otp add --name NAME    a password for a device that enrols over EST
  chancery%[1]s cert list                  what was issued

Ctrl-C stops the server; chancery serve starts it again with the same authority.
`, p.again(), r.Directory)
	return nil
}

const constrain = `
This root may certify every name: whoever installs it trusts this server for the whole
internet. To bind it to your own domains, before anybody does: stop, move the data
directory away, and make another with

  chancery%s init --domain corp.example
`

func (p *program) rootLines(w io.Writer, root rootSeen) {
	pairs(w, [2]string{"  root", root.Subject}, [2]string{"  its SHA-256", colons(root.Fingerprint)}, [2]string{"  may certify", scope(root.Domains)})
}

// absolute is for people, who may read it elsewhere.
func absolute(directory string) string {
	if full, err := filepath.Abs(directory); err == nil {
		return full
	}
	return directory
}

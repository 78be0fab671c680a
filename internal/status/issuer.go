package status

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"net/http"
	"strings"
	"time"
)

const (
	certType = "application/pkix-cert" // RFC 2585 §4.1
	pemType  = "application/x-pem-file"
	// certAge is how long caches may keep certificates: an issuer's own never
	// changes, but the list of roots does.
	certAge = 24 * time.Hour
)

// getIssuer gives the certificate that caIssuers in a leaf points to
// (RFC 5280 §4.2.2.1), of active and retired issuers alike.
func (s *Server) getIssuer(w http.ResponseWriter, r *http.Request) {
	id, ok := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/ca/"), ".crt")
	issuer := s.Authority.Issuers().ByID(id)
	if !ok || issuer == nil {
		notFound(w, "there is no such authority here; the address of an issuer's certificate stands in the certificates that it signed")
		return
	}
	s.sendFile(w, r, s.certificates(certType, issuer.Certificate()))
}

// getRoots gives the newest root, or all roots with the newest first, as PEM:
// for people who set up clients. Plain HTTP proves nothing, so they must
// compare fingerprints; the output has no room to say it.
func (s *Server) getRoots(w http.ResponseWriter, r *http.Request) {
	roots := s.Authority.Issuers().Roots()
	if len(roots) == 0 {
		notFound(w, "this authority has no root certificate")
		return
	}
	if r.URL.Path == "/root.pem" {
		roots = roots[:1]
	}
	s.sendFile(w, r, s.certificates(pemType, roots...))
}

// certificates makes a file of them: PEM, or DER for a single one.
func (s *Server) certificates(kind string, certs ...*x509.Certificate) file {
	f := file{kind: kind, age: certAge, expires: s.Clock().Add(certAge), modified: certs[0].NotBefore}
	for _, c := range certs {
		if kind == pemType {
			f.body = append(f.body, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
		} else {
			f.body = append(f.body, c.Raw...)
		}
	}
	sum := sha256.Sum256(f.body)
	f.etag = `"` + hex.EncodeToString(sum[:16]) + `"`
	return f
}

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"golang.org/x/crypto/ocsp"
)

func (s *scene) obtainShop(ctx context.Context) (result string, err error) {
	if s.shop, err = s.obtain(ctx, "shop", demoShop); err != nil {
		return "", err
	}
	return describe(s.shop.Certificates[0]), nil
}

func (s *scene) obtainWildcard(ctx context.Context) (string, error) {
	chain, err := s.obtain(ctx, "wildcard", "*."+demoZone)
	if err != nil {
		return "", err
	}
	if _, err := s.verify(chain, "anything."+demoZone); err != nil {
		return "", err
	}
	return describe(chain.Certificates[0]) + ", verified", nil
}

// handshake serves the certificate by TLS to a client that trusts the root.
func (s *scene) handshake(ctx context.Context) (string, error) {
	length, err := s.verify(s.shop, demoShop)
	if err != nil {
		return "", err
	}
	pair, err := tls.LoadX509KeyPair(s.path("shop.pem"), s.path("shop.key"))
	if err != nil {
		return "", err
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12})
	if err != nil {
		return "", err
	}
	defer func() { _ = l.Close() }()
	go func() {
		if conn, err := l.Accept(); err == nil {
			_, _ = io.WriteString(conn, "welcome")
			_ = conn.Close()
		}
	}()
	dialer := tls.Dialer{NetDialer: &net.Dialer{Timeout: 5 * time.Second},
		Config: &tls.Config{RootCAs: s.roots, ServerName: demoShop, MinVersion: tls.VersionTLS12}}
	conn, err := dialer.DialContext(ctx, "tcp", l.Addr().String())
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	if text, err := io.ReadAll(conn); err != nil || string(text) != "welcome" {
		return "", fmt.Errorf("the TLS connection gave %q: %w", text, err)
	}
	return fmt.Sprintf("%d certificates; %s", length, tls.VersionName(conn.(*tls.Conn).ConnectionState().Version)), nil
}

// ask puts an OCSP question to the URL in the certificate (RFC 6960) and checks
// the answer's signature and time.
func (s *scene) ask(ctx context.Context) (*ocsp.Response, error) {
	cert, issuer := s.shop.Certificates[0], s.shop.Certificates[1]
	question, err := ocsp.CreateRequest(cert, issuer, nil)
	if err != nil {
		return nil, err
	}
	if len(cert.OCSPServer) == 0 {
		return nil, errors.New("the certificate names no OCSP responder")
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, cert.OCSPServer[0], bytes.NewReader(question))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/ocsp-request")
	body, err := fetch(request)
	if err != nil {
		return nil, err
	}
	answer, err := ocsp.ParseResponseForCert(body, cert, issuer)
	if err == nil && !answer.NextUpdate.After(time.Now()) {
		err = fmt.Errorf("the OCSP answer ended at %s", answer.NextUpdate)
	}
	return answer, err
}

func fetch(request *http.Request) ([]byte, error) {
	client := http.Client{Timeout: 10 * time.Second}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", request.URL, response.Status)
	}
	return io.ReadAll(io.LimitReader(response.Body, inputLimit))
}

func (s *scene) askGood(ctx context.Context) (string, error) {
	answer, err := s.ask(ctx)
	if err != nil {
		return "", err
	}
	if answer.Status != ocsp.Good {
		return "", fmt.Errorf("OCSP says status %d of a certificate that is good", answer.Status)
	}
	return "good, says " + s.shop.Certificates[0].OCSPServer[0], nil
}

func (s *scene) revoke(ctx context.Context) (string, error) {
	reason := ocsp.KeyCompromise
	return "by ACME, signed by the account's key", s.customer.Revoke(ctx, s.shop.Certificates[0].Raw, &reason, nil)
}

// patience is how long the demo waits for what must be true within seconds.
const patience, pause = 10 * time.Second, 50 * time.Millisecond

// until repeats look until it finds what it looks for.
func until(ctx context.Context, look func() (bool, error)) error {
	end := time.Now().Add(patience)
	for {
		found, err := look()
		if found || err != nil {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("it was not so after %s", patience)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

func (s *scene) askRevoked(ctx context.Context) (string, error) {
	var at time.Time
	err := until(ctx, func() (bool, error) {
		answer, err := s.ask(ctx)
		if err != nil {
			return false, err
		}
		at = answer.RevokedAt
		return answer.Status == ocsp.Revoked && answer.RevocationReason == ocsp.KeyCompromise, nil
	})
	return "revoked, keyCompromise, at " + moment(at), err
}

// askCRL reads the CRL that the certificate points to.
func (s *scene) askCRL(ctx context.Context) (string, error) {
	cert, issuer := s.shop.Certificates[0], s.shop.Certificates[1]
	if len(cert.CRLDistributionPoints) == 0 {
		return "", errors.New("the certificate names no CRL")
	}
	number := ""
	err := until(ctx, func() (bool, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, cert.CRLDistributionPoints[0], nil)
		if err != nil {
			return false, err
		}
		der, err := fetch(request)
		if err != nil {
			return false, err
		}
		crl, err := x509.ParseRevocationList(der)
		if err != nil {
			return false, err
		}
		if err := crl.CheckSignatureFrom(issuer); err != nil {
			return false, err
		}
		number = crl.Number.String()
		for _, e := range crl.RevokedCertificateEntries {
			if e.SerialNumber.Cmp(cert.SerialNumber) == 0 {
				return true, nil
			}
		}
		return false, nil
	})
	return "CRL number " + number + " has it", err
}

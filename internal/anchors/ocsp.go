package anchors

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/crypto/ocsp"
	"golang.org/x/sync/singleflight"
)

// responders asks OCSP responders (RFC 6960) and remembers their answers.
type responders struct {
	configured string
	client     *http.Client
	flight     singleflight.Group

	mu    sync.Mutex
	known map[string]answer // by issuer's certificate and serial number
}

// answer is what a responder said, until it is to be asked again.
type answer struct {
	state
	until time.Time
}

const (
	maxAnswers = 4096
	answerLife = time.Hour      // at most, however long the responder calls it good
	answerAge  = 24 * time.Hour // of one that says of itself no nextUpdate
)

func newResponders(c Config) (*responders, error) {
	if c.OCSP != "" && !web(c.OCSP) {
		return nil, fmt.Errorf("the anchors %q: %q is no URL of an OCSP responder", c.Name, c.OCSP)
	}
	return &responders{configured: c.OCSP, client: newClient(c.OCSP == "" && !c.Loopback), known: map[string]answer{}}, nil
}

func (r *responders) status(ctx context.Context, of link, now time.Time) (state, error) {
	sum := sha256.Sum256(of.issuer.Raw)
	key := string(sum[:]) + string(of.cert.SerialNumber.Bytes())
	r.mu.Lock()
	known, ok := r.known[key]
	r.mu.Unlock()
	if ok && now.Before(known.until) {
		return known.state, nil
	}
	flying := r.flight.DoChan(key, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.Background(), fetchTime) // others wait for the same
		defer cancel()
		found, err := r.askAny(ctx, of, now)
		if err == nil {
			r.remember(key, found, now)
		}
		return found, err
	})
	select {
	case result := <-flying:
		if result.Err != nil {
			return state{}, result.Err
		}
		return result.Val.(answer).state, nil
	case <-ctx.Done():
		return state{}, ctx.Err()
	}
}

func (r *responders) remember(key string, found answer, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.known) >= maxAnswers {
		for k, a := range r.known {
			if !now.Before(a.until) {
				delete(r.known, k)
			}
		}
		if len(r.known) >= maxAnswers {
			clear(r.known)
		}
	}
	r.known[key] = found
}

// askAny asks the responders one after another until one knows.
func (r *responders) askAny(ctx context.Context, of link, now time.Time) (answer, error) {
	var problems []error
	for _, where := range r.places(of) {
		found, err := r.ask(ctx, where, of, now)
		if err == nil {
			return found, nil
		}
		problems = append(problems, err)
	}
	if len(problems) == 0 {
		return answer{}, errors.New("it names no OCSP responder, and none is configured")
	}
	return answer{}, errors.Join(problems...)
}

func (r *responders) places(of link) []string {
	if r.configured != "" {
		return []string{r.configured}
	}
	all := slices.DeleteFunc(slices.Clone(of.cert.OCSPServer), func(where string) bool { return !web(where) })
	return all[:min(len(all), maxPlaces)]
}

func (r *responders) ask(ctx context.Context, where string, of link, now time.Time) (answer, error) {
	question, err := ocsp.CreateRequest(of.cert, of.issuer, nil) // SHA-1 in the CertID: responders know no other (RFC 5019 §2.1.1)
	if err != nil {
		return answer{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, where, bytes.NewReader(question))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Content-Type", "application/ocsp-request")
	body, err := ask(r.client, req, maxAnswer)
	if err != nil {
		return answer{}, err
	}
	found, err := readAnswer(body, of, now)
	if err != nil {
		return answer{}, fmt.Errorf("the OCSP responder %s: %w", where, err)
	}
	return found, nil
}

// readAnswer takes an answer that the issuer, or a responder whom it certified for
// that, signed (RFC 6960 §3.2, §4.2.2.2), and that is of now.
func readAnswer(body []byte, of link, now time.Time) (answer, error) {
	res, err := ocsp.ParseResponseForCert(body, of.cert, nil)
	if err != nil {
		return answer{}, err
	}
	if err := authorized(res, of.issuer, now); err != nil {
		return answer{}, err
	}
	switch {
	case res.ThisUpdate.After(now.Add(skew)):
		return answer{}, fmt.Errorf("its answer begins at %s", res.ThisUpdate.UTC().Format(time.RFC3339))
	case !res.NextUpdate.IsZero() && !now.Before(res.NextUpdate), res.NextUpdate.IsZero() && now.Sub(res.ThisUpdate) > answerAge:
		return answer{}, fmt.Errorf("its answer of %s is out of date", res.ThisUpdate.UTC().Format(time.RFC3339))
	}
	until := now.Add(answerLife)
	if !res.NextUpdate.IsZero() && res.NextUpdate.Before(until) {
		until = res.NextUpdate
	}
	switch res.Status {
	case ocsp.Good:
		return answer{state{}, until}, nil
	case ocsp.Revoked:
		return answer{state{true, res.RevokedAt, res.RevocationReason}, until}, nil
	}
	return answer{}, errors.New("it does not know the certificate")
}

// authorized checks who signed. A delegate is certified by the issuer itself, for this;
// whether it was revoked is not asked (RFC 6960 §4.2.2.2.1 leaves that to us).
func authorized(res *ocsp.Response, issuer *x509.Certificate, now time.Time) error {
	signer := res.Certificate
	if signer == nil {
		return res.CheckSignatureFrom(issuer)
	}
	// ParseResponseForCert has checked the signature with the key of the enclosed certificate.
	if bytes.Equal(signer.RawSubjectPublicKeyInfo, issuer.RawSubjectPublicKeyInfo) {
		return nil
	}
	switch {
	case !bytes.Equal(signer.RawIssuer, issuer.RawSubject) || signer.CheckSignatureFrom(issuer) != nil:
		return errors.New("its answer is signed by somebody whom the certificate's issuer did not certify")
	case !slices.Contains(signer.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning):
		return errors.New("its answer is signed with a certificate that is not for OCSP (no id-kp-OCSPSigning)")
	case now.Before(signer.NotBefore) || now.After(signer.NotAfter):
		return errors.New("its answer is signed with a certificate that is not valid now")
	}
	return nil
}

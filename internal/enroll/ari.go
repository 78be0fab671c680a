package enroll

import (
	"context"
	"crypto/x509"
	"errors"
	"math/big"
	"sync"
	"time"

	"chancery/acme"
	"chancery/caa"
	"chancery/internal/enroll/directory"
	"chancery/internal/enroll/vault"
)

// Advisor asks CAs when to renew (RFC 9773). It keeps their directories in memory for a
// while, so that a question is one request.
type Advisor struct {
	engine *Engine

	mu    sync.Mutex // owns known
	known map[string]asked
}

// asked is a CA of which the directory was found.
type asked struct {
	client *acme.Client
	until  time.Time
}

// directoryKept is for how long a directory serves for questions.
const directoryKept = time.Hour

// Advisor makes one over the engine's vault and ways. Several goroutines may use it.
func (e *Engine) Advisor() *Advisor { return &Advisor{engine: e, known: map[string]asked{}} }

// ErrNoQuestion says that a record holds nothing that a CA could be asked about.
var ErrNoQuestion = errors.New("there is no certificate that its CA could be asked about")

// RenewalInfo asks the CA that issued a record's certificate when to renew it (RFC 9773
// §4); no account is needed. The error is ErrNoQuestion, or acme.ErrNotOffered if the CA
// does not say, or what went wrong.
func (a *Advisor) RenewalInfo(ctx context.Context, rec vault.Record) (*acme.RenewalInfo, error) {
	c := rec.Current
	if c == nil || c.CertID == "" {
		return nil, ErrNoQuestion
	}
	key, serial, err := acme.ParseCertID(c.CertID)
	if err != nil {
		return nil, errors.Join(ErrNoQuestion, err)
	}
	client, err := a.client(ctx, rec)
	if err != nil {
		return nil, err
	}
	info, err := client.RenewalInfo(ctx, &x509.Certificate{AuthorityKeyId: key, SerialNumber: new(big.Int).SetBytes(serial)})
	if err != nil && !errors.Is(err, acme.ErrNotOffered) {
		a.forget(c.Directory) // it may have moved
	}
	return info, err
}

func (a *Advisor) forget(at string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.known, at)
}

// client gives what speaks to the CA of a record's certificate.
func (a *Advisor) client(ctx context.Context, rec vault.Record) (*acme.Client, error) {
	at, now := rec.Current.Directory, a.engine.config.Now()
	a.mu.Lock()
	k, ok := a.known[at]
	a.mu.Unlock()
	if ok && now.Before(k.until) && k.until.Sub(now) <= directoryKept {
		return k.client, nil
	}
	r := &run{engine: a.engine, sheet: rec.Sheet}
	if rec.Sheet.CA != (vault.Choice{}) {
		if err := r.choose(ctx); err != nil {
			return nil, err
		}
	}
	o := caa.Offer{Issuer: rec.Current.Issuer, Default: rec.Current.Default}
	if r.asked(o.Issuer, o.Default) != at {
		return nil, &moved{at}
	}
	found, err := r.directory(ctx, o)
	if err != nil {
		return nil, err
	}
	http, err := using(a.engine.config.HTTP(r.ca(o.Issuer, o.Default)), found)
	if err != nil {
		return nil, err
	}
	client := &acme.Client{Directory: found.URL, HTTP: http, UserAgent: userAgent}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.known[at] = asked{client, now.Add(directoryKept)}
	return client, nil
}

// moved says that the configuration does not lead any more to the CA that issued.
type moved struct{ at string }

func (m *moved) Error() string {
	return "the CA that issued it was " + m.at + ", to which the configuration does not lead any more"
}

// Temporary tells whether it is worth while to ask again soon after an error of
// RenewalInfo (RFC 9773 §4.3.3): the CA could not be reached, or said so itself.
func Temporary(err error) bool {
	if problem, ok := errors.AsType[*acme.Problem](err); ok {
		return problem.Status >= 500 || problem.Status == 429
	}
	if found, ok := errors.AsType[*directory.Error](err); ok {
		return found.Kind == directory.Unavailable
	}
	v := classify(err, false)
	return v.class == ClassUnavailable || v.class == ClassLimited
}

package directory

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"chancery/internal/enroll/guard"
)

func (q Query) fetch(ctx context.Context) (Found, error) {
	q = q.withDefaults()
	found := Found{Asked: q.URL}
	if q.Issuer != "" {
		var ok bool
		if found.Issuer, ok = domainName(q.Issuer); !ok {
			return Found{}, &Error{Issuer: q.Issuer, Kind: Refused, Err: errors.New("the issuer is no domain name")}
		}
	}
	if found.Asked == "" {
		found.Asked = "https://" + found.Issuer + WellKnown
	}
	trouble := func(url string, kind Kind, err error) error {
		return &Error{Issuer: found.Issuer, URL: url, Kind: kind, Err: err}
	}
	if q.URL == "" && found.Issuer == "" {
		return Found{}, trouble("", Refused, errors.New("neither an issuer nor a URL was given"))
	}
	if err := guard.CheckURL(found.Asked); err != nil {
		return Found{}, trouble(found.Asked, Refused, err)
	}
	if !slices.Contains([]Identities{Prefer, Require, Ignore}, q.Identities) {
		return Found{}, trouble(found.Asked, Refused, fmt.Errorf("caaIdentities can be treated as prefer, require or ignore, not as %q", q.Identities))
	}
	a, err := q.ask(ctx, found.Asked)
	if err != nil {
		if errors.Is(ctx.Err(), context.Canceled) {
			return Found{}, fmt.Errorf("directory %s: %w", found.Asked, ctx.Err())
		}
		return Found{}, trouble(found.Asked, kindOf(err), err)
	}
	found.URL, found.Redirects, found.Fetched, found.Fresh = a.url, a.redirects, a.at, a.fresh
	if a.status != http.StatusOK {
		return Found{}, &Error{Issuer: found.Issuer, URL: a.url, Kind: a.kind(), Status: a.status, RetryAfter: a.retryAfter(), Err: a.statusError()}
	}
	if found.Directory, err = a.decode(); err != nil {
		return Found{}, trouble(a.url, NotADirectory, err)
	}
	if found.VouchedBy, err = q.vouch(found); err != nil {
		return Found{}, trouble(a.url, WrongCA, err)
	}
	return found, nil
}

func (q Query) withDefaults() Query {
	if q.Client == nil {
		q.Client = guard.Policy{}.Client()
	}
	if q.Identities == "" {
		q.Identities = Prefer
	}
	if q.UserAgent == "" {
		q.UserAgent = "chancery"
	}
	if q.Now == nil {
		q.Now = time.Now
	}
	return q
}

// answer is what came back, read completely.
type answer struct {
	url       string
	redirects []string
	status    int
	header    http.Header
	body      []byte
	at, fresh time.Time
}

// ask sends the request and reads the answer.
func (q Query) ask(ctx context.Context, url string) (*answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", q.UserAgent)
	req.Header.Set("Accept", "application/json, */*;q=0.1")
	asked := q.Now()
	res, err := q.Client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	a := &answer{status: res.StatusCode, header: res.Header, at: q.Now(), url: res.Request.URL.String()}
	t := transit{asked: asked, came: a.at}
	life := t.life(res.Header)
	for r := res.Request; r.Response != nil; r = r.Response.Request {
		a.redirects = append(a.redirects, r.URL.String())
		life = min(life, t.life(r.Response.Header)) // what led here may change sooner
	}
	slices.Reverse(a.redirects)
	a.fresh = a.at.Add(life)
	a.body, err = io.ReadAll(res.Body) // the guard bounds it
	return a, err
}

// kindOf sorts the errors of a request that got no complete answer.
func kindOf(err error) Kind {
	if _, ok := errors.AsType[*guard.RefusedError](err); ok {
		return Refused
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
		return NotThere
	}
	if unproven(err) {
		return Unproven
	}
	return Unavailable
}

// unproven says whether a server's certificate failed to show who it is.
func unproven(err error) bool {
	_, verification := errors.AsType[*tls.CertificateVerificationError](err)
	_, host := errors.AsType[x509.HostnameError](err)
	_, authority := errors.AsType[x509.UnknownAuthorityError](err)
	_, invalid := errors.AsType[x509.CertificateInvalidError](err)
	return verification || host || authority || invalid
}

// kind sorts the statuses other than 200.
func (a *answer) kind() Kind {
	switch {
	case a.status >= 500, a.status == http.StatusTooManyRequests, a.status == http.StatusRequestTimeout:
		return Unavailable
	case a.status/100 == 4:
		return NotThere
	}
	return NotADirectory
}

// statusError repeats what a problem document says (RFC 9457), made harmless.
func (a *answer) statusError() error {
	text := fmt.Sprintf("it answered with status %d", a.status)
	media, _, _ := mime.ParseMediaType(a.header.Get("Content-Type"))
	var p struct{ Title, Detail string }
	if media == "application/problem+json" && json.Unmarshal(a.body, &p) == nil {
		for _, said := range []string{p.Title, p.Detail} {
			if said != "" {
				text += ": " + guard.Shown(said)
			}
		}
	}
	return errors.New(text)
}

// retryAfter reads both forms of the header (RFC 9110 §10.2.3).
func (a *answer) retryAfter() time.Duration {
	value := strings.TrimSpace(a.header.Get("Retry-After"))
	if d, ok := seconds(value); ok {
		return min(d, day)
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(at.Sub(a.at), 0), day)
	}
	return 0
}

package acme

import (
	"bytes"
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	// JOSEMediaType is the content type of requests (RFC 8555 §6.2: MUST).
	JOSEMediaType = "application/jose+json"
	// PEMMediaType is the content type of certificate chains (RFC 8555 §9.1).
	PEMMediaType = "application/pem-certificate-chain"

	maxResponse   = 1 << 20
	maxNonces     = 32
	maxNonceTries = 11 // the request and ten repetitions
)

var defaultHTTP = &http.Client{Timeout: time.Minute}

// call is one signed request.
type call struct {
	url string
	// payload is encoded as JSON; nil makes a POST-as-GET.
	payload any
	// signer, if set, signs instead of the account, and its key is embedded.
	signer crypto.Signer
	accept string
}

// rawPayload is a payload that is encoded already.
type rawPayload []byte

func encodePayload(payload any) ([]byte, error) {
	switch p := payload.(type) {
	case nil:
		return nil, nil
	case rawPayload:
		return p, nil
	}
	return json.Marshal(payload)
}

// post signs and sends, again with a new nonce as often as the server wants one
// (RFC 8555 §6.5: SHOULD), but not for ever.
func (c *Client) post(ctx context.Context, req call) (*response, error) {
	payload, err := encodePayload(req.payload)
	if err != nil {
		return nil, err
	}
	header := Header{URL: req.url}
	signer := req.signer
	if signer == nil {
		if signer, header.KeyID = c.identity(); header.KeyID == "" {
			return nil, ErrNoAccount
		}
	}
	for try := 1; ; try++ {
		if header.Nonce == "" {
			if header.Nonce, err = c.nonce(ctx); err != nil {
				return nil, err
			}
		}
		body, err := Sign(signer, header, payload)
		if err != nil {
			return nil, err
		}
		r, err := c.send(ctx, http.MethodPost, req.url, sending{body: body, accept: req.accept})
		if r == nil {
			return nil, err
		}
		fresh := r.nonce()
		if try < maxNonceTries && HasType(err, TypeBadNonce) {
			header.Nonce = fresh // §6.5: MUST be the one from the error response, if it has one
			continue
		}
		c.keep(fresh)
		if err != nil {
			return nil, err
		}
		return r, nil
	}
}

func (c *Client) postDecode(ctx context.Context, req call, into any) (*response, error) {
	r, err := c.post(ctx, req)
	if err != nil {
		return nil, err
	}
	return r, r.decode(into)
}

func (c *Client) get(ctx context.Context, url string) (*response, error) {
	r, err := c.send(ctx, http.MethodGet, url, sending{})
	if err != nil {
		return nil, err
	}
	c.keep(r.nonce())
	return r, nil
}

// nonce takes one that was kept, or asks for one (RFC 8555 §7.2).
func (c *Client) nonce(ctx context.Context) (string, error) {
	c.mu.Lock()
	if n := len(c.nonces); n > 0 {
		nonce := c.nonces[n-1] // the newest: least likely to have expired
		c.nonces = c.nonces[:n-1]
		c.mu.Unlock()
		return nonce, nil
	}
	c.mu.Unlock()
	d, err := c.dir(ctx)
	if err != nil {
		return "", err
	}
	r, err := c.send(ctx, http.MethodHead, d.NewNonce, sending{})
	if err != nil {
		return "", fmt.Errorf("acme: asking for a nonce: %w", err)
	}
	if nonce := r.nonce(); nonce != "" {
		return nonce, nil
	}
	return "", fmt.Errorf("acme: %s sent no usable Replay-Nonce", d.NewNonce)
}

func (c *Client) keep(nonce string) {
	if nonce == "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.nonces) == maxNonces {
		c.nonces = append(c.nonces[:0], c.nonces[1:]...)
	}
	c.nonces = append(c.nonces, nonce)
}

// checkRedirect follows a few, and never to plain http. A signed request is not sent
// elsewhere: its signature holds for one URL only.
func checkRedirect(next *http.Request, via []*http.Request) error {
	if via[0].Method == http.MethodPost {
		return http.ErrUseLastResponse
	}
	if len(via) > 5 {
		return errors.New("too many redirects")
	}
	return checkURL(next.URL.String())
}

type sending struct {
	body   []byte
	accept string
}

// send makes one HTTP request. The response is nil only if there was none; with an
// error status it comes together with a *Problem.
func (c *Client) send(ctx context.Context, method, target string, s sending) (*response, error) {
	if err := checkURL(target); err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(s.body))
	if err != nil {
		return nil, fmt.Errorf("acme: %w", err)
	}
	c.setHeader(req, s)
	base := c.HTTP
	if base == nil {
		base = defaultHTTP
	}
	client := *base
	client.CheckRedirect = checkRedirect
	res, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("acme: %w", err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxResponse+1))
	if err != nil {
		return nil, fmt.Errorf("acme: reading the answer of %s: %w", target, err)
	}
	if len(body) > maxResponse {
		return nil, fmt.Errorf("acme: the answer of %s is longer than %d octets", target, maxResponse)
	}
	r := &response{url: req.URL, status: res.StatusCode, header: res.Header, body: body}
	if res.StatusCode/100 != 2 {
		return r, r.problem()
	}
	return r, nil
}

func (c *Client) setHeader(req *http.Request, s sending) {
	language := c.Language
	if language == "" {
		language = "en"
	}
	req.Header.Set("User-Agent", strings.TrimSpace(c.UserAgent+" chancery-acme Go-http-client"))
	req.Header.Set("Accept-Language", language)
	if s.accept != "" {
		req.Header.Set("Accept", s.accept)
	}
	if req.Method == http.MethodPost {
		req.Header.Set("Content-Type", JOSEMediaType)
	}
}

// checkURL demands https (RFC 8555 §6.1), also of the URLs that the server sends. What
// stays on this machine may be plain.
func checkURL(target string) error {
	u, err := url.Parse(target)
	if err != nil || u.Host == "" {
		return fmt.Errorf("acme: %q is not an absolute URL", target)
	}
	if u.Scheme == "https" {
		return nil
	}
	ip := net.ParseIP(u.Hostname())
	if u.Scheme == "http" && (u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()) {
		return nil
	}
	return fmt.Errorf("acme: %q is not https (RFC 8555 §6.1)", target)
}

// response is an answer, read completely.
type response struct {
	url    *url.URL
	status int
	header http.Header
	body   []byte
}

// decode reads a resource. Unknown members are fine: servers may know more than we do.
func (r *response) decode(into any) error {
	if err := json.Unmarshal(r.body, into); err != nil {
		return fmt.Errorf("acme: the answer of %s is not the JSON object it should be: %w", r.url, err)
	}
	return nil
}

// location is required where the answer names a new resource.
func (r *response) location() (string, error) {
	u, err := r.url.Parse(r.header.Get("Location"))
	if err != nil || r.header.Get("Location") == "" {
		return "", fmt.Errorf("acme: the answer of %s has no usable Location", r.url)
	}
	return u.String(), nil
}

// nonce is the Replay-Nonce, or empty. RFC 8555 §6.5.1: invalid values MUST be ignored.
func (r *response) nonce() string {
	if nonce := r.header.Get("Replay-Nonce"); ValidToken(nonce) {
		return nonce
	}
	return ""
}

// problem makes a *Problem of an error status, whatever the body is.
func (r *response) problem() *Problem {
	p := &Problem{}
	media, _, _ := strings.Cut(r.header.Get("Content-Type"), ";")
	media = strings.TrimSpace(media)
	isJSON := strings.EqualFold(media, ProblemMediaType) || strings.EqualFold(media, "application/json")
	if !isJSON || json.Unmarshal(r.body, p) != nil {
		*p = Problem{Detail: fmt.Sprintf("%s answered with %d and no problem document; is that an ACME server?", r.url, r.status)}
	}
	if p.Type == "" {
		p.Type = TypeBlank
	}
	if p.Title == "" && p.Detail == "" {
		p.Title = http.StatusText(r.status)
	}
	p.Status = r.status
	p.RetryAfter = r.retryAfter()
	return p
}

// maxRetryAfter keeps a mistaken answer from putting a client to sleep for ever.
const maxRetryAfter = 30 * 24 * time.Hour

// retryAfter reads both forms of Retry-After (RFC 7231 §7.1.3); 0 if there is none or
// it has passed.
func (r *response) retryAfter() time.Duration {
	value := strings.TrimSpace(r.header.Get("Retry-After"))
	var d time.Duration
	if seconds, err := strconv.ParseUint(value, 10, 64); err == nil {
		d = time.Duration(min(seconds, uint64(maxRetryAfter/time.Second))) * time.Second
	} else if errors.Is(err, strconv.ErrRange) {
		d = maxRetryAfter
	} else if at, err := http.ParseTime(value); err == nil {
		d = time.Until(at)
	}
	return min(max(d, 0), maxRetryAfter)
}

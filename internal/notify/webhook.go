package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Webhook posts messages as JSON (the members of Message) to a URL.
type Webhook struct {
	// URL is https; plain http reaches this machine only.
	URL string
	// Token, if set, gives a bearer token (RFC 6750 §2.1).
	Token func() (string, error)
	// Secret, if set, gives the key of a signature, so that the receiver knows who sent
	// the message and when: the header
	//
	//	Chancery-Signature: t=SECONDS,v1=HEX
	//
	// holds the Unix time and HMAC-SHA-256(key, SECONDS "." BODY).
	Secret func() ([]byte, error)
	// Roots judge the server's certificate; nil means the system's.
	Roots *x509.CertPool
	// Timeout is for one try; 0 means 15 s.
	Timeout time.Duration
	// Label is the channel's name; "webhook" if empty.
	Label string
	// Now is the clock of the signature; nil means time.Now.
	Now func() time.Time
}

// Channel makes the channel. The URL may be a secret and is in no error.
func (w Webhook) Channel() (Channel, error) {
	u, err := url.Parse(w.URL)
	if err != nil || u.Host == "" {
		return nil, errors.New("notify: the webhook's URL is no URL, such as https://chat.example.org/hooks/1")
	}
	host, _ := netip.ParseAddr(u.Hostname())
	if u.Scheme != "https" && (u.Scheme != "http" || !host.IsLoopback() && u.Hostname() != "localhost") {
		return nil, errors.New("notify: the webhook's URL must be https; plain http reaches this machine only")
	}
	if w.Label == "" {
		w.Label = "webhook"
	}
	if w.Timeout <= 0 {
		w.Timeout = 15 * time.Second
	}
	if w.Now == nil {
		w.Now = time.Now
	}
	return &webhook{Webhook: w, client: &http.Client{
		Timeout: w.Timeout,
		Transport: &http.Transport{
			Proxy:             http.ProxyFromEnvironment, // the configuration's own URL, not a stranger's
			TLSClientConfig:   &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: w.Roots},
			DisableKeepAlives: true,
		},
		// A message is for one URL: what it redirects to was not configured.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

type webhook struct {
	Webhook
	client *http.Client
}

func (w *webhook) Name() string { return w.Label }

func (w *webhook) Send(ctx context.Context, m Message) error {
	body, err := json.Marshal(m)
	if err != nil {
		return &Failure{Lasting: true, Err: err}
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.URL, bytes.NewReader(body))
	if err != nil {
		return &Failure{Lasting: true, Err: errors.New("notify: the webhook's URL is no URL")}
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "chancery")
	r.Header.Set("Idempotency-Key", `"`+hash(m.ID)+`"`)
	if err := w.authenticate(r, body); err != nil {
		return &Failure{Err: err}
	}
	res, err := w.client.Do(r)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err // without the URL
		}
		return &Failure{Err: fmt.Errorf("notify: the webhook cannot be reached: %w", err)}
	}
	defer res.Body.Close()
	io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10))
	if res.StatusCode/100 == 2 {
		return nil
	}
	again := res.StatusCode >= 500 || res.StatusCode == http.StatusTooManyRequests || res.StatusCode == http.StatusRequestTimeout
	f := &Failure{Lasting: !again, Err: fmt.Errorf("notify: the webhook answered with status %d", res.StatusCode)}
	if s, err := strconv.ParseUint(strings.TrimSpace(res.Header.Get("Retry-After")), 10, 31); err == nil {
		f.After = time.Duration(s) * time.Second
	}
	return f
}

func (w *webhook) authenticate(r *http.Request, body []byte) error {
	if w.Token != nil {
		token, err := w.Token()
		if err != nil {
			return fmt.Errorf("notify: the webhook's token: %w", err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if w.Secret != nil {
		key, err := w.Secret()
		if err != nil {
			return fmt.Errorf("notify: the webhook's secret: %w", err)
		}
		r.Header.Set("Chancery-Signature", Signature(key, w.Now(), body))
	}
	return nil
}

// Signature is the value of the header Chancery-Signature, for receivers to compare in
// constant time.
func Signature(key []byte, at time.Time, body []byte) string {
	seconds := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(seconds + "."))
	mac.Write(body)
	return "t=" + seconds + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}

package anchors

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"

	"chancery/internal/address"
)

const (
	maxList     = 16 << 20 // octets of a CRL, or a file of CRLs
	maxAnswer   = 64 << 10 // octets of an OCSP response
	maxURL      = 2048     // octets of a URL in a certificate
	maxPlaces   = 4        // URLs that are tried for one certificate
	fetchTime   = 20 * time.Second
	answerTime  = 10 * time.Second
	maxRedirect = 3
)

// newClient gives an HTTP client that needs no proxy and keeps few connections. With
// guarded it refuses addresses that are this machine's or its link's, and those where
// clouds hand out secrets: certificates name URLs, and makers' keys have been lost.
func newClient(guarded bool) *http.Client {
	dialer := &net.Dialer{Timeout: answerTime}
	if guarded {
		dialer.Control = func(_, where string, _ syscall.RawConn) error { return outside(where) }
	}
	return &http.Client{
		Transport: &http.Transport{
			DialContext: dialer.DialContext, TLSHandshakeTimeout: answerTime, ResponseHeaderTimeout: answerTime,
			MaxIdleConns: 8, MaxIdleConnsPerHost: 1, MaxConnsPerHost: 4, IdleConnTimeout: 30 * time.Second, MaxResponseHeaderBytes: 32 << 10,
		},
		CheckRedirect: func(next *http.Request, via []*http.Request) error {
			switch {
			case len(via) > maxRedirect:
				return errors.New("too many redirects")
			case !guarded && next.URL.Host != via[0].URL.Host:
				return fmt.Errorf("it redirects to another host, %s; configure that one", next.URL.Host)
			}
			return nil
		},
	}
}

// outside refuses an address, "IP:port", that no maker's server has.
func outside(where string) error {
	ap, err := netip.ParseAddrPort(where)
	if err != nil {
		return err
	}
	for _, form := range address.Forms(ap.Addr().Unmap()) {
		a := form.Unmap()
		switch {
		case a.IsLoopback(), a.IsLinkLocalUnicast(), a.IsMulticast(), address.Unspecified(a), address.Broadcast(a), address.Metadata(a):
			return fmt.Errorf("%s is no address to which a certificate's URL may lead", ap.Addr())
		}
	}
	return nil
}

// web tells whether a URL can be asked for over HTTP.
func web(text string) bool {
	if len(text) > maxURL {
		return false
	}
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil
}

// ask sends a request and gives the whole answer, which has at most so many octets.
func ask(client *http.Client, req *http.Request, limit int64) ([]byte, error) {
	req.Header.Set("User-Agent", "chancery")
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", req.URL, res.Status)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, limit+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", req.URL, err)
	}
	if int64(len(body)) > limit {
		return nil, fmt.Errorf("%s sends more than %d octets", req.URL, limit)
	}
	return body, nil
}

func get(ctx context.Context, client *http.Client, from string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, err
	}
	return ask(client, req, maxList)
}

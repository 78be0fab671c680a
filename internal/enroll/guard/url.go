package guard

import (
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// maxURL is longer than any URL of a CA needs to be.
const maxURL = 2048

// CheckURL says whether a stranger's URL has a form that a client of this package
// follows: absolute, https, with a host, without a user or password in it, in printable
// ASCII, not longer than 2048 octets. The error is a *RefusedError. Where it leads is
// judged when it is connected to.
func CheckURL(raw string) error {
	_, err := parse(raw)
	return err
}

func parse(raw string) (*url.URL, error) {
	refuse := func(reason string) (*url.URL, error) { return nil, &RefusedError{URL: raw, Reason: reason} }
	if len(raw) > maxURL {
		return refuse("it is longer than 2048 octets")
	}
	if strings.ContainsFunc(raw, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return refuse("it holds characters that no URL may hold (RFC 3986 §2)")
	}
	u, err := url.Parse(raw)
	if err != nil {
		return refuse("it is no URL")
	}
	if reason := form(u); reason != "" {
		return refuse(reason)
	}
	return u, nil
}

// form gives what is wrong with a URL, or "".
func form(u *url.URL) string {
	switch {
	case u.Scheme != "https":
		return "it is not https (RFC 8555 §6.1)"
	case u.Opaque != "" || u.Hostname() == "":
		return "it names no host"
	case u.User != nil:
		return "it holds a user name"
	case u.Port() == "0":
		return "there is no port 0"
	}
	return ""
}

// hops counts the redirects that led to a request.
func hops(r *http.Request) int {
	n := 0
	for r != nil && r.Response != nil && n <= MaxRedirects {
		n++
		r = r.Response.Request
	}
	return n
}

// literal gives the address that a URL's host is, if it is one rather than a name.
func literal(u *url.URL) (netip.Addr, bool) {
	a, err := netip.ParseAddr(u.Hostname())
	return a, err == nil
}

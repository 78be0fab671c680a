package est

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// twoServers are two origins under one CA; the first redirects all of one operation.
func twoServers(t *testing.T, op Operation, status int, location string) (first, second *shop, dial func(*ClientConfig)) {
	t.Helper()
	first = open(t, nil)
	second = open(t, as(first.ca, x509.Certificate{DNSNames: []string{"other.example"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}))
	second.ca = first.ca
	first.handler[op] = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", location)
		w.WriteHeader(status)
	}
	return first, second, func(c *ClientConfig) {
		c.Dial = dialing(map[string]*shop{serverName: first, "other.example": second})
	}
}

var redirectStatuses = []int{301, 302, 303, 307, 308}

// At the same origin method and body are kept, whatever the status says.
func TestRedirectAtOneOrigin(t *testing.T) {
	for _, status := range redirectStatuses {
		s := open(t, nil)
		enroll := func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/new/simpleenroll" {
				p, err := requested(r)
				if err == nil {
					err = linked(r, p)
				}
				if err != nil || r.Method != http.MethodPost {
					http.Error(w, fmt.Sprint(r.Method, err), http.StatusForbidden)
					return
				}
				s.answerBag(w, s.certified(p))
				return
			}
			w.Header().Set("Location", "/new/simpleenroll")
			w.WriteHeader(status)
		}
		s.handler[SimpleEnroll] = enroll
		if _, err := s.client(t, nil).Enroll(t.Context(), device(t)); err != nil {
			t.Errorf("%d: %v", status, err)
		}
		if got := s.visited(); !slices.Equal(got, []string{"POST /.well-known/est/simpleenroll", "POST /new/simpleenroll"}) {
			t.Errorf("%d: %v", status, got)
		}
	}
}

// To another origin a POST goes after consent alone, with a request that is linked to
// the new connection, and without the password; a GET goes by itself.
func TestRedirectToAnotherOrigin(t *testing.T) {
	there := "https://other.example/.well-known/est/simpleenroll"
	for _, status := range redirectStatuses {
		first, second, dial := twoServers(t, SimpleEnroll, status, there)
		_, err := first.client(t, dial).Enroll(t.Context(), device(t))
		if refused, ok := errors.AsType[*RedirectError](err); !ok || refused.To != there {
			t.Errorf("%d: without consent: %v", status, err)
		}
		no := errors.New("no, said the person")
		_, err = first.client(t, func(c *ClientConfig) {
			dial(c)
			c.Consent = func(context.Context, *url.URL, *url.URL) error { return no }
		}).Enroll(t.Context(), device(t))
		if !errors.Is(err, no) {
			t.Errorf("%d: refused: %v", status, err)
		}
		if got := second.visited(); len(got) > 0 {
			t.Errorf("%d: asked all the same: %v", status, got)
		}
		second.handler[SimpleEnroll] = func(w http.ResponseWriter, r *http.Request) {
			p, err := requested(r)
			if err == nil {
				err = linked(r, p)
			}
			if err != nil {
				http.Error(w, err.Error(), http.StatusForbidden)
				return
			}
			second.answerBag(w, second.certified(p))
		}
		asked := 0
		got, err := first.client(t, func(c *ClientConfig) {
			dial(c)
			c.Login = &Login{User: "u", Password: "p"}
			c.Consent = func(_ context.Context, from, to *url.URL) error {
				asked++
				if from.Hostname() != serverName || to.String() != there {
					t.Errorf("asked about %v to %v", from, to)
				}
				return nil
			}
		}).Enroll(t.Context(), device(t))
		if err != nil || asked != 1 || got.Server.Host != "other.example" {
			t.Errorf("%d: with consent: %+v, %v", status, got, err)
		}
	}
}

func TestPasswordDoesNotFollowARedirect(t *testing.T) {
	first, second, dial := twoServers(t, SimpleEnroll, 307, "https://other.example/.well-known/est/simpleenroll")
	second.handler[SimpleEnroll] = second.guarded(false, `Basic realm="give it to me"`)
	_, err := first.client(t, func(c *ClientConfig) {
		dial(c)
		c.Login = &Login{User: "u", Password: "p"}
		c.Consent = func(context.Context, *url.URL, *url.URL) error { return nil }
	}).Enroll(t.Context(), device(t))
	if _, ok := errors.AsType[*LoginError](err); !ok {
		t.Errorf("%v", err)
	}
	if slices.ContainsFunc(second.seen, func(r *http.Request) bool { return r.Header.Get("Authorization") != "" }) {
		t.Error("the password was sent")
	}
}

func TestRedirectOfAGet(t *testing.T) {
	first, second, dial := twoServers(t, CACerts, 302, "https://other.example/.well-known/est/cacerts")
	if _, err := first.client(t, dial).CACerts(t.Context()); err != nil || len(second.visited()) != 1 {
		t.Errorf("%v, %v", err, second.visited())
	}
	// Its server is judged as any other.
	stranger := open(t, nil)
	_, err := first.client(t, func(c *ClientConfig) {
		c.Dial = dialing(map[string]*shop{serverName: first, "other.example": stranger})
	}).CACerts(t.Context())
	if refused, ok := errors.AsType[*ServerError](err); !ok || refused.Why != Unverified || len(stranger.visited()) > 0 {
		t.Errorf("%v", err)
	}
}

func TestRedirectsThatAreRefused(t *testing.T) {
	for name, location := range map[string]string{
		"plain HTTP": "http://" + serverName + "/x/cacerts", "no address": "https://%zz", "nothing": "", "a user": "https://u:p@" + serverName + "/x/cacerts",
		"a circle": "/.well-known/est/cacerts", "no host": "https:///x",
	} {
		s := open(t, nil)
		s.handler[CACerts] = func(w http.ResponseWriter, r *http.Request) {
			if location != "" {
				w.Header().Set("Location", location)
			}
			w.WriteHeader(http.StatusFound)
		}
		_, err := s.client(t, nil).CACerts(t.Context())
		if _, ok := errors.AsType[*RedirectError](err); !ok || strings.Contains(fmt.Sprint(err), "u:p@") {
			t.Errorf("%s: %v", name, err)
		}
		if n := len(s.visited()); name == "a circle" && n != 1+hopsMax || name != "a circle" && n != 1 {
			t.Errorf("%s: asked %d times", name, n)
		}
	}
}

// Under Implicit anchors each URI on the way has to match (RFC 7030 §3.6.2): a server
// that was let in as an RA alone cannot lead to one.
func TestRedirectFromAnRAToImplicit(t *testing.T) {
	web := newIssuer(t, "Web Root", nil)
	use := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	first := open(t, as(nil, x509.Certificate{DNSNames: []string{"elsewhere.example"}, ExtKeyUsage: use, UnknownExtKeyUsage: cmcRA}))
	second := open(t, as(web, x509.Certificate{DNSNames: []string{"other.example"}, ExtKeyUsage: use}))
	first.handler[CACerts] = func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://other.example/.well-known/est/cacerts", http.StatusFound)
	}
	c := first.client(t, func(c *ClientConfig) {
		c.Dial = dialing(map[string]*shop{serverName: first, "other.example": second})
		c.Trust.Implicit = pool(web.Cert)
	})
	_, err := c.CACerts(t.Context())
	if refused, ok := errors.AsType[*ServerError](err); !ok || refused.Why != OtherName || len(second.visited()) > 0 {
		t.Errorf("%v", err)
	}
}

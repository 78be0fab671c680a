//go:build crashpoints

package daemon_test

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"chancery/est"
	"chancery/internal/estserver"
)

// TestCrashOnTheWayOfADevice kills the server before and after each commit between a
// one-time password and the certificate that an approver let it get: no request and no
// word is lost, and the password gets one certificate.
func TestCrashOnTheWayOfADevice(t *testing.T) {
	engines(t, func(t *testing.T, url string) {
		p := plan(t, newSite(t), url)
		p.Approvals = true
		launch(t, p).kill()
		for _, when := range []string{"before", "after"} {
			crashes := 0
			for ; crashes < mostCommits; crashes++ {
				s := &deviceStory{story: story{t: t, plan: p, name: fmt.Sprintf("%s-%d.example", when, crashes+1)}}
				if !s.run(fmt.Sprintf("%s:%d", when, crashes+1)) {
					break
				}
			}
			t.Logf("%s: the story went on after %d crashes", when, crashes)
			// Password, request, decision, intent, settlement.
			if crashes < 5 || crashes == mostCommits {
				t.Errorf("%d crashes %s a commit; the story has at least 5", crashes, when)
			}
		}
	})
}

// deviceStory is a device's way to its certificate.
type deviceStory struct {
	story
	password string
	request  string
	cert     *x509.Certificate
}

func (s *deviceStory) run(point string) bool {
	from := filepath.Join(s.t.TempDir(), "from")
	s.server = launch(s.t, s.plan, "CHANCERY_CRASH="+point, "CHANCERY_CRASH_FROM="+from)
	if err := os.WriteFile(from, nil, 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.client = s.server.stranger()
	key := newKey(s.t)
	csr := csrFor(s.t, key, s.name)
	s.step("password", func(context.Context) error {
		made, err := ask[estserver.OneTimeWanted, estserver.CredentialMade](s.server, "est.otp.add", estserver.OneTimeWanted{})
		s.password = made.Password
		return err
	})
	s.step("request", func(ctx context.Context) error {
		status, body, err := s.enroll(ctx, csr)
		if err == nil && status != http.StatusAccepted {
			s.t.Fatalf("%s: %d %s", s.name, status, body)
		}
		return err
	})
	s.step("decision", s.approve)
	s.step("certificate", func(ctx context.Context) error { return s.fetch(ctx, csr) })
	first := s.cert
	s.step("repeat", func(ctx context.Context) error { return s.fetch(ctx, csr) })
	if !first.Equal(s.cert) || !key.PublicKey.Equal(first.PublicKey) {
		s.t.Errorf("%s: one password got two certificates", s.name)
	}
	s.step("another key", func(ctx context.Context) error {
		status, body, err := s.enroll(ctx, csrFor(s.t, newKey(s.t), s.name))
		if err == nil && (status == http.StatusOK || status == http.StatusAccepted) {
			s.t.Errorf("%s: a spent password gives %d %s", s.name, status, body)
		}
		return err
	})
	s.server.kill()
	return s.died
}

// enroll sends a CSR with the password.
func (s *deviceStory) enroll(ctx context.Context, csr []byte) (int, string, error) {
	c := s.server.http()
	c.Transport.(counting).next.(*http.Transport).TLSClientConfig.ServerName = "localhost"
	defer c.CloseIdleConnections()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+net.JoinHostPort("localhost", "443")+est.WellKnown+"/simpleenroll", strings.NewReader(base64.StdEncoding.EncodeToString(csr)))
	if err != nil {
		return 0, "", err
	}
	r.Header.Set("Content-Type", est.PKCS10)
	r.SetBasicAuth("", s.password)
	res, err := c.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode >= http.StatusInternalServerError {
		err = fmt.Errorf("%s: %s", res.Status, body)
	}
	return res.StatusCode, string(body), err
}

// approve says the approver's word about the one request of this story.
func (s *deviceStory) approve(context.Context) error {
	list, err := ask[estserver.RequestsWanted, estserver.RequestsShown](s.server, "est.requests.list", estserver.RequestsWanted{Page: estserver.Page{Limit: 1000}})
	if err != nil {
		return err
	}
	var ours []estserver.RequestShown
	for _, r := range list.Requests {
		if len(r.Names) == 1 && r.Names[0] == "dns:"+s.name {
			ours = append(ours, r)
		}
	}
	if len(ours) != 1 || s.request != "" && s.request != ours[0].ID {
		s.t.Fatalf("%s: the requests are %+v", s.name, ours)
	}
	s.request = ours[0].ID
	if ours[0].State == estserver.Approved && s.died {
		return nil // the commit was survived, the answer was not
	}
	_, err = ask[estserver.RequestDecided, estserver.RequestShown](s.server, "est.requests.approve", estserver.RequestDecided{ID: s.request})
	return err
}

func (s *deviceStory) fetch(ctx context.Context, csr []byte) error {
	status, body, err := s.enroll(ctx, csr)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		s.t.Fatalf("%s: %d %s", s.name, status, body)
	}
	s.cert = bag(s.t, []byte(body))[0]
	return nil
}

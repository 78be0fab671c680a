package conform

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"chancery/est"
)

// ESTConfig says which EST server is measured and what the suite may do there.
type ESTConfig struct {
	// URL is https://HOST[:PORT], with /.well-known/est[/LABEL] or without.
	URL string
	// Roots are the explicit anchors that the server is judged by; or Fingerprint names
	// one of the roots that it sends (RFC 7030 §4.1.1).
	Roots       []*x509.Certificate
	Fingerprint string
	// Login and Shown authenticate; with neither, nothing is enrolled. Shown is also what
	// is renewed; without it that is the first certificate that was enrolled.
	Login *est.Login
	Shown *tls.Certificate
	// Names may be certified with these: DNS names, IP addresses, e-mail addresses, URIs.
	// Without any nothing is enrolled.
	Names []string
	// OneTime says that the password is spent by the first certificate: every request
	// then has the same key and names, as a repeat of one that was answered.
	OneTime bool
	// ChallengeSecret says that the server reads challengePassword as a secret of its
	// own, so that nothing can be said of linking.
	ChallengeSecret bool
	Choice          Choice
	Timeout         time.Duration // of one exchange; 0: 15 seconds
	// Progress is told of each finding; nil: nobody is.
	Progress func(Finding)
	// Dial makes connections; nil: a [net.Dialer].
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// runMost bounds a whole run.
const runMost = 20 * time.Minute

// steps are the suite, in the order in which it is run: what disturbs least first.
var steps = slices.Concat(tlsSteps, cacertsSteps, pathSteps, csrattrsSteps, refusalSteps, enrolSteps, acceptSteps, linkingSteps, reenrolSteps, keygenSteps, cmcSteps, httpSteps)

// ESTChecks lists the checks of the suite for EST servers, in its order.
func ESTChecks() []Check {
	var all []Check
	for _, s := range steps {
		all = append(all, s.Check)
	}
	return all
}

// Enrols tells how many certificates the suite asks for at most, with this
// configuration.
func (c ESTConfig) Enrols() int {
	if len(c.Names) == 0 || c.Login == nil && c.Shown == nil {
		return 0
	}
	n := 0
	for _, s := range steps {
		if c.Choice.Has(s.Check) && slices.Contains(issuing, s.ID) {
			n++
		}
	}
	if n > 0 {
		n++ // the first, on which others depend
	}
	return n
}

// ESTError says why there is no report.
type ESTError struct {
	Reason string
	Err    error // may be nil
}

// Error says what to do.
func (e *ESTError) Error() string {
	if e.Err == nil {
		return e.Reason
	}
	return e.Reason + ": " + brief(e.Err.Error())
}

// Unwrap gives the cause.
func (e *ESTError) Unwrap() error { return e.Err }

// EST runs the suite against a server. The requests go one after the other. The error
// is an *[ESTError] when the configuration is wrong or the server cannot be reached, or
// ctx's; the report then holds what was found until then.
func EST(ctx context.Context, c ESTConfig) (Report, error) {
	report := Report{Suite: "est", Target: c.URL, Started: time.Now().UTC()}
	ctx, cancel := context.WithTimeout(ctx, runMost)
	defer cancel()
	s, err := open(ctx, c)
	if err != nil {
		return report, err
	}
	defer s.leave()
	for _, step := range steps {
		if !c.Choice.Has(step.Check) {
			continue
		}
		v := step.do(s, ctx)
		if ctx.Err() != nil {
			err = ctx.Err()
			break
		}
		f := Finding{Check: step.Check, Outcome: v.outcome, Seen: v.seen}
		report.Findings = append(report.Findings, f)
		if c.Progress != nil {
			c.Progress(f)
		}
	}
	report.Finished, report.Certificates, report.Connections = time.Now().UTC(), s.serials, s.connections
	return report, err
}

// session is one run.
type session struct {
	ESTConfig
	host, address, authority string
	label                    string
	roots                    []*x509.Certificate
	kept                     *wire // what ordinary requests share
	connections              int
	all                      []*reply // every answer, for what holds of all
	serials                  []string

	memory
}

// open reads the configuration and finds out whether the server is there.
func open(ctx context.Context, c ESTConfig) (*session, error) {
	base, label, err := est.ServerURL(c.URL, "")
	if err != nil {
		return nil, &ESTError{"the URL of the server", err}
	}
	if c.Timeout <= 0 {
		c.Timeout = 15 * time.Second
	}
	if c.Dial == nil {
		c.Dial = (&net.Dialer{}).DialContext
	}
	s := &session{ESTConfig: c, host: base.Hostname(), authority: base.Host, label: label, roots: c.Roots}
	port := base.Port()
	if port == "" {
		port = "443"
	}
	s.address = net.JoinHostPort(s.host, port)
	w, err := s.connect(ctx, line{})
	if err != nil {
		return nil, &ESTError{"the server " + brief(s.authority) + " cannot be measured", err}
	}
	w.Close()
	if c.Fingerprint == "" {
		return s, nil
	}
	s.roots, err = s.fingerprinted(ctx)
	return s, err
}

// fingerprinted finds the root that a person named (RFC 7030 §4.1.1).
func (s *session) fingerprinted(ctx context.Context) ([]*x509.Certificate, error) {
	hash, digits, err := est.ParseFingerprint(s.Fingerprint)
	if err != nil {
		return nil, &ESTError{"the fingerprint", err}
	}
	b, _, err := s.cacerts(ctx)
	if err != nil {
		return nil, &ESTError{"the root with the fingerprint cannot be had from /cacerts; give the roots in a file", err}
	}
	for _, c := range b.certs {
		if est.Fingerprint(c.Raw, hash) == hash+":"+digits && selfSigned(c) {
			s.drop() // its server was not verified yet
			return []*x509.Certificate{c}, nil
		}
	}
	return nil, &ESTError{Reason: "no root in /cacerts has the fingerprint: this is another CA, or somebody is in between"}
}

func (s *session) leave() { s.drop() }

func (s *session) drop() {
	if s.kept != nil {
		s.kept.Close()
		s.kept = nil
	}
}

// path gives the target of an operation.
func (s *session) path(op est.Operation) string {
	return est.URL(&url.URL{Scheme: "https", Host: s.authority}, s.label, op).EscapedPath()
}

// patience is how long a server that says it is busy is waited for, once.
const patience = 20 * time.Second

// do sends a request on the connection that ordinary requests share.
func (s *session) do(ctx context.Context, r *request) (*reply, error) {
	for try := 0; ; try++ {
		fresh := s.kept == nil || s.kept.closed
		if fresh {
			s.drop()
			w, err := s.connect(ctx, line{})
			if err != nil {
				return nil, err
			}
			s.kept = w
		}
		got, err := s.over(ctx, s.kept, r)
		if err != nil {
			s.kept.Close()
			if fresh || try > 0 || errors.Is(err, errStranger) {
				return nil, err
			}
			continue // it was closed meanwhile, as servers may
		}
		if wait, ok := est.RetryAfter(got.get("Retry-After"), time.Now()); ok && try == 0 && wait <= patience && (got.status == 429 || got.status == 503) {
			if err := pause(ctx, wait); err != nil {
				return nil, err
			}
			continue
		}
		return got, nil
	}
}

// over sends a request on a connection and keeps the answer for what holds of all.
func (s *session) over(ctx context.Context, w *wire, r *request) (*reply, error) {
	if err := w.tap.SetDeadline(time.Now().Add(s.Timeout)); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = w.tap.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	got, err := w.exchange(s.authority, r)
	if err != nil {
		return nil, err
	}
	s.all = append(s.all, got)
	if b, err := bagOf(got); err == nil && r.method == "POST" {
		s.note(b.certs) // a faulty server may certify what was meant to be refused
	}
	return got, nil
}

// once sends a request on a connection of its own.
func (s *session) once(ctx context.Context, l line, r *request) (*reply, error) {
	w, err := s.connect(ctx, l)
	if err != nil {
		return nil, err
	}
	defer w.Close()
	return s.over(ctx, w, r)
}

func pause(ctx context.Context, wait time.Duration) error {
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// get asks for something on the shared connection.
func (s *session) get(ctx context.Context, target string, fields ...field) (*reply, error) {
	return s.do(ctx, &request{method: "GET", target: target, fields: fields})
}

// noAnswer is the verdict when the connection broke.
func noAnswer(err error) verdict {
	if errors.Is(err, errStranger) || errors.Is(err, errNoLogin) || errors.Is(err, errUnmet) {
		return unrun("%s", brief(err.Error()))
	}
	return failed("no answer: %s", brief(err.Error()))
}

// names gives those of the configuration by their kinds.
func (s *session) names(r *est.Request) error {
	for _, name := range s.Names {
		u, err := url.Parse(name)
		address, noAddress := netip.ParseAddr(name)
		switch {
		case noAddress == nil:
			r.IPAddresses = append(r.IPAddresses, address.AsSlice())
		case err == nil && u.Scheme != "" && (u.Host != "" || u.Opaque != ""):
			r.URIs = append(r.URIs, u)
		case strings.Contains(name, "@"):
			r.EmailAddresses = append(r.EmailAddresses, name)
		case name == "":
			return errors.New("a name is empty")
		default:
			r.DNSNames = append(r.DNSNames, name)
		}
	}
	r.SubjectName.CommonName = s.Names[0]
	return nil
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

func list[T any](all []T, text func(T) string) string {
	var words []string
	for _, one := range all {
		words = append(words, text(one))
	}
	return strings.Join(words, ", ")
}

func subject(c *x509.Certificate) string { return fmt.Sprintf("%q", brief(c.Subject.String())) }

package conform

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"chancery/est"
)

var httpSteps = []step{
	{Check{"http.keep-alive", Should, "RFC 9112 §9.3", "keeps a connection after an error"}, (*session).httpKeepAlive},
	{Check{"http.host", Must, "RFC 9112 §3.2", "answers 400 to HTTP/1.1 without Host"}, (*session).httpHost},
	{Check{"http.plain", Must, "RFC 7030 §3.3", "answers nothing of EST without TLS on its port"}, (*session).httpPlain},
	{Check{"http.h2", Must, "RFC 9113 §3.3", "answers in HTTP/2 where it agrees to that"}, (*session).httpH2},
	{Check{"http.compression", Field, "all clients", "does not compress unasked, nor when asked: no client of EST unpacks"}, (*session).httpGzip},
	{Check{"http.bad-request", Must, "RFC 9112 §3", "answers 400, or ends, when what comes is not HTTP"}, (*session).httpBad},
	{Check{"http.error-text", Should, "RFC 7030 §4.2.3, RFC 8951 §5", "gives its reasons as text/plain that people can read"}, (*session).httpText},
	{Check{"http.error-said", Should, "RFC 7030 §4.2.3", "gives a reason with every refusal but a 401"}, (*session).httpSaid},
	{Check{"http.no-5xx", Must, "RFC 7030 §4.2.3", "blames no mistake of the client's on itself (5xx)"}, (*session).http5xx},
	{Check{"http.redirect", Must, "RFC 7030 §3.2.1", "redirects to https alone"}, (*session).httpRedirect},
	{Check{"http.head", Field, "strongSwan, libest", "has less than a kilobyte of header before what it grants"}, (*session).httpHead},
	{Check{"http.survives", Must, "RFC 7030 §6", "still answers cacerts after all this"}, (*session).httpSurvives},
}

func (s *session) httpKeepAlive(ctx context.Context) verdict {
	w, err := s.connect(ctx, line{})
	if err != nil {
		return noAnswer(err)
	}
	defer w.Close()
	first, err := s.over(ctx, w, &request{method: "GET", target: s.beside("conform-no-such")})
	if err != nil {
		return noAnswer(err)
	}
	if w.closed {
		return failed("the connection ended after %s", first)
	}
	second, err := s.over(ctx, w, &request{method: "GET", target: s.path(est.CACerts)})
	if err != nil {
		return failed("after %d the connection broke: %s", first.status, brief(err.Error()))
	}
	return judge(second.status == 200, "first %d, and then %s", first.status, second)
}

func (s *session) httpHost(ctx context.Context) verdict {
	r, err := s.once(ctx, line{}, &request{method: "GET", target: s.path(est.CACerts), nameless: true})
	if err != nil {
		return noAnswer(err)
	}
	return judge(r.status == 400, "the answer is %s", r)
}

func (s *session) httpPlain(ctx context.Context) verdict {
	text, err := s.raw(ctx, func(ctx context.Context) (net.Conn, error) { return s.dial(ctx) },
		fmt.Sprintf("GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", s.path(est.CACerts), s.authority))
	if err != nil {
		return unrun("%s", brief(err.Error()))
	}
	first, _, _ := strings.Cut(text, "\n")
	return judge(!strings.HasPrefix(text, "HTTP/") || !strings.Contains(first, " 2"), "without TLS came %q", brief(first))
}

// raw sends a text and reads the beginning of what comes.
func (s *session) raw(ctx context.Context, dial func(context.Context) (net.Conn, error), text string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	conn, err := dial(ctx)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, text); err != nil {
		return "", nil // it ended: nothing came
	}
	start := make([]byte, 512)
	n, err := io.ReadAtLeast(conn, start, 12)
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return "", err
	}
	return string(start[:n]), nil
}

func (s *session) httpBad(ctx context.Context) verdict {
	text, err := s.raw(ctx, func(ctx context.Context) (net.Conn, error) {
		w, err := s.connect(ctx, line{})
		if err != nil {
			return nil, err
		}
		return w.tls, nil
	}, "\x00\x01 this is not HTTP\r\n\r\n")
	if err != nil {
		return failed("the server goes on waiting: %s", brief(err.Error()))
	}
	first, _, _ := strings.Cut(text, "\n")
	return judge(text == "" || strings.HasPrefix(text, "HTTP/1.") && strings.Contains(first, " 4") || !strings.HasPrefix(text, "HTTP/"), "what came is %q", brief(first))
}

func (s *session) httpH2(ctx context.Context) verdict {
	w, err := s.connect(ctx, line{protocol: []string{"h2", "http/1.1"}})
	if err != nil {
		return noAnswer(err)
	}
	agreed := w.tls.ConnectionState().NegotiatedProtocol
	w.Close()
	if agreed != "h2" {
		return absent("with h2 and http/1.1 offered, %q was agreed", brief(agreed))
	}
	transport := &http.Transport{
		ForceAttemptHTTP2: true, DisableCompression: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: s.host}, // nothing secret is sent
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return s.dial(ctx) },
	}
	defer transport.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+s.authority+s.path(est.CACerts), nil)
	if err != nil {
		return unrun("%s", brief(err.Error()))
	}
	got, err := transport.RoundTrip(r)
	if err != nil {
		return failed("%s", brief(err.Error()))
	}
	defer got.Body.Close()
	body, err := io.ReadAll(io.LimitReader(got.Body, bodyMost))
	if err != nil {
		return failed("the body ends early: %s", brief(err.Error()))
	}
	_, err = unarmoured(body)
	return judge(got.ProtoMajor == 2 && got.StatusCode == 200 && err == nil, "%s %d with %d octets", got.Proto, got.StatusCode, len(body))
}

func (s *session) httpGzip(ctx context.Context) verdict {
	r, err := s.get(ctx, s.path(est.CACerts), field{"Accept-Encoding", "gzip, deflate"})
	if err != nil {
		return noAnswer(err)
	}
	text := r.get("Content-Encoding")
	return judge(text == "" || text == "identity", "Content-Encoding: %q", brief(text))
}

// words tells whether a refusal's body is text that people can read; nil if it is, or if
// there is none.
func words(r *reply) error {
	if len(r.body) == 0 {
		return nil
	}
	m, err := est.ParseMedia(r.get("Content-Type"))
	text := strings.TrimSpace(string(r.body))
	switch {
	case r.get("Content-Type") != "" && (err != nil || m.Type != est.PlainText && m.Type != est.PKCS7Mime):
		return fmt.Errorf("a %d has the content type %s", r.status, brief(r.get("Content-Type")))
	case m.Type == est.PKCS7Mime:
		return nil
	case !utf8.ValidString(text):
		return fmt.Errorf("the text of a %d is not UTF-8", r.status)
	case strings.HasPrefix(text, "<") || strings.HasPrefix(text, "{"):
		return fmt.Errorf("the text of a %d is markup: %q", r.status, brief(text[:min(len(text), 80)]))
	case len(text) > 4<<10:
		return fmt.Errorf("the text of a %d has %d octets", r.status, len(text))
	}
	return nil
}

// refusals calls do for every refusal that came in the whole run.
func (s *session) refusals(do func(*reply) error) verdict {
	n := 0
	for _, r := range s.all {
		if !r.refused() {
			continue
		}
		n++
		if err := do(r); err != nil {
			return failed("%s", err)
		}
	}
	if n == 0 {
		return unrun("nothing was refused: run it together with the others")
	}
	return passed("%s", plural(n, "refusal"))
}

func (s *session) httpText(context.Context) verdict { return s.refusals(words) }

func (s *session) httpSaid(context.Context) verdict {
	return s.refusals(func(r *reply) error {
		if len(r.body) == 0 && r.status != 401 && !r.bodiless {
			return fmt.Errorf("a %d has no text", r.status)
		}
		return nil
	})
}

func (s *session) http5xx(context.Context) verdict {
	return s.refusals(func(r *reply) error {
		if r.status >= 500 && r.status != 501 && r.status != 503 {
			return fmt.Errorf("one answer is %s", r)
		}
		return nil
	})
}

func (s *session) httpRedirect(context.Context) verdict {
	n := 0
	for _, r := range s.all {
		if r.status/100 != 3 {
			continue
		}
		n++
		to, err := url.Parse(r.get("Location"))
		if err != nil || to.Scheme != "" && to.Scheme != "https" {
			return failed("a %d leads to %q", r.status, brief(r.get("Location")))
		}
	}
	if n == 0 {
		return absent("nothing was redirected")
	}
	return passed("%s, none elsewhere than to https", plural(n, "redirect"))
}

func (s *session) httpHead(context.Context) verdict {
	most := 0
	for _, r := range s.all {
		if r.granted() {
			most = max(most, r.head)
		}
	}
	if most == 0 {
		return unrun("nothing was granted: run it together with the others")
	}
	return judge(most < 1024, "the longest header has %d octets", most)
}

func (s *session) httpSurvives(ctx context.Context) verdict {
	start := time.Now()
	r, err := s.once(ctx, line{}, &request{method: "GET", target: s.path(est.CACerts)})
	if err != nil {
		return noAnswer(err)
	}
	return judge(r.status == 200, "the answer is %s, after %s", r, time.Since(start).Round(time.Millisecond))
}

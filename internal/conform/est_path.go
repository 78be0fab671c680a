package conform

import (
	"context"
	"strings"

	"chancery/est"
)

var pathSteps = []step{
	{Check{"path.unknown-operation", Should, "RFC 7030 §3.2.2, RFC 9110 §15.5.5", "answers 404 or 501 to an operation that nobody knows"}, (*session).pathOperation},
	{Check{"path.unknown-label", Should, "RFC 7030 §3.2.2, RFC 9110 §15.5.5", "answers 404 to a label that nobody configured"}, (*session).pathLabel},
	{Check{"path.operation-as-label", Must, "RFC 7030 §3.2.2", "takes no operation's name for a label"}, (*session).pathNoLabel},
	{Check{"path.trailing", Field, "RFC 7030 §3.2.2", "answers nothing under what only begins like an operation"}, (*session).pathTrailing},
	{Check{"path.method-get", Must, "RFC 9110 §15.5.6, RFC 7030 §4.2.1", "refuses GET of simpleenroll, with Allow if with 405"}, (*session).pathGet},
	{Check{"path.method-post", Must, "RFC 9110 §15.5.6, RFC 7030 §4.1.2", "refuses POST to cacerts, with Allow if with 405"}, (*session).pathPost},
	{Check{"path.method-status", Should, "RFC 9110 §15.5.6", "calls a wrong method 405"}, (*session).pathStatus},
	{Check{"path.head", Field, "RFC 9110 §9.3.2", "answers HEAD of cacerts like GET, without a body, or not at all"}, (*session).pathHead},
}

// beside gives a target next to the operations.
func (s *session) beside(rest string) string {
	return strings.TrimSuffix(s.path(est.CACerts), "cacerts") + rest
}

func (s *session) pathOperation(ctx context.Context) verdict {
	r, err := s.get(ctx, s.beside("conform-no-such"))
	if err != nil {
		return noAnswer(err)
	}
	return judge(r.missing(), "the answer is %s", r)
}

func (s *session) pathLabel(ctx context.Context) verdict {
	r, err := s.get(ctx, est.WellKnown+"/conform-no-such-label/cacerts")
	if err != nil {
		return noAnswer(err)
	}
	return judge(r.missing(), "the answer is %s", r)
}

func (s *session) pathNoLabel(ctx context.Context) verdict {
	r, err := s.get(ctx, est.WellKnown+"/simpleenroll/cacerts")
	if err != nil {
		return noAnswer(err)
	}
	return judge(r.client() || r.status == 501, "under simpleenroll/cacerts the answer is %s", r)
}

func (s *session) pathTrailing(ctx context.Context) verdict {
	for _, rest := range []string{"cacerts/more", "cacertsx", "CACERTS"} {
		r, err := s.get(ctx, s.beside(rest))
		if err != nil {
			return noAnswer(err)
		}
		if !r.refused() {
			return failed("under %s the answer is %s", rest, r)
		}
	}
	return passed("cacerts/more, cacertsx and CACERTS were refused")
}

func (s *session) pathGet(ctx context.Context) verdict {
	r, err := s.get(ctx, s.path(est.SimpleEnroll))
	if err != nil {
		return noAnswer(err)
	}
	return methodRefused(r, "POST")
}

func (s *session) pathPost(ctx context.Context) verdict {
	r, err := s.post(ctx, est.CACerts, []byte("AAAA"))
	if err != nil {
		return noAnswer(err)
	}
	return methodRefused(r, "GET")
}

func methodRefused(r *reply, right string) verdict {
	if r.status != 405 {
		return judge(r.refused() || right == "POST" && r.status/100 == 3, "the answer is %s", r)
	}
	return judge(strings.Contains(r.get("Allow"), right), "the answer is 405 with Allow: %q", brief(r.get("Allow")))
}

func (s *session) pathStatus(ctx context.Context) verdict {
	r, err := s.post(ctx, est.CACerts, []byte("AAAA"))
	if err != nil {
		return noAnswer(err)
	}
	return judge(r.status == 405, "to POST of cacerts the answer is %s", r)
}

func (s *session) pathHead(ctx context.Context) verdict {
	w, err := s.connect(ctx, line{})
	if err != nil {
		return noAnswer(err)
	}
	defer w.Close()
	r, err := s.over(ctx, w, &request{method: "HEAD", target: s.path(est.CACerts)})
	if err != nil {
		return noAnswer(err)
	}
	if r.status != 200 {
		return judge(r.refused(), "the answer is %s", r)
	}
	if w.closed {
		return passed("the answer is 200")
	}
	// A body all the same would be taken for the next answer.
	next, err := s.over(ctx, w, &request{method: "GET", target: s.path(est.CACerts)})
	if err != nil {
		return failed("after a 200 what follows is no answer: %s", brief(err.Error()))
	}
	return judge(next.status == 200, "200 without a body, and then %s", next)
}

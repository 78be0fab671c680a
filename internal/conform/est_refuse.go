package conform

import (
	"bytes"
	"context"
	"strings"
	"time"

	"chancery/est"
)

var refusalSteps = []step{
	{Check{"enroll.unauthenticated", Must, "RFC 7030 §3.7, §4.2.1", "refuses whoever shows neither certificate nor password, with 401 or another 4xx"}, (*session).enrolBare},
	{Check{"enroll.challenge", Must, "RFC 9110 §11.6.1", "has a WWW-Authenticate field in a 401"}, (*session).enrolChallenge},
	{Check{"enroll.challenge-scheme", Must, "RFC 7030 §3.2.3", "offers Basic or Digest in it, where it takes passwords"}, (*session).enrolScheme},
	{Check{"enroll.challenge-spelling", Field, "libest", "spells it WWW-Authenticate, as libest looks for just that"}, (*session).enrolSpelling},
	{Check{"enroll.challenge-empty", Field, "Bouncy Castle", "has no body in a 401, as Bouncy Castle takes one for a broken connection"}, (*session).enrolEmpty401},
	{Check{"enroll.challenge-digest", Field, "Bouncy Castle, libest", "writes Digest with qop and without an algorithm first, where MD5 is offered"}, (*session).enrolDigest},
	{Check{"enroll.slow-body", Field, "Bouncy Castle", "reads the body of a request before it answers 401 and closes"}, (*session).enrolSlow},
	{Check{"enroll.wrong-password", Must, "RFC 7030 §3.2.3, §3.7", "refuses a wrong password"}, (*session).enrolWrongPassword},
	{Check{"enroll.strange-certificate", Must, "RFC 7030 §3.3.2, §3.7", "refuses a certificate of nobody's"}, (*session).enrolStranger},
	{Check{"enroll.no-body", Must, "RFC 7030 §4.2.3", "refuses an empty body with 4xx"}, bodied("", nil)},
	{Check{"enroll.no-base64", Must, "RFC 7030 §4.2.3", "refuses a body that is no base64 with 4xx"}, bodied("<not base64>&&&&", nil)},
	{Check{"enroll.no-request", Must, "RFC 7030 §4.2.3", "refuses base64 of something else with 4xx"}, bodied("", []byte("this is no certification request"))},
	{Check{"enroll.truncated", Must, "RFC 7030 §4.2.3", "refuses a request that is cut off with 4xx"}, mangled(func(der []byte) []byte { return der[:len(der)/2] })},
	{Check{"enroll.lengths", Must, "RFC 7030 §6", "refuses lengths that lie with 4xx"}, mangled(func(der []byte) []byte { return append([]byte{0x30, 0x84, 0x7f, 0xff, 0xff, 0xff}, der...) })},
	{Check{"enroll.nested", Must, "RFC 7030 §6", "refuses what is nested five thousand times with 4xx"}, bodied("", nest(5000))},
	{Check{"enroll.huge", Must, "RFC 7030 §6", "refuses a body of half a megabyte with 4xx"}, (*session).enrolHuge},
	{Check{"enroll.huge-status", Should, "RFC 9110 §15.5.14", "calls it 413"}, (*session).enrolHugeStatus},
	{Check{"enroll.media-wrong", Should, "RFC 9110 §15.5.16", "calls another content type than application/pkcs10 415"}, (*session).enrolMedia},
	{Check{"enroll.proof", Must, "RFC 7030 §3.4", "refuses a request whose signature does not fit"}, (*session).enrolProof},
}

// inBare is a check of the answer to whoever shows nothing.
func (s *session) inBare(ctx context.Context, do func(*reply) verdict) verdict {
	r, err := s.bare(ctx)
	if err != nil {
		return noAnswer(err)
	}
	return do(r)
}

// in401 is one of a 401.
func (s *session) in401(ctx context.Context, do func(*reply) verdict) verdict {
	return s.inBare(ctx, func(r *reply) verdict {
		if r.status != 401 {
			return absent("the answer is %s", r)
		}
		return do(r)
	})
}

func (s *session) enrolBare(ctx context.Context) verdict {
	return s.inBare(ctx, func(r *reply) verdict { return judge(r.client(), "the answer is %s", r) })
}

func (s *session) enrolChallenge(ctx context.Context) verdict {
	return s.in401(ctx, func(r *reply) verdict {
		return judge(r.get("WWW-Authenticate") != "", "WWW-Authenticate: %q", brief(strings.Join(r.values("WWW-Authenticate"), ", ")))
	})
}

func (s *session) enrolScheme(ctx context.Context) verdict {
	return s.in401(ctx, func(r *reply) verdict {
		var found []string
		for _, c := range challenges(r) {
			if c.scheme == "basic" || c.scheme == "digest" {
				found = append(found, c.scheme)
			}
		}
		return judge(len(found) > 0, "offered: %q", strings.Join(found, ", "))
	})
}

func (s *session) enrolSpelling(ctx context.Context) verdict {
	return s.in401(ctx, func(r *reply) verdict {
		name := r.spelled("WWW-Authenticate")
		return judge(name == "WWW-Authenticate", "the field is spelt %q", brief(name))
	})
}

func (s *session) enrolEmpty401(ctx context.Context) verdict {
	return s.in401(ctx, func(r *reply) verdict {
		return judge(len(r.body) <= 1 && !r.chunked, "the body of the 401 has %d octets, chunked: %t", len(r.body), r.chunked)
	})
}

func (s *session) enrolDigest(ctx context.Context) verdict {
	return s.in401(ctx, func(r *reply) verdict {
		for _, c := range challenges(r) {
			if c.scheme != "digest" {
				continue
			}
			algorithm := strings.ToUpper(c.parameters["algorithm"])
			if algorithm != "" && algorithm != "MD5" {
				return absent("the first Digest is %s, which old clients do not have", brief(algorithm))
			}
			return judge(algorithm == "" && c.parameters["qop"] != "", "%s", brief(c.raw))
		}
		return absent("Digest is not offered")
	})
}

func (s *session) enrolSlow(ctx context.Context) verdict {
	der, err := s.dummy()
	if err != nil {
		return unrun("%s", err)
	}
	w, err := s.connect(ctx, line{})
	if err != nil {
		return noAnswer(err)
	}
	defer w.Close()
	r, err := s.over(ctx, w, &request{
		method: "POST", target: s.path(est.SimpleEnroll), fields: ordinary(est.PKCS10),
		body: est.Encode(der, est.Wrapped), pause: 300 * time.Millisecond, patience: s.Timeout,
	})
	if err != nil {
		return failed("a body that came 0.3 s after its header was not waited for: %s", brief(err.Error()))
	}
	if r.early && w.closed {
		return failed("before the body was sent the answer came, and the connection was closed; it is %s", r)
	}
	return judge(r.client(), "the answer is %s, after the body", r)
}

func (s *session) enrolWrongPassword(ctx context.Context) verdict {
	return s.in401(ctx, func(r *reply) verdict {
		der, err := s.dummy()
		if err != nil {
			return unrun("%s", err)
		}
		offers := challenges(r)
		if len(offers) == 0 {
			return unrun("no way to send a password is offered")
		}
		wrong := &est.Login{User: "conform-invalid", Password: "not a password"}
		text := basic(wrong.User, string(wrong.Password))
		if offers[0].scheme == "digest" {
			text = offers[0].answer("POST", s.path(est.SimpleEnroll), wrong)
		}
		got, err := s.post(ctx, est.SimpleEnroll, est.Encode(der, est.Wrapped), append(ordinary(est.PKCS10), field{"Authorization", text})...)
		if err != nil {
			return noAnswer(err)
		}
		return judge(got.client(), "the answer is %s", got)
	})
}

func (s *session) enrolStranger(ctx context.Context) verdict {
	shown, err := selfMade(noName, nil)
	if err != nil {
		return unrun("%s", err)
	}
	der, err := s.dummy()
	if err != nil {
		return unrun("%s", err)
	}
	r, err := s.once(ctx, line{shown: shown, nobodys: true}, &request{
		method: "POST", target: s.path(est.SimpleEnroll), fields: ordinary(est.PKCS10), body: est.Encode(der, est.Wrapped),
	})
	if err != nil {
		return judge(strings.Contains(err.Error(), "tls"), "it was refused in TLS: %s", brief(err.Error()))
	}
	return judge(r.client(), "the answer is %s", r)
}

// hostile sends a body that has to be refused, as whoever may enrol, if that is known.
func (s *session) hostile(ctx context.Context, body []byte, media string) (*reply, error) {
	l := line{}
	if s.Login == nil {
		l.shown = s.Shown
	}
	w, err := s.connect(ctx, l)
	if err != nil {
		return nil, err
	}
	defer w.Close()
	r := &request{method: "POST", target: s.path(est.SimpleEnroll), fields: ordinary(media), body: body}
	if s.Login != nil {
		if err := s.authorize(ctx, w, r); err != nil {
			return nil, err
		}
	}
	return s.over(ctx, w, r)
}

// bodied is a check that a body is refused: this text, or the base64 of octets.
func bodied(text string, octets []byte) func(*session, context.Context) verdict {
	body := []byte(text)
	if octets != nil {
		body = est.Encode(octets, est.Wrapped)
	}
	return func(s *session, ctx context.Context) verdict { return s.bodyRefused(ctx, body) }
}

// mangled is a check that what was a request is refused.
func mangled(how func([]byte) []byte) func(*session, context.Context) verdict {
	return func(s *session, ctx context.Context) verdict {
		der, err := s.dummy()
		if err != nil {
			return unrun("%s", err)
		}
		return s.bodyRefused(ctx, est.Encode(how(der), est.Wrapped))
	}
}

func (s *session) bodyRefused(ctx context.Context, body []byte) verdict {
	r, err := s.hostile(ctx, body, est.PKCS10)
	if err != nil {
		return noAnswer(err)
	}
	return judge(r.client(), "the answer is %s%s", r, s.hidden(r))
}

// hidden says that a refusal was for want of authentication.
func (s *session) hidden(r *reply) string {
	if _, ok := s.able(); !ok && (r.status == 401 || r.status == 403) {
		return " (without authentication it may not have come to the body)"
	}
	return ""
}

// nest gives sequences in sequences.
func nest(depth int) []byte {
	return append(bytes.Repeat([]byte{0x30, 0x80}, depth), bytes.Repeat([]byte{0, 0}, depth)...)
}

// hugeBody is more than any request.
var hugeBody = bytes.Repeat([]byte("MIIB"), 128<<10)

func (s *session) enrolHuge(ctx context.Context) verdict {
	r, err := s.hostile(ctx, hugeBody, est.PKCS10)
	if err != nil {
		return failed("it did not come to an answer that the client hears: %s", brief(err.Error()))
	}
	return judge(r.client(), "the answer is %s", r)
}

func (s *session) enrolHugeStatus(ctx context.Context) verdict {
	r, err := s.hostile(ctx, hugeBody, est.PKCS10)
	if err != nil {
		return noAnswer(err)
	}
	if text := s.hidden(r); text != "" {
		return unrun("the answer is %s%s", r, text)
	}
	return judge(r.status == 413, "the answer is %s", r)
}

func (s *session) enrolMedia(ctx context.Context) verdict {
	der, err := s.dummy()
	if err != nil {
		return unrun("%s", err)
	}
	r, err := s.hostile(ctx, est.Encode(der, est.Wrapped), "application/x-www-form-urlencoded")
	if err != nil {
		return noAnswer(err)
	}
	if text := s.hidden(r); text != "" {
		return unrun("the answer is %s%s", r, text)
	}
	return judge(r.status == 415, "the answer is %s", r)
}

func (s *session) enrolProof(ctx context.Context) verdict {
	if v, ok := s.able(); !ok {
		return v
	}
	i, err := s.enrol(ctx, order{alter: func(der []byte) []byte {
		der[len(der)-3] ^= 1
		return der
	}})
	if err != nil {
		return noAnswer(err)
	}
	return judge(i.reply.client(), "the answer is %s", i.reply)
}

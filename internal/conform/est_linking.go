package conform

import (
	"context"
	"crypto/tls"
	"errors"

	"chancery/est"
)

var linkingSteps = []step{
	{Check{"linking.tls-unique", Must, "RFC 7030 §3.5", "takes the right tls-unique in challengePassword"}, (*session).linkUnique},
	{Check{"linking.tls-unique-wrong", Must, "RFC 7030 §3.5", "refuses a tls-unique that is not the connection's"}, (*session).linkUniqueWrong},
	{Check{"linking.other-connection", Must, "RFC 7030 §3.5", "refuses a request that was made for another connection"}, (*session).linkOther},
	{Check{"linking.exporter", Should, "RFC 9266 §2, RFC 9148 §3", "takes the right tls-exporter under TLS 1.3"}, (*session).linkExporter},
	{Check{"linking.exporter-wrong", Must, "RFC 7030 §3.5, RFC 9266 §2", "refuses one that is not the connection's under TLS 1.3"}, (*session).linkExporterWrong},
	{Check{"linking.garbage", Must, "RFC 7030 §3.5", "refuses a challengePassword that is no binding at all"}, (*session).linkGarbage},
	{Check{"linking.identity", Should, "RFC 7894 §3.3", "takes the right binding in estIdentityLinking where csrattrs announces it"}, (*session).linkIdentity},
	{Check{"linking.identity-wrong", Must, "RFC 7894 §3.3", "refuses a wrong one there, where csrattrs announces it"}, (*session).linkIdentityWrong},
	{Check{"linking.words", Should, "RFC 7030 §3.5", "says in words that it is the linking"}, (*session).linkWords},
}

// link sends a request with a binding and judges whether it is taken as it should be.
func (s *session) link(ctx context.Context, o order, good bool) verdict {
	i, v, ok := s.linked(ctx, o)
	if !ok {
		return v
	}
	if good {
		return judge(i.accepted(), "the answer is %s", i.reply)
	}
	return judge(i.reply.client(), "the answer is %s", i.reply)
}

func (s *session) linked(ctx context.Context, o order) (*issued, verdict, bool) {
	if s.ChallengeSecret {
		return nil, absent("this server reads challengePassword as a secret of its own"), false
	}
	var out *issued
	v := s.inFirst(ctx, func(first *issued) verdict {
		if !first.accepted() {
			return unrun("an ordinary request is refused, too: %s", first.reply)
		}
		if err := s.speaks(ctx, max(o.line.max, tls.VersionTLS12)); err != nil {
			return absent("the server does not speak %s", tls.VersionName(o.line.max))
		}
		var err error
		if out, err = s.enrol(ctx, o); err != nil {
			if _, unlinked := errors.AsType[*est.Error](err); unlinked {
				return unrun("%s", brief(err.Error()))
			}
			return noAnswer(err)
		}
		return verdict{}
	})
	return out, v, out != nil
}

var (
	under12 = line{max: tls.VersionTLS12}
	under13 = line{min: tls.VersionTLS13, max: tls.VersionTLS13}
)

func rightly(w *wire) (est.Binding, bool, error) {
	b, err := bindingOf(w)
	return b, false, err
}

// wrongly changes one bit, so that only a comparison finds it out.
func wrongly(w *wire) (est.Binding, bool, error) {
	b, err := bindingOf(w)
	if err == nil {
		b.Value = append([]byte{}, b.Value...)
		b.Value[len(b.Value)-1] ^= 1
	}
	return b, false, err
}

func inIdentity(of func(*wire) (est.Binding, bool, error)) func(*wire) (est.Binding, bool, error) {
	return func(w *wire) (est.Binding, bool, error) {
		b, _, err := of(w)
		return b, true, err
	}
}

func (s *session) linkUnique(ctx context.Context) verdict {
	return s.link(ctx, order{line: under12, linking: rightly}, true)
}

func (s *session) linkUniqueWrong(ctx context.Context) verdict {
	return s.link(ctx, order{line: under12, linking: wrongly}, false)
}

func (s *session) linkExporter(ctx context.Context) verdict {
	return s.link(ctx, order{line: under13, linking: rightly}, true)
}

func (s *session) linkExporterWrong(ctx context.Context) verdict {
	return s.link(ctx, order{line: under13, linking: wrongly}, false)
}

func (s *session) linkOther(ctx context.Context) verdict {
	other, err := s.connect(ctx, under12)
	if err != nil {
		return absent("the server does not speak TLS 1.2")
	}
	defer other.Close()
	return s.link(ctx, order{line: under12, linking: func(*wire) (est.Binding, bool, error) { return rightly(other) }}, false)
}

func (s *session) linkGarbage(ctx context.Context) verdict {
	return s.link(ctx, order{line: under12, linking: func(*wire) (est.Binding, bool, error) {
		return est.Binding{Value: []byte("no binding")}, false, nil
	}}, false)
}

func (s *session) linkIdentity(ctx context.Context) verdict {
	if !s.wanted(ctx).IdentityLinking {
		return absent("csrattrs does not announce estIdentityLinking")
	}
	return s.link(ctx, order{line: under12, linking: inIdentity(rightly)}, true)
}

func (s *session) linkIdentityWrong(ctx context.Context) verdict {
	if !s.wanted(ctx).IdentityLinking {
		return absent("csrattrs does not announce estIdentityLinking")
	}
	return s.link(ctx, order{line: under12, linking: inIdentity(wrongly)}, false)
}

func (s *session) linkWords(ctx context.Context) verdict {
	i, v, ok := s.linked(ctx, order{line: under12, linking: wrongly})
	switch {
	case !ok:
		return v
	case !i.reply.refused():
		return unrun("it was not refused")
	}
	return judge(words(i.reply) == nil && len(i.reply.body) > 0, "the answer is %s", i.reply)
}

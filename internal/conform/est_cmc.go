package conform

import (
	"context"

	"chancery/est"
)

var cmcSteps = []step{
	{Check{"cmc.offered", Must, "RFC 7030 §4.3.2", "answers 404 or 501 where it is off, and anything but 5xx where it is on"}, (*session).cmcOffered},
	{Check{"cmc.garbage", Must, "RFC 7030 §4.3.1", "refuses what is no Full PKI Request"}, (*session).cmcGarbage},
	{Check{"cmc.simple", Must, "RFC 7030 §4.3.1", "refuses a simple request, PKCS#10"}, (*session).cmcSimple},
	{Check{"cmc.answer", Must, "RFC 7030 §4.3.2", "refuses in words, or in a CMC response"}, (*session).cmcAnswer},
}

// cmcMedia is what requests to /fullcmc are (RFC 7030 §4.3.1).
const cmcMedia = "application/pkcs7-mime; smime-type=CMC-request"

// cmc sends something to /fullcmc.
func (s *session) cmc(ctx context.Context, body []byte, do func(*reply) verdict) verdict {
	r, err := s.post(ctx, est.FullCMC, body, ordinary(cmcMedia)...)
	if err != nil {
		return noAnswer(err)
	}
	return do(r)
}

func (s *session) cmcOffered(ctx context.Context) verdict {
	return s.cmc(ctx, []byte("AAAA"), func(r *reply) verdict {
		return judge(r.status < 500 || r.missing(), "the answer is %s", r)
	})
}

// inCMC is a check of a server that has the operation.
func (s *session) inCMC(ctx context.Context, body []byte, do func(*reply) verdict) verdict {
	return s.cmc(ctx, body, func(r *reply) verdict {
		if r.missing() {
			return absent("fullcmc is off: %s", r)
		}
		return do(r)
	})
}

func (s *session) cmcGarbage(ctx context.Context) verdict {
	return s.inCMC(ctx, est.Encode([]byte("this is no Full PKI Request"), est.Wrapped), func(r *reply) verdict {
		return judge(r.client(), "the answer is %s", r)
	})
}

func (s *session) cmcSimple(ctx context.Context) verdict {
	der, err := s.dummy()
	if err != nil {
		return unrun("%s", err)
	}
	return s.inCMC(ctx, est.Encode(der, est.Wrapped), func(r *reply) verdict {
		return judge(r.client(), "the answer is %s", r)
	})
}

func (s *session) cmcAnswer(ctx context.Context) verdict {
	return s.inCMC(ctx, est.Encode([]byte("this is no Full PKI Request"), est.Wrapped), func(r *reply) verdict {
		if !r.refused() {
			return unrun("it was not refused: %s", r)
		}
		m, err := est.ParseMedia(r.get("Content-Type"))
		if err == nil && m.Type == est.PKCS7Mime {
			return judge(m.SMIMEType == est.CMCResponse, "Content-Type: %s", brief(r.get("Content-Type")))
		}
		if err := words(r); err != nil {
			return failed("%s", err)
		}
		return judge(len(r.body) > 0 || r.status == 401, "the answer is %s", r)
	})
}

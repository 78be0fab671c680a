package conform

import (
	"context"
	"encoding/asn1"
	"fmt"

	"chancery/est"
)

var csrattrsSteps = []step{
	{Check{"csrattrs.status", Must, "RFC 7030 §4.5.2", "answers 200, or 204 or 404 where nothing is wished; 501 where it has no such thing"}, (*session).csrattrsStatus},
	{Check{"csrattrs.unauthenticated", Should, "RFC 7030 §4.5", "needs no client authentication"}, (*session).csrattrsOpen},
	{Check{"csrattrs.media-type", Must, "RFC 7030 §4.5.2", "has the content type application/csrattrs"}, (*session).csrattrsType},
	{Check{"csrattrs.base64", Must, "RFC 8951 §3", "is base64"}, (*session).csrattrsBase64},
	{Check{"csrattrs.parses", Must, "RFC 7030 §4.5.2, RFC 8951 §4", "is the DER of a sequence of identifiers and attributes"}, (*session).csrattrsParses},
	{Check{"csrattrs.extension-request", Must, "RFC 9908 §3.2", "has at most one extension request, with exactly one list of extensions"}, (*session).csrattrsExtensions},
	{Check{"csrattrs.curves", Must, "RFC 9908 §3.1, RFC 8951 §4", "does not name a curve or a hash without the key or signature that it belongs to"}, (*session).csrattrsCurves},
	{Check{"csrattrs.template", Must, "RFC 9908 §3.4", "has at most one template, and it can be read"}, (*session).csrattrsTemplate},
	{Check{"csrattrs.template-agrees", Should, "RFC 9908 §3.4, §4", "says the same of the key in the template and beside it"}, (*session).csrattrsAgrees},
	{Check{"csrattrs.possible", Field, "RFC 7030 §4.5.2", "wishes nothing that contradicts itself"}, (*session).csrattrsPossible},
}

// inList is a check that needs CSR attributes.
func (s *session) inList(ctx context.Context, do func(est.CSRAttrs) verdict) verdict {
	return s.inWishes(ctx, func(*reply) verdict {
		all, err := s.attributes(ctx)
		if err != nil {
			return unrun("the list cannot be read")
		}
		return do(all)
	})
}

// inWishes is a check that needs an answer with CSR attributes.
func (s *session) inWishes(ctx context.Context, do func(*reply) verdict) verdict {
	_, err := s.attributes(ctx)
	r := s.csrattrsReply
	switch {
	case r == nil:
		return noAnswer(err)
	case r.status != 200:
		return absent("the answer is %s", r)
	}
	return do(r)
}

func (s *session) csrattrsStatus(ctx context.Context) verdict {
	_, err := s.attributes(ctx)
	r := s.csrattrsReply
	if r == nil {
		return noAnswer(err)
	}
	good := r.status == 200 || r.status == 204 || r.missing() || r.status == 401
	return judge(good, "the answer is %s", r)
}

func (s *session) csrattrsOpen(ctx context.Context) verdict {
	_, err := s.attributes(ctx)
	r := s.csrattrsReply
	if r == nil {
		return noAnswer(err)
	}
	return judge(r.status != 401 && r.status != 403, "without certificate and password the answer is %s", r)
}

func (s *session) csrattrsType(ctx context.Context) verdict {
	return s.inWishes(ctx, func(r *reply) verdict {
		m, err := est.ParseMedia(r.get("Content-Type"))
		return judge(err == nil && m.Type == est.CSRAttrsType, "Content-Type: %s", brief(r.get("Content-Type")))
	})
}

func (s *session) csrattrsBase64(ctx context.Context) verdict {
	return s.inWishes(ctx, func(r *reply) verdict { return inBase64(r.body) })
}

func (s *session) csrattrsParses(ctx context.Context) verdict {
	return s.inWishes(ctx, func(*reply) verdict {
		all, err := s.attributes(ctx)
		if err != nil {
			return failed("%s", brief(err.Error()))
		}
		return passed("a list of %d", len(all))
	})
}

func (s *session) csrattrsExtensions(ctx context.Context) verdict {
	return s.inList(ctx, func(all est.CSRAttrs) verdict {
		found := 0
		for _, a := range all {
			if !a.Type.Equal(est.OIDExtensionRequest) {
				continue
			}
			found++
			if len(a.Values) != 1 {
				return failed("an extension request has %s", plural(len(a.Values), "value"))
			}
			var extensions []asn1.RawValue
			if rest, err := asn1.Unmarshal(a.Values[0], &extensions); err != nil || len(rest) > 0 || len(extensions) == 0 {
				return failed("the value of the extension request is no list of extensions")
			}
			for _, e := range extensions {
				var id asn1.ObjectIdentifier
				if _, err := asn1.Unmarshal(e.Bytes, &id); err != nil || e.Tag != asn1.TagSequence {
					return failed("the extension request holds what is no extension (RFC 7030's own example does, and RFC 9908 calls it wrong)")
				}
			}
		}
		return judge(found <= 1, "%s", plural(found, "extension request"))
	})
}

// dependent are identifiers that say nothing alone: curves and hashes.
var dependent = map[string]string{
	est.OIDP256.String(): "P-256", est.OIDP384.String(): "P-384", est.OIDP521.String(): "P-521",
	est.OIDSHA256.String(): "SHA-256", est.OIDSHA384.String(): "SHA-384", est.OIDSHA512.String(): "SHA-512",
}

func (s *session) csrattrsCurves(ctx context.Context) verdict {
	return s.inList(ctx, func(all est.CSRAttrs) verdict {
		for _, a := range all {
			if name := dependent[a.Type.String()]; name != "" && a.Values == nil {
				return failed("%s stands alone: a curve goes into an attribute of id-ecPublicKey, a hash into a signature's identifier", name)
			}
		}
		return passed("none stands alone")
	})
}

func (s *session) csrattrsTemplate(ctx context.Context) verdict {
	return s.inList(ctx, func(all est.CSRAttrs) verdict {
		t, has, err := est.TemplateOf(all)
		switch {
		case err != nil:
			return failed("%s", brief(err.Error()))
		case !has:
			return absent("there is no template")
		}
		return passed("it has %s and %s", plural(len(t.Subject), "name"), plural(len(t.Extensions), "extension"))
	})
}

func (s *session) csrattrsAgrees(ctx context.Context) verdict {
	return s.inList(ctx, func(all est.CSRAttrs) verdict {
		_, has, err := est.TemplateOf(all)
		if err != nil || !has {
			return absent("there is no template that can be read")
		}
		var legacy est.CSRAttrs
		for _, a := range all {
			if !a.Type.Equal(est.OIDCertificationRequestInfoTemplate) {
				legacy = append(legacy, a)
			}
		}
		by, err := est.Want(all)
		beside, besideErr := est.Want(legacy)
		if err != nil || besideErr != nil {
			return unrun("it contradicts itself")
		}
		return judge(beside.Key == "" || by.Key == "" || by.Key == beside.Key, "the key by the template: %s; beside it: %s", orAny(by.Key), orAny(beside.Key))
	})
}

func orAny(key string) string {
	if key == "" {
		return "any"
	}
	return key
}

func (s *session) csrattrsPossible(ctx context.Context) verdict {
	return s.inList(ctx, func(all est.CSRAttrs) verdict {
		w, err := est.Want(all)
		switch {
		case err != nil:
			return failed("%s", brief(err.Error()))
		case len(w.Unmet) > 0:
			return unrun("the suite cannot give what is wished: %s", fmt.Sprint(w.Unmet))
		}
		return passed("key: %s, linking: %t", orAny(w.Key), w.ChallengePassword || w.IdentityLinking)
	})
}

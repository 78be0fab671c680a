package conform

import (
	"bytes"
	"context"
	"encoding/base64"
	"slices"
	"strings"

	"chancery/est"
)

var acceptSteps = []step{
	{Check{"enroll.one-line", Must, "RFC 8951 §3.1", "takes base64 without line breaks, as strongSwan sends it"},
		accepting(order{body: func(der []byte) []byte { return est.Encode(der, est.Bare) }})},
	{Check{"enroll.line-breaks", Should, "RFC 8951 §3.1", "takes lines of 76 that end with CR LF"}, accepting(order{body: crlf})},
	{Check{"enroll.spaces", Should, "RFC 8951 §3.1", "takes spaces and tabs between"}, accepting(order{body: spaced})},
	{Check{"enroll.transfer-encoding-absent", Must, "RFC 8951 §3; strongSwan, libest", "needs no Content-Transfer-Encoding"}, accepting(order{send: func(r *request) {
		r.fields = slices.DeleteFunc(r.fields, func(f field) bool { return f.name == "Content-Transfer-Encoding" })
	}})},
	{Check{"enroll.transfer-encoding-odd", Must, "RFC 8951 §3", "takes no notice of a Content-Transfer-Encoding that says binary"}, accepting(order{send: func(r *request) {
		for i := range r.fields {
			if r.fields[i].name == "Content-Transfer-Encoding" {
				r.fields[i].value = "binary"
			}
		}
	}})},
	{Check{"enroll.media-case", Must, "RFC 9110 §8.3.1", "takes APPLICATION/PKCS10"}, accepting(order{send: media("APPLICATION/PKCS10")})},
	{Check{"enroll.media-parameters", Should, "RFC 9110 §8.3.1", "takes parameters that it does not know"}, accepting(order{send: media(`application/pkcs10; charset="utf-8"`)})},
	{Check{"enroll.chunked", Must, "RFC 9112 §7.1; globalsign", "takes a body in chunks"}, accepting(order{send: func(r *request) { r.chunked = true }})},
	{Check{"enroll.continue", Must, "RFC 9110 §10.1.1, RFC 7030 A.4", "asks for the body with 100 when the client waits for that"}, (*session).acceptContinue},
	{Check{"enroll.no-user-agent", Must, "RFC 9110 §10.1.5; strongSwan", "takes requests without User-Agent and Accept"}, accepting(order{send: func(r *request) { r.anonymous = true }})},
	{Check{"enroll.field-case", Must, "RFC 9110 §5.1", "takes field names in small letters"}, accepting(order{send: func(r *request) {
		for i := range r.fields {
			r.fields[i].name = strings.ToLower(r.fields[i].name)
		}
	}})},
}

func crlf(der []byte) []byte {
	text := base64.StdEncoding.EncodeToString(der)
	var b bytes.Buffer
	for ; len(text) > 76; text = text[76:] {
		b.WriteString(text[:76] + "\r\n")
	}
	b.WriteString(text + "\r\n")
	return b.Bytes()
}

func spaced(der []byte) []byte {
	return bytes.ReplaceAll(est.Encode(der, est.Wrapped), []byte("\n"), []byte(" \t\n  "))
}

func media(text string) func(*request) {
	return func(r *request) {
		for i := range r.fields {
			if r.fields[i].name == "Content-Type" {
				r.fields[i].value = text
			}
		}
	}
}

// accepting is a check that a request of this form gets what an ordinary one gets.
func accepting(o order) func(*session, context.Context) verdict {
	return func(s *session, ctx context.Context) verdict { return s.accept(ctx, o) }
}

func (s *session) accept(ctx context.Context, o order) verdict {
	return s.inFirst(ctx, func(first *issued) verdict {
		if !first.accepted() {
			return unrun("an ordinary request is refused, too: %s", first.reply)
		}
		i, err := s.enrol(ctx, o)
		if err != nil {
			return noAnswer(err)
		}
		return judge(i.accepted(), "the answer is %s", i.reply)
	})
}

func (s *session) acceptContinue(ctx context.Context) verdict {
	return s.inFirst(ctx, func(first *issued) verdict {
		if !first.accepted() {
			return unrun("an ordinary request is refused, too: %s", first.reply)
		}
		i, err := s.enrol(ctx, order{send: func(r *request) { r.expect = true }})
		if err != nil {
			return noAnswer(err)
		}
		asked := len(i.reply.interim) > 0 && i.reply.interim[0] == 100
		return judge(asked && i.accepted(), "asked for the body: %t; the answer is %s", asked, i.reply)
	})
}

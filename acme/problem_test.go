package acme_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"chancery/acme"
)

func TestProblemStatus(t *testing.T) {
	for typ, want := range map[string]int{
		acme.TypeMalformed: 400, acme.TypeBadNonce: 400, acme.TypeBadSignatureAlgorithm: 400, acme.TypeBadPublicKey: 400,
		acme.TypeAccountDoesNotExist: 400, acme.TypeBadCSR: 400, acme.TypeOrderNotReady: 403, acme.TypeUserActionRequired: 403,
		acme.TypeUnauthorized: 403, acme.TypeRateLimited: 429, acme.TypeServerInternal: 500, acme.TypeAlreadyReplaced: 409,
	} {
		if got := acme.NewProblem(typ, "x").Status; got != want {
			t.Errorf("%s: %d, want %d", typ, got, want)
		}
	}
}

func TestProblemJSON(t *testing.T) {
	for want, p := range map[string]*acme.Problem{
		`{"type":"urn:ietf:params:acme:error:malformed","status":400,"detail":"100% wrong: \"x\""}`: acme.Malformed("100%% wrong: %q", "x"),
		`{"type":"urn:ietf:params:acme:error:rateLimited","status":429,"detail":"slow"}`:            acme.RateLimited(time.Hour, "slow"),
		`{"type":"urn:ietf:params:acme:error:compound","status":400,"detail":"two","subproblems":[` +
			`{"type":"urn:ietf:params:acme:error:caa","identifier":{"type":"dns","value":"a.example"}},{"type":"urn:ietf:params:acme:error:dns"}]}`: acme.Compound([]acme.Subproblem{{Type: acme.TypeCAA, Identifier: &acme.Identifier{Type: "dns", Value: "a.example"}}, {Type: acme.TypeDNS}}, "two"),
		`{"type":"urn:ietf:params:acme:error:userActionRequired","status":403,"detail":"terms","instance":"https://ca.example/terms"}`: acme.UserActionRequired("https://ca.example/terms", "terms"),
	} {
		got, err := json.Marshal(p)
		if err != nil || string(got) != want {
			t.Errorf("%s\nwant %s, %v", got, want, err)
		}
		var back acme.Problem
		if err := json.Unmarshal(got, &back); err != nil || back.Type != p.Type || back.Detail != p.Detail || len(back.Subproblems) != len(p.Subproblems) {
			t.Errorf("%+v, %v", back, err)
		}
	}
	one := acme.Compound([]acme.Subproblem{{Type: acme.TypeCAA}, {Type: acme.TypeCAA}}, "x")
	if one.Type != acme.TypeCAA || one.Status != 403 {
		t.Errorf("of one type: %+v", one)
	}
}

func TestProblemAsError(t *testing.T) {
	p := acme.RateLimited(90*time.Second, "too fast\x1b[2J")
	p.Subproblems = []acme.Subproblem{{Type: acme.TypeDNS, Detail: "gone", Identifier: &acme.Identifier{Type: "dns", Value: "a.example"}}}
	text := p.Error()
	for _, want := range []string{"rateLimited (429): too fast", "\n  a.example: dns: gone", "1m30s"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q has no %q", text, want)
		}
	}
	if strings.Contains(text, "\x1b") {
		t.Errorf("a control character in %q", text)
	}
	wrapped := fmt.Errorf("x: %w", p)
	if acme.AsProblem(wrapped) != p || !acme.HasType(wrapped, acme.TypeRateLimited) || acme.HasType(wrapped, acme.TypeDNS) || acme.HasType(nil, "") {
		t.Error("a wrapped problem is not found")
	}
	if got := acme.AsProblem(errors.New("password=1")); got.Type != acme.TypeServerInternal || got.Status != 500 || strings.Contains(got.Detail, "password") {
		t.Errorf("%+v", got)
	}
	if acme.AsProblem(nil) != nil {
		t.Error("nil is a problem")
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "problem", p)
	var line struct {
		Problem struct {
			Type   string `json:"type"`
			Status int    `json:"status"`
		} `json:"problem"`
	}
	if err := json.Unmarshal(log.Bytes(), &line); err != nil || line.Problem.Type != acme.TypeRateLimited || line.Problem.Status != 429 {
		t.Errorf("%s: %v", &log, err)
	}
}

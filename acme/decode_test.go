package acme_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"chancery/acme"
)

func TestDecodePayload(t *testing.T) {
	var o acme.NewOrder
	err := acme.DecodePayload([]byte(` {"identifiers":[{"type":"dns","value":"a.example","new":{"Type":1}}],"notAfter":"2026-01-31T12:00:00+01:00","later":[1,{"a":[]}],"profile":null} `), &o)
	want := acme.NewOrder{Identifiers: exampleName, NotAfter: time.Date(2026, 1, 31, 11, 0, 0, 0, time.UTC)}
	o.NotAfter = o.NotAfter.UTC()
	if err != nil || !reflect.DeepEqual(o, want) {
		t.Errorf("%+v, %v", o, err)
	}
	var u acme.AccountUpdate
	if err := acme.DecodePayload([]byte(`{"contact":[]}`), &u); err != nil || u.Contact == nil {
		t.Errorf("%+v, %v", u, err)
	}
	var u2 acme.AccountUpdate
	if err := acme.DecodePayload([]byte(`{}`), &u2); err != nil || u2.Contact != nil {
		t.Errorf("%+v, %v", u2, err)
	}
	var r struct{}
	if err := acme.DecodePayload([]byte(`{"keyAuthorization":"x"}`), &r); err != nil {
		t.Error(err)
	}
}

func TestDecodePayloadRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		payload string
		into    any
		says    string
	}{
		"empty":            {``, &acme.NewOrder{}, "empty"},
		"array":            {`[]`, &acme.NewOrder{}, "object"},
		"null":             {`null`, &acme.NewOrder{}, "object"},
		"trailing":         {`{} {}`, &acme.NewOrder{}, "one"},
		"damaged":          {`{"a":}`, &acme.NewOrder{}, "well-formed"},
		"not UTF-8":        {"{\"a\":\"\xff\"}", &acme.NewOrder{}, "UTF-8"},
		"twice":            {`{"profile":"a","profile":"b"}`, &acme.NewOrder{}, `"profile" twice`},
		"twice, escaped":   {`{"profile":"a","\u0070rofile":"b"}`, &acme.NewOrder{}, `"profile" twice`},
		"twice, nested":    {`{"identifiers":[{"type":"dns","value":"a","value":"b"}]}`, &acme.NewOrder{}, `"identifiers[0]" has the member "value" twice`},
		"twice, unknown":   {`{"x":{"y":1,"y":2}}`, &acme.NewOrder{}, `"y" twice`},
		"other case":       {`{"Identifiers":[]}`, &acme.NewOrder{}, `spelt "identifiers"`},
		"nested case":      {`{"identifiers":[{"TYPE":"dns"}]}`, &acme.NewOrder{}, `spelt "type"`},
		"string":           {`{"identifiers":"a.example"}`, &acme.NewOrder{}, `"identifiers" must be an array, not string`},
		"nested type":      {`{"identifiers":[{"type":1}]}`, &acme.NewOrder{}, `"identifiers.type" must be a string, not number`},
		"not an object":    {`{"identifiers":["a.example"]}`, &acme.NewOrder{}, "must be an object"},
		"bool":             {`{"onlyReturnExisting":"yes"}`, &acme.NewAccount{}, "true or false"},
		"time":             {`{"notBefore":"tomorrow"}`, &acme.NewOrder{}, "RFC 3339"},
		"time number":      {`{"notBefore":1}`, &acme.NewOrder{}, "wrong form"},
		"padded":           {`{"csr":"AA=="}`, &acme.Finalize{}, "DER"},
		"PEM":              {`{"csr":"-----BEGIN CERTIFICATE REQUEST-----\nAA"}`, &acme.Finalize{}, "DER"},
		"binary number":    {`{"csr":1}`, &acme.Finalize{}, "string"},
		"fractional":       {`{"certificate":"AA","reason":1.5}`, &acme.Revocation{}, "whole number"},
		"private oldKey":   {`{"account":"a","oldKey":{"kty":"EC","d":"AA"}}`, &acme.KeyChange{}, "private"},
		"deep":             {`{"x":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`, &acme.NewOrder{}, "deep"},
		"too many members": {"{" + manyMembers(65) + "}", &acme.NewOrder{}, "more than"},
	} {
		err := acme.DecodePayload([]byte(test.payload), test.into)
		if !acme.HasType(err, acme.TypeMalformed) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v; want %q", name, err, test.says)
		}
	}
}

func manyMembers(n int) string {
	var parts []string
	for i := range n {
		parts = append(parts, `"m`+strings.Repeat("x", i)+`":1`)
	}
	return strings.Join(parts, ",")
}

func TestBinary(t *testing.T) {
	out, err := json.Marshal(acme.Finalize{CSR: []byte{0xfb, 0xff}})
	if err != nil || string(out) != `{"csr":"-_8"}` {
		t.Errorf("%s, %v", out, err)
	}
	empty, err := json.Marshal(acme.ChallengeResponse{})
	if err != nil || string(empty) != `{}` {
		t.Errorf("%s, %v", empty, err)
	}
}

func TestOptionalMembersAreLeftOut(t *testing.T) {
	for want, v := range map[string]any{
		`{"status":"pending","identifiers":null,"authorizations":null,"finalize":""}`: acme.Order{Status: acme.OrderPending},
		`{"status":"valid"}`:                              acme.Account{Status: acme.AccountValid, URL: "u"},
		`{"type":"http-01","url":"u","status":"pending"}`: acme.Challenge{Type: acme.ChallengeHTTP01, URL: "u", Status: acme.ChallengePending},
		`{"identifier":{"type":"dns","value":"a"},"status":"pending","challenges":null}`: acme.Authorization{Identifier: acme.Identifier{Type: "dns", Value: "a"}, Status: acme.AuthorizationPending},
	} {
		got, err := json.Marshal(v)
		if err != nil || string(got) != want {
			t.Errorf("%s\nwant %s, %v", got, want, err)
		}
	}
}

func FuzzDecodePayload(f *testing.F) {
	f.Add([]byte(`{"identifiers":[{"type":"dns","value":"a.example"}],"notAfter":"2026-01-31T12:00:00Z"}`))
	f.Add([]byte(`{"contact":["mailto:a@example.org"],"externalAccountBinding":{"protected":"e30"}}`))
	f.Add([]byte(`{ "a" : [ 1.5e3 , true , null , "\"}" , { } ] , "b" : -1 }`))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, into := range []any{&acme.NewOrder{}, &acme.NewAccount{}, &acme.KeyChange{}, &acme.Finalize{}} {
			if err := acme.DecodePayload(data, into); err != nil && acme.AsProblem(err).Type == acme.TypeServerInternal {
				t.Fatalf("an error that is no problem: %v", err)
			} else if err == nil && !json.Valid(data) {
				t.Fatalf("accepted %q", data)
			}
		}
	})
}

package acme_test

import (
	"context"
	"crypto/elliptic"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"testing"

	"chancery/acme"
)

// witness notes what it is asked and gives up.
type witness struct {
	types     []acme.ChallengeType
	asked     []acme.Identifier
	presented acme.Challenge
	keyAuth   string
}

var errWitness = errors.New("seen enough")

func (w *witness) Types(id acme.Identifier) []acme.ChallengeType {
	w.asked = append(w.asked, id)
	return w.types
}

func (w *witness) Present(_ context.Context, id acme.Identifier, ch acme.Challenge, keyAuth string) error {
	w.asked = append(w.asked, id)
	w.presented, w.keyAuth = ch, keyAuth
	return errWitness
}

func (w *witness) CleanUp(context.Context, acme.Identifier, acme.Challenge, string) error { return nil }

// A dns-persist-01 challenge has no token, hence no key authorisation, and a solver is
// told that a wildcard is one, although RFC 8555 §7.1.3 keeps "*." out of authorisations.
func TestSolverSeesWhatWasOrdered(t *testing.T) {
	const persist = `{"type":"dns-persist-01","url":"https://ca.example/1","status":"pending","accounturi":"https://ca.example/a","issuer-domain-names":["ca.example","x.example"]}`
	var want acme.Challenge
	if err := json.Unmarshal([]byte(persist), &want); err != nil {
		t.Fatal(err)
	}
	if want.AccountURI != "https://ca.example/a" || !reflect.DeepEqual(want.IssuerDomainNames, []string{"ca.example", "x.example"}) {
		t.Fatalf("read as %+v", want)
	}
	for _, test := range []struct {
		typ      acme.ChallengeType
		wildcard bool
		name     string
		refused  bool // before the solver sees it
	}{
		{acme.ChallengeDNSPersist01, false, "a.example", false},
		{acme.ChallengeDNSPersist01, true, "*.a.example", false},
		{acme.ChallengeDNS01, true, "*.a.example", true}, // has no token here
	} {
		s := newServer(t)
		c := s.client()
		if _, err := c.Register(t.Context(), acme.Registration{AgreeTerms: true, EAB: &acme.ExternalAccount{KeyID: "k", Key: eabKey}}); err != nil {
			t.Fatal(err)
		}
		offered := want
		offered.Type = test.typ
		s.override = map[string]http.HandlerFunc{"/authz/1": func(w http.ResponseWriter, _ *http.Request) {
			reply(w, 200, acme.Authorization{Identifier: exampleName[0], Status: acme.AuthorizationPending, Wildcard: test.wildcard,
				Challenges: []acme.Challenge{offered}})
		}}
		w := &witness{types: []acme.ChallengeType{test.typ}}
		_, err := c.Obtain(t.Context(), acme.ObtainRequest{Identifiers: exampleName, Key: newEC(t, elliptic.P256()), Solver: w})
		if errors.Is(err, errWitness) == test.refused || err == nil {
			t.Errorf("%s, wildcard %t: %v", test.typ, test.wildcard, err)
		}
		for _, id := range w.asked {
			if id.Value != test.name {
				t.Errorf("the solver was asked about %q, want %q", id.Value, test.name)
			}
		}
		if !test.refused && (len(w.asked) != 2 || w.keyAuth != "" || !reflect.DeepEqual(w.presented, offered)) {
			t.Errorf("the solver saw %+v, %q, %q", w.presented, w.keyAuth, w.asked)
		}
	}
}

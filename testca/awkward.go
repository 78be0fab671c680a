package testca

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"
)

// Trouble says how a CA misbehaves, within what RFC 8555 lets servers do.
type Trouble struct {
	BadNonces float64       // share of POSTs refused with badNonce, 0 to 1 (§6.5: clients must try again)
	Busy      float64       // share of POSTs refused with 503 and Retry-After
	Delay     time.Duration // up to so much before each answer
	Seed      uint64        // makes the same trouble again
}

// Awkward makes the CA behave as the trouble says.
func Awkward(trouble Trouble) Option {
	return func(s *settings) {
		s.wrap = func(next http.Handler) http.Handler {
			return &awkward{trouble: trouble, next: next, dice: newDice(trouble.Seed)}
		}
	}
}

type awkward struct {
	trouble Trouble
	next    http.Handler
	dice    chan *rand.Rand // holds the one generator; taking it is the lock
}

func newDice(seed uint64) chan *rand.Rand {
	c := make(chan *rand.Rand, 1)
	c <- rand.New(rand.NewPCG(seed, 8555))
	return c
}

func (a *awkward) roll() float64 {
	g := <-a.dice
	defer func() { a.dice <- g }()
	return g.Float64()
}

// ServeHTTP implements [http.Handler].
func (a *awkward) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if a.trouble.Delay > 0 {
		time.Sleep(time.Duration(a.roll() * float64(a.trouble.Delay)))
	}
	if r.Method == http.MethodPost && strings.HasPrefix(r.URL.Path, "/acme/") {
		switch roll := a.roll(); {
		case roll < a.trouble.BadNonces:
			a.refuse(w, r, refusal{http.StatusBadRequest, "badNonce"})
			return
		case roll < a.trouble.BadNonces+a.trouble.Busy:
			w.Header().Set("Retry-After", "1")
			a.refuse(w, r, refusal{http.StatusServiceUnavailable, "serverInternal"})
			return
		}
	}
	a.next.ServeHTTP(w, r)
}

type refusal struct {
	status int
	kind   string
}

// refuse answers as the server would, with a nonce that is good.
func (a *awkward) refuse(w http.ResponseWriter, r *http.Request, with refusal) {
	fresh := httptest.NewRecorder()
	a.next.ServeHTTP(fresh, httptest.NewRequestWithContext(r.Context(), http.MethodHead, "/acme/new-nonce", nil))
	w.Header().Set("Replay-Nonce", fresh.Header().Get("Replay-Nonce"))
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(with.status)
	fmt.Fprintf(w, `{"type":"urn:ietf:params:acme:error:%s","detail":"this CA is awkward on purpose","status":%d}`, with.kind, with.status)
}

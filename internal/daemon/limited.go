package daemon

import (
	"net/http"
	"strconv"
	"time"

	"chancery/acme"
	"chancery/internal/config"
	"chancery/internal/estserver"
	"chancery/internal/limit"
)

// limits are what one configuration limits. The counts of a rule outlive a
// reload that does not change it.
type limits struct {
	config.Limits
	requests, accounts, orders, bindings, logins, guesses *limit.Limit // nil: none
}

// guessers is how many users may fail to log in from one address as often as each may: a
// fleet behind one address has some wrong passwords, who tries the same one with every
// user's name has more.
const guessers = 10

func ofGuessers(r config.Rate) config.Rate { return config.Rate{Count: r.Count * guessers, Per: r.Per} }

// newLimits makes the limits of a configuration. before may be nil.
func newLimits(c config.Limits, before *limits) (*limits, error) {
	if before == nil {
		before = &limits{}
	}
	l := &limits{Limits: c}
	for _, one := range []struct {
		name     string
		to       **limit.Limit
		old      *limit.Limit
		now, was config.Rate
	}{
		{"requests", &l.requests, before.requests, c.RequestsPerAddress, before.RequestsPerAddress},
		{"new accounts", &l.accounts, before.accounts, c.AccountsPerAddress, before.AccountsPerAddress},
		{"new orders", &l.orders, before.orders, c.OrdersPerAccount, before.OrdersPerAccount},
		{"confirmations", &l.bindings, before.bindings, c.BindingRequests, before.BindingRequests},
		{"failed log-ins", &l.logins, before.logins, c.FailedLogins, before.FailedLogins},
		{"failed log-ins of an address", &l.guesses, before.guesses, ofGuessers(c.FailedLogins), ofGuessers(before.FailedLogins)},
	} {
		if one.now == one.was {
			*one.to = one.old
			continue
		}
		if one.now.Count == 0 {
			continue
		}
		made, err := limit.New(limit.Rule{Name: one.name, Count: one.now.Count, Per: one.now.Per.Std()})
		if err != nil {
			return nil, err
		}
		*one.to = made
	}
	return l, nil
}

// limited turns away an address that asks too much, before anything is read
// (RFC 8555 §6.6). The public side and the status side count together; refuse
// writes the answer's body, and headers if it wants to, for each in its form.
func (d *Daemon) limited(refuse func(w http.ResponseWriter, seconds string), next http.Handler) http.Handler {
	return d.limitedBy(func(r *http.Request) string { return limit.AddressKey(r.RemoteAddr) }, refuse, next)
}

// limitedUsers is limited for the terminator's socket, where all come from one address:
// a user is to it what an address is to the other listeners. Those whom the terminator
// knows no name of count together.
func (d *Daemon) limitedUsers(next http.Handler) http.Handler {
	return d.limitedBy(func(r *http.Request) string { return "srp:" + r.Header.Get(estserver.SRPUser) }, refuseUser, next)
}

func (d *Daemon) limitedBy(key func(*http.Request) string, refuse func(w http.ResponseWriter, seconds string), next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		after, ok := d.limits.Load().requests.Allow(key(r), time.Now())
		if ok {
			next.ServeHTTP(w, r)
			return
		}
		seconds := strconv.Itoa(int(after/time.Second) + 1)
		w.Header().Set("Retry-After", seconds)
		w.Header().Set("Cache-Control", "no-store")
		refuse(w, seconds)
	})
}

// refuseProblem speaks to ACME clients.
func refuseProblem(w http.ResponseWriter, seconds string) {
	w.Header().Set("Content-Type", acme.ProblemMediaType)
	w.WriteHeader(http.StatusTooManyRequests)
	w.Write([]byte(`{"type":"` + acme.TypeRateLimited + `","status":429,"detail":"too many requests from your address; come back in ` + seconds + ` seconds"}`))
}

// refusePlainly speaks to who asks for CRLs and OCSP answers: HTTP's own status
// says it best, as an OCSPResponse that says "try later" is a 200 to everybody
// between (RFC 6585 §4).
func refusePlainly(w http.ResponseWriter, seconds string) {
	http.Error(w, "too many requests from your address; come back in "+seconds+" seconds", http.StatusTooManyRequests)
}

// refuseUser speaks to who came by a TLS terminator.
func refuseUser(w http.ResponseWriter, seconds string) {
	http.Error(w, "too many requests in your name; come back in "+seconds+" seconds", http.StatusTooManyRequests)
}

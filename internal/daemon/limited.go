package daemon

import (
	"net/http"
	"strconv"
	"time"

	"chancery/acme"
	"chancery/internal/limit"
)

// limited turns away an address that asks too much, before anything is read
// (RFC 8555 §6.6). The public side and the status side count together; refuse
// writes the answer's body, and headers if it wants to, for each in its form.
func (d *Daemon) limited(refuse func(w http.ResponseWriter, seconds string), next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		allow := *d.requests.Load()
		if allow == nil {
			next.ServeHTTP(w, r)
			return
		}
		after, ok := allow(limit.AddressKey(r.RemoteAddr), time.Now())
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

package daemon

import (
	"net/http"
	"strconv"
	"time"

	"chancery/acme"
	"chancery/internal/limit"
)

// limited turns away an address that asks too much, before anything is read
// (RFC 8555 §6.6).
func (d *Daemon) limited(next http.Handler) http.Handler {
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
		w.Header().Set("Content-Type", acme.ProblemMediaType)
		w.WriteHeader(http.StatusTooManyRequests)
		w.Write([]byte(`{"type":"` + acme.TypeRateLimited + `","status":429,"detail":"too many requests from your address; come back in ` + seconds + ` seconds"}`))
	})
}

package status

import (
	"errors"
	"net/http"

	"chancery/internal/ca"
)

// refusal is an OCSPResponseStatus other than successful (RFC 6960 §4.2.1).
type refusal byte

const (
	malformedRequest refusal = 1
	internalError    refusal = 2
	tryLater         refusal = 3
	unauthorized     refusal = 6
)

// refusalFor is the one place where errors become OCSP's words.
func refusalFor(err error) refusal {
	var malformed malformedError
	if errors.As(err, &malformed) {
		return malformedRequest
	}
	switch ca.KindOf(err) {
	case ca.Invalid:
		return malformedRequest
	case ca.Denied:
		return unauthorized // RFC 5019 §2.2.3
	case ca.Unavailable, ca.Limited:
		return tryLater
	}
	return internalError
}

// refuseOCSP answers with an error in OCSP's own form: an OCSPResponse that has
// a status and nothing else, unsigned. HTTP's status is 200 all the same, as
// clients look no further at any other; caches must not keep it (RFC 5019 §6.2).
func (s *Server) refuseOCSP(w http.ResponseWriter, r *http.Request, err error) {
	why := refusalFor(err)
	// That too much is asked is not worth a line for each who asks.
	if (why == internalError || why == tryLater) && ca.KindOf(err) != ca.Limited {
		s.report(r.Context(), "OCSP", err)
	}
	body := []byte{0x30, 0x03, 0x0a, 0x01, byte(why)}
	w.Header().Set("Content-Type", ocspType)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Length", "5")
	if r.Method != http.MethodHead {
		w.Write(body)
	}
}

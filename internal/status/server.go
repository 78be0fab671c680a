// Package status is the room that tells relying parties how certificates
// stand: OCSP (RFC 6960 in the profile of RFC 5019), CRLs and the issuers'
// certificates (RFC 5280 §4.2.1.13 and §4.2.2.1), over plain HTTP, as all of it
// is signed. It serves reads only and from memory as far as it can.
//
// The room knows OCSP's requests and HTTP's caches. It must not know who owns a
// certificate, how it was obtained, any key, or SQL: what is true it asks the
// core, and the core signs.
package status

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"time"

	"chancery/internal/ca"

	"golang.org/x/sync/singleflight"
)

// CRLs is where the room finds CRLs; [ca.Revocations] fits.
type CRLs interface {
	// CRL gives the newest CRL of the shard; Number is 0 before the first.
	CRL(ctx context.Context, issuer string, shard int) (ca.CRLRecord, error)
}

// Config is what the room works with.
type Config struct {
	Authority   *ca.Authority
	Revocations CRLs
	Clock       func() time.Time
	Logger      *slog.Logger
	OCSPLife    time.Duration // how long an OCSP answer is good; 0: a day
	MaxAge      time.Duration // how long HTTP caches may keep what a revocation changes; 0: five minutes
}

// Server answers status requests. It is safe for concurrent use.
type Server struct {
	Config
	answers *answers
	signing singleflight.Group // by cache key: one ledger look and one signature for all who ask at once
	queue   *queue
	crls    *crls
}

// New gives a server whose memory is empty.
func New(cfg Config) *Server {
	if cfg.OCSPLife == 0 {
		cfg.OCSPLife = 24 * time.Hour
	}
	if cfg.MaxAge == 0 {
		cfg.MaxAge = 5 * time.Minute
	}
	return &Server{
		Config: cfg, answers: newAnswers(maxAnswers), queue: newQueue(4*runtime.GOMAXPROCS(0), maxWaiting),
		crls: &crls{from: cfg.Revocations, held: map[crlName]*heldCRL{}},
	}
}

// Handler gives the room's HTTP side. It must be a listener's outermost
// handler: below an [http.ServeMux] a GET whose base64 has two slashes in a row
// would be redirected to a request that means something else.
func (s *Server) Handler() http.Handler { return http.HandlerFunc(s.serve) }

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	post := path == "/ocsp" || (path == "/ocsp/" && r.Method == http.MethodPost)
	switch {
	case post && r.Method != http.MethodPost:
		refuseMethod(w, "POST", "/ocsp takes OCSP requests by POST; by GET they are part of the path: /ocsp/BASE64")
		return
	case post:
		s.postOCSP(w, r)
		return
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		refuseMethod(w, "GET, HEAD", "this address can only be read")
		return
	}
	switch {
	case strings.HasPrefix(path, "/ocsp/"):
		s.getOCSP(w, r)
	case strings.HasPrefix(path, "/crl/"):
		s.getCRL(w, r)
	case strings.HasPrefix(path, "/ca/"):
		s.getIssuer(w, r)
	case path == "/root.pem", path == "/roots.pem":
		s.getRoots(w, r)
	default:
		notFound(w, "there is nothing here; this service has /ocsp, /crl/ISSUER/SHARD.crl, /ca/ISSUER.crt, /root.pem and /roots.pem")
	}
}

func refuseMethod(w http.ResponseWriter, allow, words string) {
	w.Header().Set("Allow", allow)
	http.Error(w, words, http.StatusMethodNotAllowed)
}

func notFound(w http.ResponseWriter, words string) { http.Error(w, words, http.StatusNotFound) }

// unavailable logs the cause and says to come back; err's text stays here.
func (s *Server) unavailable(w http.ResponseWriter, r *http.Request, err error) {
	s.report(r.Context(), r.URL.Path, err)
	w.Header().Set("Retry-After", "5")
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, "this cannot be answered now; try again in a moment", http.StatusServiceUnavailable)
}

// report logs a failure of ours; that a client hung up is none.
func (s *Server) report(ctx context.Context, about string, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	s.Logger.ErrorContext(ctx, "a status request failed", "about", clip(about), "error", err)
}

func clip(text string) string { return fmt.Sprintf("%.100s", text) }

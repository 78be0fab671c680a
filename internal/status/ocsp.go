package status

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"chancery/internal/ca"
)

const (
	ocspRequestType = "application/ocsp-request"
	ocspType        = "application/ocsp-response"

	// recheck is the age at which an answer in memory is compared with the
	// ledger: how late a revocation shows at most.
	recheck = 2 * time.Second
	// longestBlind is how long ago the ledger must have confirmed an answer that
	// is given although the ledger or a key cannot be reached.
	longestBlind = 10 * time.Minute
	// maxWaiting is how many wait for a signature; who comes then is told to
	// try later.
	maxWaiting = 256
)

func (s *Server) postOCSP(w http.ResponseWriter, r *http.Request) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != ocspRequestType {
		http.Error(w, "an OCSP request has the Content-Type "+ocspRequestType, http.StatusUnsupportedMediaType)
		return
	}
	der, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	if err != nil {
		s.refuseOCSP(w, r, malformedError("the body was cut off, or has more octets than "+strconv.Itoa(maxRequest)))
		return
	}
	s.answerOCSP(w, r, der)
}

func (s *Server) getOCSP(w http.ResponseWriter, r *http.Request) {
	der, err := decodePath(strings.TrimPrefix(r.URL.Path, "/ocsp/"))
	if err != nil {
		s.refuseOCSP(w, r, err)
		return
	}
	s.answerOCSP(w, r, der)
}

func (s *Server) answerOCSP(w http.ResponseWriter, r *http.Request, der []byte) {
	ask, err := parseRequest(der)
	if err != nil {
		s.refuseOCSP(w, r, err)
		return
	}
	var a *held
	if len(ask.nonce) == 0 && len(ask.certs) == 1 {
		a, err = s.standing(r.Context(), ask.certs[0])
	} else {
		a, err = s.sign(r.Context(), ask)
	}
	if err != nil {
		s.refuseOCSP(w, r, err)
		return
	}
	s.sendOCSP(w, r, a)
}

// sendOCSP writes an answer with what HTTP caches want to know (RFC 5019 §6.2).
func (s *Server) sendOCSP(w http.ResponseWriter, r *http.Request, a *held) {
	h := w.Header()
	h.Set("Content-Type", ocspType)
	if a.private {
		h.Set("Cache-Control", "private, max-age=0, must-revalidate")
	} else {
		age := min(a.renew.Sub(s.Clock()), s.MaxAge)
		h.Set("Cache-Control", fmt.Sprintf("max-age=%d, public, no-transform, must-revalidate", max(int(age/time.Second), 0)))
		h.Set("Expires", a.expires)
		h.Set("Etag", a.etag)
	}
	if r.Method == http.MethodPost {
		h.Set("Last-Modified", a.modified)
		h.Set("Content-Length", strconv.Itoa(len(a.DER)))
		w.Write(a.DER)
		return
	}
	http.ServeContent(w, r, "", a.ThisUpdate, bytes.NewReader(a.DER))
}

// held is a signed answer, ready to be sent any number of times.
type held struct {
	ca.Answer
	checked           time.Time // when the ledger last said the same
	renew             time.Time // from then on it is signed anew
	private           bool      // it has one client's nonce: of no use to another
	etag              string
	expires, modified string // HTTP dates
}

// good tells whether the answer may be sent without asking anybody.
func (h *held) good(now time.Time) bool {
	return now.Before(h.renew) && now.Sub(h.checked) < recheck && !now.Before(h.checked)
}

// sign has the core answer. looked is before the core looks into the ledger,
// so that an answer never counts as younger than it is.
func (s *Server) sign(ctx context.Context, ask request) (*held, error) {
	leave, err := s.queue.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	looked := s.Clock()
	answer, err := s.Authority.OCSP(ctx, ca.Ask{Certs: ask.certs, Nonce: ask.nonce, Life: s.OCSPLife})
	if err != nil {
		return nil, err
	}
	sum := sha1.Sum(answer.DER) // RFC 5019 §6.2 recommends this form
	return &held{
		Answer: answer, checked: looked, private: len(ask.nonce) > 0,
		renew:   answer.ThisUpdate.Add(answer.NextUpdate.Sub(answer.ThisUpdate) / 2),
		etag:    `"` + hex.EncodeToString(sum[:]) + `"`,
		expires: answer.NextUpdate.UTC().Format(http.TimeFormat), modified: answer.ThisUpdate.UTC().Format(http.TimeFormat),
	}, nil
}

// standing gives the answer about one certificate that all who ask share.
func (s *Server) standing(ctx context.Context, id ca.CertID) (*held, error) {
	issuer := s.Authority.Issuers().Asked(id)
	if issuer == nil {
		return nil, ca.Errorf(ca.Denied, "the issuer asked about is not one of this authority's")
	}
	key := answerKey(issuer, id)
	old := s.answers.get(key)
	if old != nil && old.good(s.Clock()) {
		return old, nil
	}
	result := s.signing.DoChan(key, func() (any, error) {
		// The first may hang up; those who wait with it shall be answered.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		return s.refresh(ctx, standingAsk{key, issuer, id})
	})
	select {
	case r := <-result:
		if r.Err != nil {
			return nil, r.Err
		}
		return r.Val.(*held), nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// patience bounds the work for an answer, as no client's context does.
const patience = 20 * time.Second

// standingAsk is what refresh works on.
type standingAsk struct {
	key    string
	issuer *ca.Issuer
	id     ca.CertID
}

// refresh compares the answer in memory with the ledger, and has another one
// signed if it says something else or is past half of its life.
func (s *Server) refresh(ctx context.Context, ask standingAsk) (*held, error) {
	looked := s.Clock()
	old := s.answers.get(ask.key)
	if old != nil && old.good(looked) { // another was quicker
		return old, nil
	}
	if old != nil && looked.Before(old.NextUpdate) {
		status, err := s.Authority.Status(ctx, ask.issuer, ask.id.Serial)
		switch {
		case err != nil:
			return s.fallBack(ctx, old, err)
		case status.Equal(old.Statuses[0]):
			same := *old
			same.checked = looked
			s.answers.put(ask.key, &same)
			if old = &same; looked.Before(old.renew) {
				return old, nil
			}
		default:
			old = nil // nothing excuses an answer that is known to be wrong
		}
	}
	made, err := s.sign(ctx, request{certs: []ca.CertID{ask.id}})
	if err != nil {
		return s.fallBack(ctx, old, err)
	}
	// What nobody issued is not remembered: it may be issued in the next moment,
	// and a stranger could fill the memory with it.
	if made.Statuses[0].Word != ca.StatusUnknown {
		s.answers.put(ask.key, made)
	} else {
		s.answers.drop(ask.key)
	}
	return made, nil
}

// fallBack gives the last answer while the ledger or a key cannot be reached,
// or too many wait for a signature, but not beyond its nextUpdate nor when the
// ledger confirmed it too long ago: a revocation must show even so. Nothing else
// excuses it.
func (s *Server) fallBack(ctx context.Context, old *held, err error) (*held, error) {
	kind, now := ca.KindOf(err), s.Clock()
	lost := kind == ca.Unavailable || kind == ca.Limited || errors.Is(err, context.DeadlineExceeded)
	if old == nil || !lost || !now.Before(old.NextUpdate) {
		return nil, err
	}
	if now.Sub(old.checked) > longestBlind {
		return nil, ca.Errorf(ca.Unavailable, "the last OCSP answer was compared with the ledger more than %s ago: %w", longestBlind, err)
	}
	s.Logger.WarnContext(ctx, "an OCSP answer could not be compared with the ledger or renewed; the last one was given", "error", err)
	return old, nil
}

func answerKey(issuer *ca.Issuer, id ca.CertID) string {
	form := "/2"
	switch {
	case id.Hash == crypto.SHA1 && id.Bare:
		form = "/1b"
	case id.Hash == crypto.SHA1:
		form = "/1"
	case id.Bare:
		form = "/2b"
	}
	return issuer.ID + "/" + string(id.Serial) + form
}

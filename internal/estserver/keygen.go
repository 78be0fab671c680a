package estserver

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"chancery/cms"
	"chancery/est"
	"chancery/internal/ca"
)

// serverKeyGen makes a key for the client and certifies it (RFC 7030 §4.4). The request
// is judged like any other, but for its public key and signature, which are ignored
// even when they are broken (§4.4.1). Whatever can fail fails before there is a
// certificate, but for the archive and the network.
func (s *Server) serverKeyGen(c *call) error {
	ctx := c.r.Context()
	to, err := s.shelterFor(ctx, c, c.request)
	if err != nil {
		return err
	}
	defer clear(to.secret)
	kind, _ := wantedKey(s.profile(c).Demands())
	if err := c.checkCipher(to, kindStrength(kind)); err != nil {
		return err
	}
	ask, err := s.keyless(c)
	if err != nil {
		return err
	}
	d := &delivery{to: to, archive: c.label.ServerKeys.ArchiveTo}
	defer func() { s.Deliveries.leave(d.id) }()
	if err := s.nextAttempt(ctx, c, &ask, d); err != nil {
		return err
	}
	ask.Detail["key"], ask.Detail["delivery"] = kind+", made here", to.words
	ask.Make = func(ctx context.Context, r *ca.Request) error { return d.prepare(ctx, s, kind, r) }
	result, err := s.issue(ctx, c, ask)
	if err != nil {
		return err
	}
	if result.Pending != nil {
		return c.sendPending(result.Pending)
	}
	return s.deliver(c, d, result.Record)
}

// keyless reads a request as enrolment does, but for its key and signature.
func (s *Server) keyless(c *call) (Ask, error) {
	ask := Ask{CSR: c.request.DER, Detail: map[string]string{}}
	var err error
	if ask.Linking, err = s.link(c); err != nil {
		return ask, err
	}
	n := names(c.request)
	change, err := s.nameChange(c)
	if err != nil {
		return ask, err
	}
	if change != nil {
		if c.who.Certificate == nil || !n.same(c.who.Certificate) {
			return ask, refuse(http.StatusForbidden, "a request with ChangeSubjectName has the subject and the alternative names of your present certificate, and the new ones in the attribute alone (RFC 6402 section 2.8)")
		}
		n = requestNames{subject: change.Subject, san: change.SAN}
		ask.Detail["changed_from"] = rdnText(c.request.RawSubject)
	}
	if ask.Subject, err = n.wanted(); err != nil {
		return ask, err
	}
	if n.san != nil {
		ask.Names, err = ca.NamesOf(n.san)
	} else if change == nil {
		s.meant(c, n, &ask)
	}
	return ask, err
}

// delivery is a made key on its way. Of the key it keeps nothing but what is sent and
// archived.
type delivery struct {
	to      *shelter
	archive *x509.Certificate
	lasting bool // the request outlives this attempt: see nextAttempt

	part est.Part // the key's part of the answer
	copy []byte   // for the archive; nil: none is kept
	hash []byte   // of the public key
	id   []byte   // see [DeliveryID]; nil: not begun
}

// prepare makes the key and everything that has to be made of it, and forgets it. The
// request gets the public key, and what keeps its certificate from outliving a delivery
// that is cut off.
func (d *delivery) prepare(ctx context.Context, s *Server, kind string, r *ca.Request) error {
	key, err := makeKey(ctx, kind)
	if err != nil {
		return err
	}
	defer key.wipe()
	if d.hash, err = ca.KeyHash(key.public); err != nil {
		return err
	}
	if d.archive != nil {
		if d.copy, err = archived(key, d.archive); err != nil {
			return err
		}
	}
	if d.part, err = d.to.seal(key); err != nil {
		return err
	}
	if d.lasting {
		if err := s.mark(ctx, markMade, d.hash); err != nil {
			return err
		}
	}
	d.id = DeliveryID(d.hash, r.ID)
	r.Key, r.Once = key.public, s.Deliveries.begin(d.id)
	return nil
}

// deliver archives and sends. When not everything could be written, nobody can know
// whether the key arrived: it is not sent again, and its certificate is revoked.
func (s *Server) deliver(c *call, d *delivery, r ca.Record) error {
	defer clear(d.part.Body)
	// From here on a client that hangs up must not keep things from being recorded.
	ctx := context.WithoutCancel(c.r.Context())
	if d.part.Body == nil || !bytes.Equal(d.hash, r.KeyHash) {
		return ca.Errorf(ca.Conflict, "this request was answered before, and the key that was made then is not sent twice; make a new request")
	}
	if !s.Clock().Before(r.IntendedAt.Add(deliveryTime)) {
		err := fmt.Errorf("the certificate took longer than %s", deliveryTime)
		s.undelivered(ctx, c, r, err)
		return &refusal{Status: http.StatusServiceUnavailable, Text: "the certificate took too long; make a new request", Err: err}
	}
	if d.copy != nil {
		e := c.who.principal().Event(c.now, "serverkey.archived", string(r.Serial))
		e.Detail = map[string]string{"label": c.label.Name, "to": d.archive.Subject.String()}
		if err := s.DeviceKeys.Archive(ctx, r.Serial, d.copy, e); err != nil {
			s.undelivered(ctx, c, r, err)
			return err
		}
	}
	if err := c.sendKey(d.part, r.DER); err != nil {
		s.undelivered(ctx, c, r, err)
		return &refusal{Status: http.StatusServiceUnavailable, Text: "the key could not be delivered", Err: err}
	}
	c.log.InfoContext(ctx, "delivered a key that was made here", "serial", r.Serial, "how", d.to.words)
	s.delivered(ctx, c, d, r)
	return nil
}

// delivered records that a key was sent whole. Where that fails the device has a key whose
// certificate may be taken for undelivered and revoked: the log says so, as the history does.
func (s *Server) delivered(ctx context.Context, c *call, d *delivery, r ca.Record) {
	var mark *ca.Once
	if d.lasting {
		mark = &ca.Once{ID: markOf(markClosed, []byte(r.Serial)), Expires: s.Clock().Add(markLives[markClosed])}
	}
	switch err := s.Deliveries.end(ctx, d.id, mark); {
	case err == nil:
	case ca.KindOf(err) == ca.Conflict:
		c.log.ErrorContext(ctx, "a key was delivered after its certificate had been given up as undelivered, which is revoked: the device must ask again", "serial", r.Serial)
	default:
		c.log.ErrorContext(ctx, "it could not be recorded that a key was delivered; this is tried again, and if this server ends before, or a repeat comes, the certificate is revoked",
			"serial", r.Serial, "error", err)
	}
}

// sendKey writes the multipart answer (RFC 7030 §4.4.2), to its last octet as far as
// this side can see: whoever closes the connection after that may have read it.
func (c *call) sendKey(key est.Part, cert []byte) error {
	bag, err := cms.Bag{Certificates: [][]byte{cert}}.Marshal()
	if err != nil {
		return err
	}
	mediaType, body := est.Multipart(key, est.Part{Media: est.Media{Type: est.PKCS7Mime, SMIMEType: est.CertsOnly}, Body: bag})
	defer clear(body)
	h := c.w.Header()
	h.Set("Content-Type", mediaType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	c.answered = true
	c.w.WriteHeader(http.StatusOK)
	out := http.NewResponseController(c.w)
	if err := out.Flush(); err != nil {
		return fmt.Errorf("writing the answer's header fields: %w", err)
	}
	if err := c.r.Context().Err(); err != nil {
		return fmt.Errorf("the client hung up before the key was written: %w", err)
	}
	if n, err := c.w.Write(body); err != nil {
		return fmt.Errorf("writing the answer, of which %d of %d octets went out: %w", n, len(body), err)
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("writing the end of the answer: %w", err)
	}
	return nil
}

// revokeTime bounds how long the revocation of an undelivered certificate may take.
const revokeTime = 30 * time.Second

// undelivered revokes a certificate whose key did not reach the client for certain.
func (s *Server) undelivered(ctx context.Context, c *call, r ca.Record, why error) {
	if err := s.Deliveries.giveUp(ctx, &r); err != nil {
		c.log.ErrorContext(ctx, "the key of a certificate was not delivered, and the certificate could not be revoked: this is tried again until it is done",
			"serial", r.Serial, "why", why, "error", err)
		return
	}
	c.log.WarnContext(ctx, "the key of a certificate was not delivered, so the certificate is revoked", "serial", r.Serial, "why", why)
}

package estserver

import (
	"context"
	"net/http"
	"time"

	"chancery/cms"
	"chancery/cms/cmc"
	"chancery/est"
)

// Bounds of a Full PKI Request, so that a small message cannot cost much.
const (
	maxFull         = 128 << 10 // octets, of the message decoded
	maxFullRequests = 32        // certification requests, of all its layers
	maxFullMessages = 32        // nested messages
	maxFullDepth    = 4         // of nesting
	maxFullControls = 128       // of all its layers
	maxFullSigners  = 8         // of each message
)

// cmcResponder is the profile whose holder signs the answers (RFC 6402 §2.10).
const cmcResponder = "cmc-responder"

// cmcAnswerType is the Content-Type of an answer (RFC 7030 §4.3.2).
const cmcAnswerType = est.PKCS7Mime + "; smime-type=" + est.CMCResponse

// exchange is one Full PKI Request on its way to its answer (RFC 7030 §4.3). It
// authenticates by itself, by its signature, its code or its proof of identity; who the
// TLS client is is recorded beside it and opens nothing.
type exchange struct {
	*Server
	call    *call
	options cmc.Options
	opener  cmc.Opener
	beside  string // the identity by TLS and HTTP; "": none
	self    Delegate
	parties map[*cmc.Message]*party
	codes   map[*cms.Authenticated]*shared                    // whose secret an AuthenticatedData was made with
	vouched map[*cmc.Message][]cmc.BodyPartID                 // requests whose keys the RA that made the message vouches for
	held    error                                             // why a code could not be looked at; see opening
	counts  struct{ messages, requests, controls, codes int } // read so far
}

func (x *exchange) ctx() context.Context { return x.call.r.Context() }

// fullCMC answers a Full PKI Request (RFC 7030 §4.3.1). What cannot be read at all is
// refused in words; everything else has a CMC response, errors too.
func (s *Server) fullCMC(c *call) error {
	media, err := est.ParseMedia(c.r.Header.Get("Content-Type"))
	if err != nil || media.SMIMEType != "" && media.SMIMEType != est.CMCRequest {
		return refuse(http.StatusUnsupportedMediaType, "fullcmc takes %s; smime-type=%s (RFC 7030 section 4.3.1)", est.PKCS7Mime, est.CMCRequest)
	}
	outer, err := cms.ParseContentInfo(c.body)
	if err != nil {
		return &refusal{Status: http.StatusBadRequest, Err: err, Text: "this is no Full PKI Request: a PKIData in SignedData is needed (RFC 5272 section 3.2); send a bare PKCS #10 to simpleenroll"}
	}
	if s.Config.Delegate == nil {
		return refuse(http.StatusServiceUnavailable, "nothing here can sign a CMC response; tell the administrators")
	}
	x := &exchange{
		Server: s, call: c, options: cmc.Options{SHA1: c.label.SHA1CMC}, beside: c.who.String(),
		parties: map[*cmc.Message]*party{}, codes: map[*cms.Authenticated]*shared{},
	}
	c.who = Identity{}
	if x.self, err = s.Config.Delegate(c.r.Context(), cmcResponder); err != nil {
		return err
	}
	if !slicesHas(wrappers, outer.Type) {
		return refuse(http.StatusBadRequest, "a message of the type %s is no Full PKI Request: a PKIData in SignedData is needed (RFC 5272 section 3.2)", outer.Type)
	}
	x.opener = cmc.Opener{Decrypt: x.decrypt, Authenticate: x.authentic}
	a := x.answer()
	return x.send(a)
}

// answer does all that the message asks for.
func (x *exchange) answer() *response {
	m, err := x.opener.Open(x.call.body)
	if err != nil {
		a := &response{}
		x.fault(spot{a, nil, cmc.Current}, x.opening(err))
		return a
	}
	a := &response{root: m}
	if m.Data == nil {
		x.fault(spot{a, m, cmc.Current}, malformed(cmc.Current, "a response is no request: a PKIData is needed (RFC 5272 section 3.2)"))
		return a
	}
	x.message(a, m)
	return a
}

// send signs the response and sends it with the HTTP status that fits it: pending is 202
// with Retry-After, errors keep theirs (RFC 7030 §4.3.2).
func (x *exchange) send(a *response) error {
	der, err := x.sign(a)
	if err != nil {
		return err
	}
	out := answer{mediaType: cmcAnswerType, body: der, encode: true}
	switch {
	case a.pending > 0:
		out.status, out.retryAfter = http.StatusAccepted, x.call.label.RetryAfter
	case a.failed > 0 && a.done == 0:
		out.status, out.retryAfter = a.http, a.retry
	}
	x.call.log.Info("answered a Full PKI Request", "done", a.done, "pending", a.pending, "failed", a.failed, "reason", a.reason)
	if err := x.call.send(out); err != nil {
		x.call.log.Info("the CMC response could not be delivered", "error", err)
	}
	return nil
}

// pendingAgain is when to ask again.
func (x *exchange) pendingAgain() time.Time { return x.call.now.Add(x.call.label.RetryAfter) }

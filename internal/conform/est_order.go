package conform

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	"chancery/est"
)

// memory is what the run found out and several checks look at.
type memory struct {
	cacertsReply  *reply
	cacertsBag    *bag
	cacertsErr    error
	csrattrsReply *reply
	csrattrsErr   error
	wishes        *est.Wanted
	bareReply     *reply // simpleenroll without authentication
	bareErr       error
	firstDone     *issued
	firstErr      error
	againDone     *issued
	againBroken   *verdict // why there is no againDone
	keygenReply   *reply
	keygenErr     error
	one           crypto.Signer // the key of every request, with OneTime
}

// cacerts fetches the CA certificates once.
func (s *session) cacerts(ctx context.Context) (*bag, *reply, error) {
	if s.cacertsReply == nil && s.cacertsErr == nil {
		s.cacertsReply, s.cacertsErr = s.once(ctx, line{max: tls.VersionTLS12}, &request{method: "GET", target: s.path(est.CACerts)})
		if s.cacertsErr == nil {
			s.cacertsBag, s.cacertsErr = bagOf(s.cacertsReply)
		}
	}
	return s.cacertsBag, s.cacertsReply, s.cacertsErr
}

func bagOf(r *reply) (*bag, error) {
	if r.status != 200 {
		return nil, fmt.Errorf("the answer is %s", r)
	}
	der, err := unarmoured(r.body)
	if err != nil {
		return nil, err
	}
	return readBag(der)
}

// wanted gives what the server wishes requests to be like; nothing if that cannot be
// had, which other checks tell.
func (s *session) wanted(ctx context.Context) *est.Wanted {
	if s.wishes == nil {
		s.wishes = &est.Wanted{}
		if list, err := s.attributes(ctx); err == nil {
			if w, err := est.Want(list); err == nil {
				s.wishes = &w
			}
		}
	}
	return s.wishes
}

// attributes fetches the CSR attributes once. With a 204 or 404 there are none.
func (s *session) attributes(ctx context.Context) (est.CSRAttrs, error) {
	if s.csrattrsReply == nil && s.csrattrsErr == nil {
		s.csrattrsReply, s.csrattrsErr = s.get(ctx, s.path(est.CSRAttributes))
	}
	if s.csrattrsErr != nil {
		return nil, s.csrattrsErr
	}
	if s.csrattrsReply.status != 200 {
		return nil, nil
	}
	der, err := unarmoured(s.csrattrsReply.body)
	if err != nil {
		return nil, err
	}
	return est.ParseCSRAttrs(der)
}

// order is one enrolment as a check wants it.
type order struct {
	op      est.Operation // "": simpleenroll
	line    line
	renews  *x509.Certificate                        // its names are asked for
	key     crypto.Signer                            // nil: a new one
	edit    func(*est.Request, *wire) error          // before it is signed
	alter   func(der []byte) []byte                  // after
	body    func(der []byte) []byte                  // nil: base64 in lines of 64
	send    func(*request)                           // the last word
	nobody  bool                                     // without authentication
	linking func(w *wire) (est.Binding, bool, error) // nil: as the server demands
}

// issued is an enrolment that was answered.
type issued struct {
	reply *reply
	bag   *bag
	err   error // why there is no bag
	cert  *x509.Certificate
	key   crypto.Signer
}

// accepted tells that a certificate came, or will (RFC 7030 §4.2.3).
func (i *issued) accepted() bool { return i.reply.status == 202 || i.cert != nil }

// able tells whether anything may be enrolled; if not, the verdict says why.
func (s *session) able() (verdict, bool) {
	if len(s.Names) == 0 || s.Login == nil && s.Shown == nil {
		return unrun("needs a user or a client certificate, and a name that may be enrolled"), false
	}
	return verdict{}, true
}

// enrol sends an order on a connection of its own.
func (s *session) enrol(ctx context.Context, o order) (*issued, error) {
	if o.op == "" {
		o.op = est.SimpleEnroll
	}
	if !o.nobody && o.line.shown == nil && s.Login == nil {
		o.line.shown = s.Shown
	}
	w, err := s.connect(ctx, o.line)
	if err != nil {
		return nil, err
	}
	defer w.Close()
	der, key, err := s.request(ctx, w, o)
	if err != nil {
		return nil, err
	}
	if o.alter != nil {
		der = o.alter(der)
	}
	r := &request{method: "POST", target: s.path(o.op), fields: ordinary(est.PKCS10), body: est.Encode(der, est.Wrapped)}
	if o.body != nil {
		r.body = o.body(der)
	}
	if !o.nobody && s.Login != nil && (o.op != est.SimpleReenroll || o.line.shown == nil) {
		if err := s.authorize(ctx, w, r); err != nil {
			return nil, err
		}
	}
	if o.send != nil {
		o.send(r)
	}
	got, err := s.over(ctx, w, r)
	if err != nil {
		return nil, err
	}
	return s.received(got, key), nil
}

var errNoLogin = errors.New("the server offers no HTTP authentication that the suite has: Basic, or Digest with MD5 or SHA-256")

// authorize puts the password into a request, as the server wants it: for Digest it is
// asked for a nonce first.
func (s *session) authorize(ctx context.Context, w *wire, r *request) error {
	bare, err := s.bare(ctx)
	if err != nil {
		return err
	}
	r.secret = true
	offers := challenges(bare)
	for _, c := range offers {
		if c.scheme == "basic" {
			r.fields = append(r.fields, field{"Authorization", basic(s.Login.User, string(s.Login.Password))})
			return nil
		}
	}
	if len(offers) == 0 { // perhaps it takes a password that it does not ask for
		r.fields = append(r.fields, field{"Authorization", basic(s.Login.User, string(s.Login.Password))})
		return nil
	}
	asked, err := s.over(ctx, w, &request{method: r.method, target: r.target, fields: ordinary(est.PKCS10)})
	if err != nil {
		return err
	}
	if asked.status != 401 {
		return nil // it wants none here: the operation is off, perhaps
	}
	for _, c := range challenges(asked) {
		if text := c.answer(r.method, r.target, s.Login); c.scheme == "digest" && text != "" {
			r.fields = append(r.fields, field{"Authorization", text})
			return nil
		}
	}
	return errNoLogin
}

// ordinary gives the fields of a POST in the form that every server takes: some want a
// Content-Transfer-Encoding, which has checks of its own.
func ordinary(media string) []field {
	return []field{{"Content-Type", media}, {"Content-Transfer-Encoding", "base64"}}
}

// bare asks for a certificate without authentication, once.
func (s *session) bare(ctx context.Context) (*reply, error) {
	if s.bareReply == nil && s.bareErr == nil {
		var der []byte
		if der, s.bareErr = s.dummy(); s.bareErr == nil {
			s.bareReply, s.bareErr = s.post(ctx, est.SimpleEnroll, est.Encode(der, est.Wrapped))
		}
	}
	return s.bareReply, s.bareErr
}

// dummy makes a good request that is meant to be refused.
func (s *session) dummy() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	r := est.Request{DNSNames: []string{"conform.invalid"}}
	r.SubjectName.CommonName = "conform.invalid"
	return r.Sign(key, 0)
}

// post sends a body without authentication on the shared connection.
func (s *session) post(ctx context.Context, op est.Operation, body []byte, fields ...field) (*reply, error) {
	if len(fields) == 0 {
		fields = ordinary(est.PKCS10)
	}
	return s.do(ctx, &request{method: "POST", target: s.path(op), fields: fields, body: body})
}

// request makes what is signed for a connection.
func (s *session) request(ctx context.Context, w *wire, o order) ([]byte, crypto.Signer, error) {
	wanted := *s.wanted(ctx)
	key, err := s.newKey(o.key, wanted.Key)
	if err != nil {
		return nil, nil, err
	}
	var r est.Request
	if o.renews != nil {
		r.Subject, r.RawSAN = o.renews.RawSubject, sanOf(o.renews)
		wanted.Subject = nil
	} else if len(s.Names) > 0 {
		if err := s.names(&r); err != nil {
			return nil, nil, err
		}
	}
	if o.edit != nil {
		if err := o.edit(&r, w); err != nil {
			return nil, nil, err
		}
	}
	if o.linking == nil && (wanted.ChallengePassword || wanted.IdentityLinking) && !s.ChallengeSecret {
		o.linking = func(w *wire) (est.Binding, bool, error) {
			b, err := bindingOf(w)
			return b, wanted.IdentityLinking, err
		}
	}
	if o.linking != nil {
		b, identity, err := o.linking(w)
		switch {
		case err != nil:
			return nil, nil, err
		case identity:
			r.Attributes = append(r.Attributes, est.IdentityLinking(b.Text()))
		default:
			r.Attributes = append(r.Attributes, est.ChallengePassword(b.Text()))
		}
	}
	if slices.ContainsFunc(wanted.Describe, est.OIDMACAddress.Equal) {
		r.Attributes = append(r.Attributes, est.MACAddress(madeUpMAC))
	}
	if err := wanted.Apply(&r); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", errUnmet, err)
	}
	der, err := r.Sign(key, wanted.Hash)
	return der, key, err
}

// madeUpMAC is a locally administered address, for servers that want to be told one.
const madeUpMAC = "02:00:5e:00:53:01"

var errUnmet = errors.New("what the server's CSR attributes demand is not to be had here")

func bindingOf(w *wire) (est.Binding, error) {
	cs := w.tls.ConnectionState()
	return est.BindingOf(&cs)
}

// newKey makes a key of the kind that the server wants.
func (s *session) newKey(given crypto.Signer, kind string) (crypto.Signer, error) {
	if given != nil {
		return given, nil
	}
	if s.OneTime && s.one != nil {
		return s.one, nil
	}
	key, err := generate(kind)
	s.one = key
	return key, err
}

// generate makes a key of a kind, or the usual one where that is unknown or cannot sign.
func generate(kind string) (crypto.Signer, error) {
	if spec, err := est.ParseKeySpec(kind); err == nil {
		if key, err := spec.NewKey(); !est.Is(err, est.Unsupported) {
			return key, err
		}
	}
	return est.KeySpec{}.NewKey()
}

// received reads the answer to an enrolment.
func (s *session) received(got *reply, key crypto.Signer) *issued {
	i := &issued{reply: got, key: key}
	if got.status == 202 {
		return i
	}
	if i.bag, i.err = bagOf(got); i.err != nil {
		return i
	}
	public, _ := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	for _, c := range i.bag.certs {
		if public != nil && public.Equal(c.PublicKey) {
			i.cert = c
		}
	}
	return i
}

// note keeps the serial numbers of what was issued here.
func (s *session) note(certs []*x509.Certificate) {
	for _, c := range certs {
		if serial := fmt.Sprintf("%x", c.SerialNumber); !c.IsCA && !slices.Contains(s.serials, serial) {
			s.serials = append(s.serials, serial)
		}
	}
}

// sanOf gives a certificate's subject alternative name, DER; nil if it has none.
func sanOf(c *x509.Certificate) []byte {
	for _, e := range c.Extensions {
		if e.Id.String() == "2.5.29.17" {
			return e.Value
		}
	}
	return nil
}

// sameNames tells whether two certificates have the same subject and alternative names.
func sameNames(a, b *x509.Certificate) bool {
	return bytes.Equal(a.RawSubject, b.RawSubject) && bytes.Equal(sanOf(a), sanOf(b))
}

// first enrols once for everything that looks at an ordinary enrolment.
func (s *session) first(ctx context.Context) (*issued, error) {
	if s.firstDone == nil && s.firstErr == nil {
		s.firstDone, s.firstErr = s.enrol(ctx, order{})
	}
	return s.firstDone, s.firstErr
}

package enroll

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"chancery/acme"
	"chancery/caa"
	"chancery/internal/enroll/solve"
	"chancery/internal/enroll/vault"
)

// issue goes from an account to a certificate that passed all checks (RFC 8555 §7.4).
func (t *turn) issue(ctx context.Context) (*obtained, error) {
	r := t.run
	task, err := r.solvers.Begin(ctx, t.job())
	if err != nil {
		return nil, &inabilityError{class: ClassUser, reason: err.Error(), advice: adviceSolver}
	}
	defer func() {
		if err := task.Close(ctx); err != nil {
			r.warn(fmt.Sprintf("cleaning up after the challenges: %s", clean(err)))
		}
	}()
	key, err := r.key(ctx)
	if err != nil {
		return nil, err
	}
	order, err := t.order(ctx)
	if err != nil {
		return nil, err
	}
	t.ordered = true
	if err := t.authorize(ctx, task, order); err != nil {
		return nil, t.spoiled(ctx, err)
	}
	csr, err := acme.NewCSR(key, r.identifiers())
	if err != nil {
		return nil, &localError{err}
	}
	if order, err = t.finalize(ctx, order, csr); err != nil {
		return nil, t.spoiled(ctx, err)
	}
	chain, err := t.download(ctx, order, checking{key: key.Public(), subjects: r.subjects, kind: t.offer.Kind})
	if err != nil {
		return nil, t.spoiled(ctx, err)
	}
	got := &obtained{key: key, chain: chain, account: t.client.AccountURL, terms: t.termsURL(), at: t.at}
	r.tell(t.event(Event{Kind: EventIssued, Order: order.URL, Serial: chain.Certificates[0].SerialNumber.Text(16), NotAfter: chain.Certificates[0].NotAfter,
		Message: t.name() + " issued the certificate, and it passed all checks"}))
	return got, nil
}

// job tells the solvers what they may be asked for, and by which methods: those of the
// records that authorise this offer (RFC 8657 §4).
func (t *turn) job() solve.Job {
	j := solve.Job{Identifiers: t.run.identifiers(), Methods: map[string][]string{}, Account: t.client.AccountURL}
	for _, term := range t.offer.Terms {
		j.Methods[term.Subject.Name] = term.Methods
	}
	if t.offer.Issuer != "" {
		j.Issuers = append(j.Issuers, t.offer.Issuer)
	}
	if t.conf != nil {
		j.Issuers = append(j.Issuers, t.conf.Issuers...)
	}
	return j
}

// order takes up the order of an earlier run at this CA, or makes one.
func (t *turn) order(ctx context.Context) (*acme.Order, error) {
	r := t.run
	for _, p := range r.orders() {
		if !p.fits(t) {
			continue
		}
		order, err := t.client.Order(ctx, p.OrderURL)
		if err == nil && order.Status != acme.OrderInvalid && r.sameIdentifiers(order) {
			r.tell(t.event(Event{Kind: EventResumed, Order: order.URL, Message: "taking up the order of " + p.Started.Format(time.RFC3339)}))
			return order, r.takeUp(ctx, p)
		}
		if err != nil && classify(err, ctx.Err() != nil).class != ClassFinal {
			return nil, err
		}
		r.lose(p.OrderURL) // gone, or of no use: make another
	}
	request := acme.NewOrder{Identifiers: r.identifiers(), Profile: t.profile, Replaces: t.replaces()}
	order, err := t.client.NewOrder(ctx, request)
	if err != nil && request.Replaces != "" {
		// RFC 9773 §5: the order is as good without it, also where a server fails over it.
		t.bare = true
		if refusesReplaces(err) {
			request.Replaces = ""
			order, err = t.client.NewOrder(ctx, request)
		}
	}
	if err != nil {
		return nil, err
	}
	r.tell(t.event(Event{Kind: EventOrder, Order: order.URL, Account: t.client.AccountURL, Profile: t.profile, Message: "ordered from " + t.name()}))
	return order, r.keepPending(ctx, t, order)
}

// replaces names the certificate that is renewed, if this CA issued it to this account
// and knows renewal information (RFC 9773 §5).
func (t *turn) replaces() string {
	c := t.run.record.Current
	if t.bare || c == nil || c.Directory != t.at || c.Account != t.client.AccountURL || t.found.Directory.RenewalInfo == "" || !t.run.record.Revoked.IsZero() {
		return ""
	}
	return c.CertID
}

// refusesReplaces: another order replaced it already (409), it is not this account's
// (403, seen after changes of account), or the server does not know its issuer any more
// (malformed).
func refusesReplaces(err error) bool {
	p, ok := errors.AsType[*acme.Problem](err)
	return ok && (p.Type == acme.TypeAlreadyReplaced || p.Type == acme.TypeMalformed || p.Status == http.StatusConflict || p.Status == http.StatusForbidden || p.Status == http.StatusNotFound)
}

// pending is an order under way, with what was asked for.
type pending struct {
	vault.Pending
	offer pendingOffer
}

// pendingOffer is what of the offer an order depends on.
type pendingOffer struct {
	Issuer  string   `json:"issuer,omitempty"`
	Default string   `json:"default,omitempty"`
	Kind    caa.Kind `json:"kind,omitempty"`
	Profile string   `json:"profile,omitempty"`
}

// oldest is how long an order is taken up again; CAs forget them earlier or later.
const oldest = 7 * 24 * time.Hour

func (p *pending) fits(t *turn) bool {
	return p.Directory == t.at && p.Account == t.client.AccountURL && p.offer.Kind == t.offer.Kind && p.offer.Profile == t.profile &&
		p.KeySHA256 == t.run.keyHash
}

// keepPending makes an order durable, so that a crash picks it up again.
func (r *run) keepPending(ctx context.Context, t *turn, order *acme.Order) error {
	offer, err := json.Marshal(pendingOffer{t.offer.Issuer, t.offer.Default, t.offer.Kind, t.profile})
	if err != nil {
		return &localError{err}
	}
	v := vault.Pending{Directory: t.at, Account: t.client.AccountURL, Offer: offer, OrderURL: order.URL, Names: names(r.subjects),
		KeySHA256: r.keyHash, Started: r.engine.config.Now()}
	return r.takeUp(ctx, &pending{Pending: v, offer: pendingOffer{t.offer.Issuer, t.offer.Default, t.offer.Kind, t.profile}})
}

// spoiled forgets an order that came to a bad end, and keeps one that may still come to a
// good one.
func (t *turn) spoiled(ctx context.Context, err error) error {
	_, unfinished := errors.AsType[*unfinishedError](err)
	if v := classify(err, ctx.Err() != nil); unfinished || v.class == ClassUnavailable || v.class == ClassStopped || v.class == ClassLocal || v.class == ClassLimited {
		if _, invalid := errors.AsType[*acme.OrderError](err); !invalid {
			return err
		}
	}
	// The key stays the next certificate's, unless it was certified.
	if p := t.run.pending; p != nil {
		t.run.lose(p.OrderURL)
	}
	if e := t.run.writeOrders(ctx); e != nil {
		return e
	}
	return err
}

// presentation is an answer that was put in its place.
type presentation struct {
	identifier acme.Identifier
	challenge  acme.Challenge
	keyAuth    string
	url        string
}

// authorize presents all answers, then responds to all, then waits for all, so that the
// CA's looks overlap.
func (t *turn) authorize(ctx context.Context, task *solve.Task, order *acme.Order) error {
	if order.Status != acme.OrderPending {
		return nil
	}
	var stand []presentation
	for _, url := range order.Authorizations {
		a, err := t.client.Authorization(ctx, url)
		if err != nil {
			return err
		}
		switch a.Status {
		case acme.AuthorizationValid:
			continue
		case acme.AuthorizationPending:
		default:
			return &acme.AuthorizationError{Authorization: a}
		}
		p, err := t.present(ctx, task, a)
		if err != nil {
			return err
		}
		stand = append(stand, p)
	}
	for _, p := range stand {
		if p.challenge.Status != acme.ChallengePending && p.challenge.Status != "" {
			continue // an earlier run responded: the CA is at it
		}
		if _, err := t.client.Respond(ctx, p.challenge); err != nil {
			return err
		}
	}
	for _, p := range stand {
		a, err := t.client.WaitAuthorization(ctx, p.url)
		if err != nil && a != nil && errors.Is(err, context.DeadlineExceeded) {
			return &unfinishedError{what: "the validation of " + p.identifier.Value, err: err}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// present answers one authorisation by the first method that this client prefers, the
// name's record permits and the CA offers.
func (t *turn) present(ctx context.Context, task *solve.Task, a *acme.Authorization) (presentation, error) {
	id := a.Identifier
	if a.Wildcard && !strings.HasPrefix(id.Value, "*.") {
		id.Value = "*." + id.Value
	}
	var offered []string
	for _, ch := range a.Challenges {
		offered = append(offered, string(ch.Type))
	}
	for _, typ := range task.Types(id) {
		i := slices.IndexFunc(a.Challenges, func(ch acme.Challenge) bool { return ch.Type == typ })
		if i < 0 {
			continue
		}
		p := presentation{identifier: id, challenge: a.Challenges[i], url: a.URL}
		var err error
		if p.keyAuth, err = t.client.KeyAuthorization(p.challenge.Token); err != nil {
			return p, err
		}
		t.run.tell(t.event(Event{Kind: EventChallenge, Name: id.Value, Challenge: string(typ), Message: "answering " + string(typ) + " for " + id.Value}))
		if err := task.Present(ctx, id, p.challenge, p.keyAuth); err != nil {
			if _, theirs := errors.AsType[*solve.ValueError](err); theirs {
				return p, &WrongError{What: "challenge", Reason: err.Error()}
			}
			return p, &solverError{err}
		}
		return p, nil
	}
	return presentation{}, &inabilityError{class: ClassUnable,
		reason: fmt.Sprintf("%s offers %s for %s, and this client may use %v", t.name(), clean(errors.New(strings.Join(offered, ", "))), id.Value, task.Types(id)),
		advice: "set up one of the challenges that the CA offers, or permit another in validationmethods"}
}

// finalize sends the request and waits for the certificate. That it was sent is durable
// first: from then on there may be a certificate.
func (t *turn) finalize(ctx context.Context, order *acme.Order, csr []byte) (*acme.Order, error) {
	order, err := t.wait(ctx, order.URL)
	if err != nil || order.Status == acme.OrderValid {
		return order, err
	}
	if p := t.run.pending; p != nil {
		p.Finalized = true
	}
	if err := t.run.writeOrders(ctx); err != nil {
		return nil, err
	}
	if order, err = t.client.Finalize(ctx, order, csr); err != nil {
		return nil, err
	}
	for looks := 0; order.Status != acme.OrderValid; looks++ {
		if order.Status == acme.OrderInvalid {
			return nil, &acme.OrderError{Order: order}
		}
		pause := order.RetryAfter
		if pause == 0 {
			pause = min(250*time.Millisecond<<min(looks, 5), 8*time.Second)
		}
		if err := sleep(ctx, pause); err != nil {
			return nil, &unfinishedError{what: "the certificate", err: err}
		}
		if order, err = t.client.Order(ctx, order.URL); err != nil {
			return nil, err
		}
	}
	return order, nil
}

// wait looks until the order is ready or valid.
func (t *turn) wait(ctx context.Context, url string) (*acme.Order, error) {
	order, err := t.client.WaitOrder(ctx, url)
	if err != nil && order != nil && errors.Is(err, context.DeadlineExceeded) {
		return nil, &unfinishedError{what: "the order", err: err}
	}
	return order, err
}

package acme

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// NewOrder asks for a certificate (RFC 8555 §7.4).
func (c *Client) NewOrder(ctx context.Context, request NewOrder) (*Order, error) {
	d, err := c.dir(ctx)
	if err != nil {
		return nil, err
	}
	var order Order
	r, err := c.postDecode(ctx, call{url: d.NewOrder, payload: request}, &order)
	if err != nil {
		return nil, err
	}
	order.RetryAfter = r.retryAfter()
	order.URL, err = r.location()
	return &order, err
}

// Order fetches an order.
func (c *Client) Order(ctx context.Context, url string) (*Order, error) {
	return c.order(ctx, url, call{url: url})
}

// Finalize sends the CSR, in DER, for an order that is ready (RFC 8555 §7.4). The
// certificate may take a while: continue with WaitOrder.
func (c *Client) Finalize(ctx context.Context, order *Order, csr []byte) (*Order, error) {
	return c.order(ctx, order.URL, call{url: order.Finalize, payload: Finalize{CSR: csr}})
}

func (c *Client) order(ctx context.Context, url string, req call) (*Order, error) {
	order := &Order{URL: url}
	r, err := c.postDecode(ctx, req, order)
	if err != nil {
		return nil, err
	}
	order.RetryAfter = r.retryAfter()
	return order, nil
}

// Authorization fetches an authorisation.
func (c *Client) Authorization(ctx context.Context, url string) (*Authorization, error) {
	return c.authorization(ctx, call{url: url})
}

// PreAuthorize asks for an authorisation ahead of any order (RFC 8555 §7.4.1). The
// error is ErrNotOffered if the server has no newAuthz.
func (c *Client) PreAuthorize(ctx context.Context, identifier Identifier) (*Authorization, error) {
	d, err := c.dir(ctx)
	if err != nil {
		return nil, err
	}
	if d.NewAuthz == "" {
		return nil, fmt.Errorf("%w: newAuthz", ErrNotOffered)
	}
	var a Authorization
	r, err := c.postDecode(ctx, call{url: d.NewAuthz, payload: NewAuthorization{Identifier: identifier}}, &a)
	if err != nil {
		return nil, err
	}
	a.URL, err = r.location()
	return &a, err
}

// DeactivateAuthorization gives an authorisation up (RFC 8555 §7.5.2).
func (c *Client) DeactivateAuthorization(ctx context.Context, url string) (*Authorization, error) {
	return c.authorization(ctx, call{url: url, payload: AuthorizationUpdate{Status: AuthorizationDeactivated}})
}

func (c *Client) authorization(ctx context.Context, req call) (*Authorization, error) {
	a := &Authorization{URL: req.url}
	r, err := c.postDecode(ctx, req, a)
	if err != nil {
		return nil, err
	}
	a.RetryAfter = r.retryAfter()
	return a, nil
}

// Respond tells the server that the challenge is met (RFC 8555 §7.5.1). Clients SHOULD
// NOT do so before it is (§8.2).
func (c *Client) Respond(ctx context.Context, challenge Challenge) (*Challenge, error) {
	return c.respond(ctx, challenge, ChallengeResponse{})
}

// RespondAttestation answers a device-attest-01 challenge with an attestation object.
func (c *Client) RespondAttestation(ctx context.Context, challenge Challenge, object []byte) (*Challenge, error) {
	return c.respond(ctx, challenge, ChallengeResponse{AttObj: object})
}

func (c *Client) respond(ctx context.Context, challenge Challenge, response ChallengeResponse) (*Challenge, error) {
	var updated Challenge
	r, err := c.postDecode(ctx, call{url: challenge.URL, payload: response}, &updated)
	if err != nil {
		return nil, err
	}
	updated.RetryAfter = r.retryAfter()
	return &updated, nil
}

// KeyAuthorization is the one for a token of this account (RFC 8555 §8.1).
func (c *Client) KeyAuthorization(token string) (string, error) {
	signer, _ := c.identity()
	key, err := publicKey(signer)
	if err != nil {
		return "", err
	}
	return KeyAuthorization(token, key), nil
}

// AuthorizationError says that an authorisation ended other than valid. It unwraps to
// the *Problem of the challenge that failed, if the server gave one.
type AuthorizationError struct{ Authorization *Authorization }

// Error names the identifier and each challenge's failure.
func (e *AuthorizationError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "acme: authorization for %s %q is %s", e.Authorization.Identifier.Type,
		e.Authorization.Identifier.Value, e.Authorization.Status)
	for _, ch := range e.Authorization.Challenges {
		if ch.Error != nil {
			fmt.Fprintf(&b, "; %s: %v", ch.Type, ch.Error)
		}
	}
	return b.String()
}

// Unwrap gives the first challenge's problem.
func (e *AuthorizationError) Unwrap() error {
	for _, ch := range e.Authorization.Challenges {
		if ch.Error != nil {
			return ch.Error
		}
	}
	return nil
}

// OrderError says that an order became invalid. It unwraps to its *Problem, if any.
type OrderError struct{ Order *Order }

// Error names the order and its problem.
func (e *OrderError) Error() string {
	text := fmt.Sprintf("acme: order %s is %s", e.Order.URL, e.Order.Status)
	if e.Order.Error != nil {
		text += ": " + e.Order.Error.Error()
	}
	return text
}

// Unwrap gives the order's problem.
func (e *OrderError) Unwrap() error {
	if e.Order.Error == nil {
		return nil
	}
	return e.Order.Error
}

// WaitAuthorization looks until the authorisation is valid. The error is an
// *AuthorizationError if it came to another end, or the context's.
func (c *Client) WaitAuthorization(ctx context.Context, url string) (*Authorization, error) {
	for try := 0; ; try++ {
		a, err := c.Authorization(ctx, url)
		switch {
		case err != nil:
			return nil, err
		case a.Status == AuthorizationValid:
			return a, nil
		case a.Status != AuthorizationPending:
			return a, &AuthorizationError{Authorization: a}
		}
		if err := pause(ctx, a.RetryAfter, try); err != nil {
			return a, err
		}
	}
}

// WaitOrder looks until the order is ready or valid. The error is an *OrderError if it
// is invalid, or the context's: an order whose challenges nobody answers stays pending.
func (c *Client) WaitOrder(ctx context.Context, url string) (*Order, error) {
	for try := 0; ; try++ {
		o, err := c.Order(ctx, url)
		switch {
		case err != nil:
			return nil, err
		case o.Status == OrderReady, o.Status == OrderValid:
			return o, nil
		case o.Status != OrderPending && o.Status != OrderProcessing:
			return o, &OrderError{Order: o}
		}
		if err := pause(ctx, o.RetryAfter, try); err != nil {
			return o, err
		}
	}
}

// The pauses between looks when the server does not name one: they double.
const (
	firstPause   = 250 * time.Millisecond
	longestPause = 8 * time.Second
)

func pause(ctx context.Context, wanted time.Duration, try int) error {
	if wanted == 0 {
		wanted = min(firstPause<<min(try, 10), longestPause)
	}
	timer := time.NewTimer(wanted)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

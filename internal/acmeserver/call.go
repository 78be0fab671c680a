package acmeserver

import (
	"net/http"
	"net/netip"
	"time"

	"chancery/acme"
	"chancery/internal/ca"
)

// call is one authenticated request on its way to a handler.
type call struct {
	http    *http.Request
	jws     *acme.JWS
	key     *acme.Key // the key that signed
	account *Account  // nil when the request carried its key instead of an account
	once    *ca.Once  // the nonce: whatever writes hands it to its store
	client  netip.Addr
	at      *entrance // the directory by which it came
}

// principal gives who asks, as the core knows it.
func (c *call) principal() ca.Principal { return ca.Principal{Room: Room, ID: c.account.ID} }

// path gives what the request's path has in place of the pattern's {name}.
func (c *call) path(name string) string { return c.http.PathValue(name) }

// readOnly refuses a payload: the resource is for POST-as-GET (RFC 8555 §6.3).
func (c *call) readOnly() error {
	if !c.jws.PostAsGet() {
		return acme.Malformed("this resource is read by POST-as-GET: the payload must be empty, not {} (RFC 8555 §6.3)")
	}
	return nil
}

// decode reads the payload into a pointer to one of acme's request types; an
// empty one is refused.
func (c *call) decode(into any) error { return acme.DecodePayload(c.jws.Payload, into) }

// write gives what a store needs beside the thing to be written. The event is
// by the call's account.
func (c *call) write(at time.Time, kind, subject string) Write {
	return Write{Once: c.once, Event: c.principal().Event(at, kind, subject)}
}

// answer is what a handler gives back; errors are its other result. Body is
// encoded as JSON unless Raw is set.
type answer struct {
	status     int // 0: 200
	body       any
	raw        []byte
	mediaType  string // of raw
	location   string // absolute URL for Location
	links      []link
	retryAfter time.Duration
	maxAge     time.Duration // that caches may keep it; 0: they are told nothing
}

// link is a Link header field (RFC 8288).
type link struct{ url, rel string }

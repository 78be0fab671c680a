package ca

import (
	"bytes"
	"context"
	"crypto"
	"encoding/binary"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"chancery/internal/lint"
)

// Config is what an authority works with. All fields but CAA and Logger are needed.
type Config struct {
	Ledger      Ledger
	Recovery    Recovery
	Revocations Revocations
	Hierarchy   Hierarchy
	Keys        Keys
	Profiles    map[string]*Profile
	Clock       func() time.Time
	Seals       Seals
	CAA         CAARules      // at the start; see [Authority.SetCAA]. Zero: CAA is off
	CRLLife     time.Duration // how long a CRL is good
	CRLRefresh  time.Duration // how old one gets before the next is made
	Logger      *slog.Logger  // nil: silence
}

// Seals prove to a later process that an intent's bytes were written by this
// authority and not by somebody who can write to the database: only sealed
// bytes are signed after a crash. The secret lives with the issuers' keys.
type Seals interface {
	// Seal encrypts plain and binds it to what is associated with it.
	Seal(plain, associated []byte) []byte
	// Open undoes Seal and fails if either part was changed.
	Open(sealed, associated []byte) ([]byte, error)
}

// Keys is the authority's view of a key store.
type Keys interface {
	// Load gives the signer of a stored key, and an error of kind [NotFound]
	// when the key is not in this store.
	Load(ctx context.Context, name string) (crypto.Signer, error)
	// Generate makes and durably stores a key that did not exist.
	Generate(ctx context.Context, name, algorithm string) (crypto.Signer, error)
}

// Authority is the one place where certificates come from. It is safe for
// concurrent use; the issuers it knows are replaced as a whole by [Authority.Reload].
type Authority struct {
	Config
	issuers    atomic.Pointer[Issuers]
	caa        atomic.Pointer[CAARules] // replaced by SetCAA
	caaTurns   chan struct{}            // see caaInAll
	reloading  sync.Mutex               // held by Reload, so that an older picture never replaces a newer one
	crlSet     *lint.Set                // also lints OCSP responses
	responders responders
}

// lease is how long the process that wrote an intent has to finish it before
// another may; a signature takes milliseconds, an HSM's seconds.
const lease = time.Minute

// New gives an authority that knows no issuers yet: [Authority.Reload] reads
// them, [Authority.Found] makes the first.
func New(cfg Config) (*Authority, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	crlSet, err := lint.Parse([]string{"rfc"})
	if err != nil {
		return nil, err
	}
	a := &Authority{Config: cfg, crlSet: crlSet, caaTurns: make(chan struct{}, caaInAll)}
	if err := a.SetCAA(cfg.CAA); err != nil {
		return nil, err
	}
	a.issuers.Store(&Issuers{byID: map[string]*Issuer{}})
	return a, nil
}

// Issue is the road to a certificate. It gives the settled record, whose DER
// may be handed out. The same request gets the same certificate however often
// it comes; the same id with another key is a [Conflict]. After a failure of
// kind [Unavailable] the request may be repeated unchanged.
func (a *Authority) Issue(ctx context.Context, req Request) (Record, error) {
	return a.issueFrom(ctx, req, nil)
}

// issueFrom is Issue with the issuer given, which may be a retired one: its
// OCSP delegates are certified by itself and nobody else (RFC 6960 §4.2.2.2).
// With nil the profile's line decides.
func (a *Authority) issueFrom(ctx context.Context, req Request, issuer *Issuer) (Record, error) {
	now := a.Clock()
	profile, ok := a.Profiles[req.Profile]
	if !ok {
		return Record{}, Errorf(Invalid, "there is no profile %q; see: chancery profile list", clip(req.Profile))
	}
	if err := profile.admit(&req, now); err != nil {
		return Record{}, err
	}
	if issuer == nil {
		var err error
		if issuer, err = a.Issuers().forProfile(profile, now); err != nil {
			return Record{}, err
		}
	}
	if err := a.Issuers().permits(issuer, req.Names); err != nil {
		return Record{}, err
	}
	if err := a.freeKey(req.Key); err != nil {
		return Record{}, err
	}
	draft, err := profile.draft(&req, issuer, now)
	if err != nil {
		return Record{}, err
	}
	found, err := a.askCAA(ctx, profile, &req)
	if err != nil {
		return Record{}, err
	}
	if found != "" {
		draft.detail["caa"] = found
	}
	return a.certify(ctx, draft)
}

// Precheck tells whether a request could succeed once its evidence and key are
// there, so that a room can refuse early. It looks at By, Profile, Names, Labels,
// NotBefore and NotAfter alone.
func (a *Authority) Precheck(req Request) error {
	p, ok := a.Profiles[req.Profile]
	if !ok || !p.Serves(req.By.Room) {
		return Errorf(Invalid, "there is no profile %q for this service", clip(req.Profile))
	}
	if err := p.admitAsker(&req, a.Clock()); err != nil {
		return err
	}
	if err := p.admitNames(req.Names); err != nil {
		return err
	}
	if _, _, err := p.window(req.NotBefore, req.NotAfter, a.Clock()); err != nil {
		return err
	}
	issuer, err := a.Issuers().forProfile(p, a.Clock())
	if err != nil {
		return err
	}
	if err := issuer.outlives(req.NotAfter); err != nil {
		return err
	}
	return a.Issuers().permits(issuer, req.Names)
}

// freeKey refuses our own authorities' keys. Keys known to be compromised are
// refused by the ledger, in the transaction of the intent.
func (a *Authority) freeKey(key crypto.PublicKey) error {
	hash, err := KeyHash(key)
	if err != nil {
		return Errorf(BadKey, "the public key cannot be encoded").because(err)
	}
	if a.Issuers().byKeyHash(hash) != nil {
		return Errorf(BadKey, "this is the key of a certification authority; make a key of your own")
	}
	return nil
}

// certify takes a draft down the road: lint, intend, sign, settle.
func (a *Authority) certify(ctx context.Context, d *Draft) (Record, error) {
	warrant, err := d.prepare()
	if err != nil {
		return Record{}, err
	}
	intent, err := a.intent(d, warrant)
	if err != nil {
		return Record{}, err
	}
	record, err := a.Ledger.Intend(ctx, intent)
	if err != nil {
		return Record{}, err
	}
	if record.Serial != d.serial {
		return a.resume(ctx, record, intent)
	}
	// From here on the certificate may exist: a caller that hangs up must not
	// keep it from being recorded.
	return a.settle(context.WithoutCancel(ctx), record, d.issuer, warrant)
}

func (a *Authority) intent(d *Draft, w *Warrant) (Intent, error) {
	now := a.Clock()
	hash, err := KeyHash(d.key)
	if err != nil {
		return Intent{}, Errorf(BadKey, "the public key cannot be encoded").because(err)
	}
	sealed := (&Record{TBS: w.tbs, Issuer: d.issuer.ID, Request: d.request, KeyHash: hash}).sealed()
	in := Intent{
		Serial: d.serial, Request: d.request, By: d.by, Profile: d.profile, Issuer: d.issuer.ID, Shard: d.issuer.ShardOf(d.serial),
		KeyHash: hash, Names: d.names, Subject: d.template.Subject.String(),
		NotBefore: d.template.NotBefore, NotAfter: d.template.NotAfter,
		TBS: w.tbs, Seal: a.Seals.Seal(nil, sealed), At: now, Lease: now.Add(lease), Once: d.once,
		Event: d.by.Event(now, "certificate.intended", string(d.serial)),
	}
	in.Event.Detail = d.detail
	return in, nil
}

// resume answers a request that has a record already: with its certificate, or
// by finishing what was begun. Asking for something else under the same id is a
// conflict, never silently the old answer.
func (a *Authority) resume(ctx context.Context, r Record, in Intent) (Record, error) {
	switch {
	case !bytes.Equal(r.KeyHash, in.KeyHash):
		return Record{}, Errorf(Conflict, "this request was answered before, for another key; make a new order for a new key")
	case r.Profile != in.Profile || r.Subject != in.Subject || !slices.Equal(r.Names, in.Names):
		return Record{}, Errorf(Conflict, "this request was answered before, for other names, another subject or another profile; make a new one")
	case r.Settled():
		return r, nil
	}
	return a.finish(context.WithoutCancel(ctx), r)
}

// finish signs an intent's recorded bytes again. What has happened since counts:
// an intent for a key that was compromised meanwhile is revoked instead.
func (a *Authority) finish(ctx context.Context, r Record) (Record, error) {
	if !r.RevokedAt.IsZero() {
		return Record{}, Errorf(Revoked, "the certificate was revoked before it was finished; make a new request")
	}
	if _, err := a.Seals.Open(r.Seal, r.sealed()); err != nil {
		return Record{}, Errorf(Internal, "the intent %s was not written by this authority: its seal does not fit", r.Serial).because(err)
	}
	blocked, err := a.Revocations.KeyBlocked(ctx, r.KeyHash)
	if err != nil {
		return Record{}, err
	}
	if blocked {
		if err := a.giveUp(ctx, r, KeyCompromise); err != nil {
			return Record{}, err
		}
		return Record{}, Errorf(BadKey, "the key was compromised before the certificate was finished; make a new key")
	}
	if a.caaOutdated(&r) {
		if err := a.giveUp(ctx, r, CessationOfOperation); err != nil {
			return Record{}, err
		}
		return Record{}, Errorf(Revoked, "the CAA records were looked up more than %s ago, too long for the certificate to be finished now; make a new request", caaLife)
	}
	issuer, ok := a.Issuers().byID[r.Issuer]
	if !ok || issuer.signer == nil {
		return Record{}, Errorf(Unavailable, "the key that must finish certificate %s is not on this machine", r.Serial)
	}
	return a.settle(ctx, r, issuer, &Warrant{tbs: r.TBS, issuer: r.Issuer})
}

// sealed is what an intent's seal covers: the bytes to be signed, and for whom
// and by whom.
func (r *Record) sealed() []byte {
	var b []byte
	for _, part := range [][]byte{r.TBS, []byte(r.Issuer), []byte(r.Request), r.KeyHash} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(part)))
		b = append(b, part...)
	}
	return b
}

// settle signs and records; only what the ledger returns may leave.
func (a *Authority) settle(ctx context.Context, r Record, issuer *Issuer, w *Warrant) (Record, error) {
	der, err := issuer.sign(w)
	if err != nil {
		return Record{}, err
	}
	now := a.Clock()
	settled, err := a.Ledger.Settle(ctx, Settlement{
		Serial: r.Serial, DER: der, At: now,
		Event: r.By.Event(now, "certificate.issued", string(r.Serial)),
	})
	if err == nil && !settled.Settled() {
		return Record{}, Errorf(Revoked, "the certificate was revoked before it was finished; make a new request")
	}
	if err == nil {
		a.Logger.InfoContext(ctx, "issued a certificate", "serial", r.Serial, "names", r.Names, "profile", r.Profile, "by", r.By.String(), "issuer", issuer.ID)
	}
	return settled, err
}

// account writes down, for the auditor, on what evidence a request was granted.
func (r *Request) account(p *Profile, now time.Time) map[string]string {
	var lines []string
	for _, name := range r.Names {
		if e, ok := r.evidenceFor(name, p.Evidence, now); ok {
			lines = append(lines, fmt.Sprintf("%s by %s at %s: %s", name, e.Method, e.At.UTC().Format(time.RFC3339), e.Detail))
		}
	}
	return r.details(map[string]string{"request": r.ID, "profile": p.Name, "evidence": strings.Join(lines, "\n")})
}

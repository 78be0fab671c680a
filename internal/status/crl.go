package status

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"chancery/internal/ca"

	"golang.org/x/sync/singleflight"
)

const (
	crlType = "application/pkix-crl" // RFC 2585 §4.2
	// reread is the age at which a CRL in memory is read again.
	reread = time.Second
)

// crlName is one CRL: a shard of an issuer.
type crlName struct {
	issuer string
	shard  int
}

// heldCRL is a CRL in memory; it is never changed.
type heldCRL struct {
	ca.CRLRecord
	read time.Time
	etag string
}

// crls keeps the newest CRL of each shard. There are as many as the hierarchy
// has shards, so nothing is ever forgotten.
type crls struct {
	from    CRLs
	mu      sync.Mutex // owns held; not kept while reading
	held    map[crlName]*heldCRL
	reading singleflight.Group
}

func (c *crls) look(name crlName) *heldCRL {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.held[name]
}

// newest gives the shard's CRL as it was at most a second ago. When storage
// fails it gives the last one, if there is one, with the error.
func (c *crls) newest(ctx context.Context, name crlName, clock func() time.Time) (*heldCRL, error) {
	now := clock()
	old := c.look(name)
	if old != nil && now.Sub(old.read) < reread && !now.Before(old.read) {
		return old, nil
	}
	result := c.reading.DoChan(fmt.Sprint(name.issuer, "/", name.shard), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		return c.readAgain(ctx, name, clock())
	})
	select {
	case r := <-result:
		if r.Err != nil {
			return old, r.Err
		}
		return r.Val.(*heldCRL), nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (c *crls) readAgain(ctx context.Context, name crlName, now time.Time) (*heldCRL, error) {
	record, err := c.from.CRL(ctx, name.issuer, name.shard)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(record.DER)
	fresh := &heldCRL{CRLRecord: record, read: now, etag: `"` + hex.EncodeToString(sum[:16]) + `"`}
	c.mu.Lock()
	defer c.mu.Unlock()
	// Of two readings the one with the higher number stays, whoever came last.
	if old := c.held[name]; old != nil && old.Number > record.Number {
		return old, nil
	}
	c.held[name] = fresh
	return fresh, nil
}

func (s *Server) getCRL(w http.ResponseWriter, r *http.Request) {
	name, ok := s.crlName(strings.TrimPrefix(r.URL.Path, "/crl/"))
	if !ok {
		notFound(w, "there is no such CRL; its address stands in the certificates that it speaks of")
		return
	}
	now := s.Clock()
	crl, err := s.crls.newest(r.Context(), name, s.Clock)
	if err != nil && (crl == nil || !now.Before(crl.NextUpdate)) {
		s.unavailable(w, r, err)
		return
	}
	if err != nil {
		s.Logger.WarnContext(r.Context(), "a CRL could not be read again; the last one was given", "issuer", name.issuer, "error", err)
	}
	if crl.Number == 0 {
		s.unavailable(w, r, ca.Errorf(ca.Unavailable, "no CRL of issuer %s, shard %d, was made yet", name.issuer, name.shard))
		return
	}
	age := min(crl.NextUpdate.Sub(now), s.MaxAge)
	s.sendFile(w, r, file{
		kind: crlType, etag: crl.etag, body: crl.DER, modified: crl.ThisUpdate,
		expires: crl.NextUpdate, age: age,
	})
}

// crlName reads "ISSUER/SHARD.crl", the form of [ca.Issuer.CRLURL].
func (s *Server) crlName(path string) (crlName, bool) {
	id, rest, _ := strings.Cut(path, "/")
	number, ok := strings.CutSuffix(rest, ".crl")
	issuer := s.Authority.Issuers().ByID(id)
	shard, err := strconv.Atoi(number)
	if !ok || issuer == nil || err != nil || number != strconv.Itoa(shard) || shard < 0 || shard >= max(issuer.Shards, 1) {
		return crlName{}, false
	}
	return crlName{id, shard}, true
}

// file is something to be sent with what HTTP caches want to know.
type file struct {
	kind, etag        string
	body              []byte
	modified, expires time.Time
	age               time.Duration // how long caches may keep it
}

func (s *Server) sendFile(w http.ResponseWriter, r *http.Request, f file) {
	h := w.Header()
	h.Set("Content-Type", f.kind)
	h.Set("Etag", f.etag)
	h.Set("Expires", f.expires.UTC().Format(http.TimeFormat))
	h.Set("Cache-Control", fmt.Sprintf("max-age=%d, public, no-transform", max(int(f.age/time.Second), 0)))
	http.ServeContent(w, r, "", f.modified, bytes.NewReader(f.body))
}

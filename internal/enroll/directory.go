package enroll

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"chancery/caa"
	"chancery/internal/enroll/directory"
	"chancery/internal/enroll/guard"
	"chancery/internal/enroll/vault"
)

// directory gives the directory of an offer's CA, from the vault while it is fresh.
func (r *run) directory(ctx context.Context, o caa.Offer) (directory.Found, error) {
	at := r.asked(o.Issuer, o.Default)
	conf := r.ca(o.Issuer, o.Default)
	q := directory.Query{Issuer: o.Issuer, Identities: r.identities(conf), Client: r.engine.config.HTTP(conf),
		UserAgent: userAgent, Now: r.engine.config.Now}
	if conf != nil {
		q.URL = conf.Directory
	}
	if q.Issuer == "" && q.URL == "" {
		q.URL = at
	}
	if cached, ok := r.cached(at); ok && fresh(cached, q, r.engine.config.Now()) {
		return cached, nil
	}
	found, err := directory.Fetch(ctx, q)
	if err != nil {
		return directory.Found{}, err
	}
	r.tell(Event{Kind: EventDirectory, Issuer: o.Issuer, Default: o.Default, Directory: found.URL,
		Message: fmt.Sprintf("%s has its directory at %s (vouched for by %s)", caName(o.Issuer, o.Default), guard.Shown(found.URL), found.VouchedBy)})
	if err := r.keepDirectory(ctx, at, found); err != nil {
		return found, err
	}
	return found, r.update(ctx, at, func(c *vault.CA) { knownAs(c, o.Issuer) })
}

// cached is a directory that was fetched before.
func (r *run) cached(at string) (found directory.Found, ok bool) {
	text := r.engine.config.Vault.DirectoryText(at)
	return found, len(text) > 0 && json.Unmarshal(text, &found) == nil
}

// keepDirectory keeps one that may be used again, and forgets what was kept otherwise.
func (r *run) keepDirectory(ctx context.Context, at string, found directory.Found) error {
	var text json.RawMessage
	if found.Fresh.After(found.Fetched) {
		var err error
		if text, err = json.Marshal(found); err != nil {
			return &localError{err}
		}
	}
	if err := r.engine.config.Vault.KeepDirectory(context.WithoutCancel(ctx), at, text); err != nil {
		return &localError{fmt.Errorf("keeping the directory of a CA: %w", err)}
	}
	return nil
}

// identities is what the directory must say of the issuer's name.
func (r *run) identities(conf *CA) directory.Identities {
	if conf != nil && conf.Identities != "" {
		return directory.Identities(conf.Identities)
	}
	return directory.Identities(r.engine.config.Settings.Identities)
}

// fresh tells whether a directory may be used again: for at most a day, and not if a
// clock that was wrong wrote it down, nor if it was found under another rule.
func fresh(f directory.Found, q directory.Query, now time.Time) bool {
	return !now.Before(f.Fetched) && now.Before(f.Fresh) && f.Fresh.Sub(f.Fetched) <= 24*time.Hour &&
		strings.EqualFold(f.Issuer, q.Issuer) &&
		(q.Identities != directory.Require || q.Issuer == "" || f.VouchedBy == directory.ByIdentities) &&
		(q.Identities == directory.Ignore || f.VouchedBy != directory.ByConfiguration || q.Issuer == "" || q.URL != "")
}

const userAgent = "chancery"

// pinned answers requests for a directory that was found and checked already, so that
// what was judged is what is used; all others go on to the next transport.
type pinned struct {
	url       string
	directory []byte
	next      http.RoundTripper
}

func (p pinned) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method != http.MethodGet || req.URL.String() != p.url {
		return p.next.RoundTrip(req)
	}
	if req.Body != nil {
		_ = req.Body.Close()
	}
	return &http.Response{
		Status: "200 OK", StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: req,
		Header:        http.Header{"Content-Type": {"application/json"}},
		Body:          io.NopCloser(bytes.NewReader(p.directory)),
		ContentLength: int64(len(p.directory)),
	}, nil
}

// using gives a client for whom the directory is the one that was found.
func using(client *http.Client, found directory.Found) (*http.Client, error) {
	text, err := json.Marshal(found.Directory)
	if err != nil {
		return nil, err
	}
	copied := *client
	next := client.Transport
	if next == nil {
		next = http.DefaultTransport
	}
	copied.Transport = pinned{url: found.URL, directory: text, next: next}
	return &copied, nil
}

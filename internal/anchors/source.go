package anchors

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

// lists finds the CRL that speaks of a certificate.
type lists struct {
	configured []source
	client     *http.Client // for what certificates name

	mu    sync.Mutex
	named map[string]*page // by URL, of those that certificates name
}

// source is a place where CRLs are had. What it gives may be out of date.
type source interface {
	current(ctx context.Context, now time.Time) ([]*list, error)
}

// maxNamed bounds how many URLs of certificates are remembered.
const maxNamed = 64

func newLists(c Config) (*lists, error) {
	ls := &lists{client: newClient(!c.Loopback), named: map[string]*page{}}
	free := newClient(false)
	for _, where := range c.CRLs {
		if path, ok := strings.CutPrefix(where, "file:"); ok {
			f := &file{path: strings.TrimPrefix(path, "//")}
			if _, err := f.current(context.Background(), time.Now()); err != nil {
				return nil, fmt.Errorf("the anchors %q: %w", c.Name, err)
			}
			ls.configured = append(ls.configured, f)
			continue
		}
		if !web(where) {
			return nil, fmt.Errorf("the anchors %q: %q is no place of a CRL; write file:/PATH, http://… or https://…", c.Name, where)
		}
		ls.configured = append(ls.configured, &page{where: where, client: free})
	}
	return ls, nil
}

// status looks a certificate up in every CRL that speaks of it. One that lists it is
// enough to refuse; one that lists it not, and would for any reason, to accept.
func (ls *lists) status(ctx context.Context, of link, now time.Time) (state, error) {
	var problems []error
	good := false
	for _, place := range ls.places(of) {
		found, err := place.current(ctx, now)
		if err != nil {
			problems = append(problems, err)
		}
		for _, l := range found {
			if err := l.speaks(of, now); err != nil {
				problems = append(problems, err)
				continue
			}
			if entry, listed := l.entries[string(of.cert.SerialNumber.Bytes())]; listed {
				return entry, nil
			}
			good = good || !l.scope.someReasons
		}
	}
	if good {
		return state{}, nil
	}
	if len(problems) == 0 {
		return state{}, errors.New("no CRL is known that speaks of it")
	}
	return state{}, errors.Join(problems...)
}

// places gives where to look: what is configured, else what the certificate names.
func (ls *lists) places(of link) []source {
	if len(ls.configured) > 0 {
		return ls.configured
	}
	ls.mu.Lock()
	defer ls.mu.Unlock()
	var all []source
	for _, where := range of.cert.CRLDistributionPoints {
		if !web(where) || len(all) == maxPlaces {
			continue
		}
		p := ls.named[where]
		if p == nil {
			if len(ls.named) >= maxNamed {
				clear(ls.named) // those in use come back
			}
			p = &page{where: where, client: ls.client}
			ls.named[where] = p
		}
		all = append(all, p)
	}
	return all
}

// file is a file of CRLs, read again when it has changed.
type file struct {
	path string

	mu    sync.Mutex
	stamp os.FileInfo
	held  []*list
}

func (f *file) current(context.Context, time.Time) ([]*list, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	info, err := os.Stat(f.path)
	if err != nil {
		return f.held, err
	}
	if f.stamp != nil && info.Size() == f.stamp.Size() && info.ModTime().Equal(f.stamp.ModTime()) {
		return f.held, nil
	}
	if info.Size() > maxList {
		return f.held, fmt.Errorf("%s has %d octets; %d are the limit", f.path, info.Size(), maxList)
	}
	text, err := os.ReadFile(f.path)
	if err != nil {
		return f.held, err
	}
	held, err := readLists(text)
	if err != nil {
		return f.held, fmt.Errorf("%s: %w", f.path, err)
	}
	f.held, f.stamp = held, info
	return held, nil
}

// page is a URL of CRLs. It is fetched by one at a time, again in the background well
// before what was fetched is out of date, and after a failure not at once.
type page struct {
	where  string
	client *http.Client

	mu    sync.Mutex
	held  []*list
	err   error         // of the last fetch
	again time.Time     // not to be fetched before
	busy  chan struct{} // closed when the fetch under way ends; nil: none is
}

const (
	afterFailure = 30 * time.Second
	oftenEnough  = time.Hour // so late a new CRL is seen at most, however long the old one is good
)

func (p *page) current(ctx context.Context, now time.Time) ([]*list, error) {
	p.mu.Lock()
	held, err := p.held, p.err
	if p.busy == nil && !now.Before(p.again) {
		p.busy = make(chan struct{})
		go p.fetch(now)
	}
	busy := p.busy
	p.mu.Unlock()
	if busy == nil || upToDate(held, now) {
		return held, err
	}
	select {
	case <-busy:
	case <-ctx.Done():
		return held, ctx.Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.held, p.err
}

// fetch outlives who asked for it: others wait for the same.
func (p *page) fetch(now time.Time) {
	ctx, cancel := context.WithTimeout(context.Background(), fetchTime)
	defer cancel()
	var held []*list
	text, err := get(ctx, p.client, p.where)
	if err == nil {
		if held, err = readLists(text); err != nil {
			err = fmt.Errorf("%s: %w", p.where, err)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err, p.again = err, now.Add(afterFailure)
	if err == nil {
		p.held, p.again = held, now.Add(max(afterFailure, min(oftenEnough, nextUpdate(held).Sub(now)/2)))
	}
	close(p.busy)
	p.busy = nil
}

func upToDate(held []*list, now time.Time) bool {
	return len(held) > 0 && now.Before(nextUpdate(held))
}

// nextUpdate gives when the first of the CRLs is out of date.
func nextUpdate(held []*list) time.Time {
	first := held[0].NextUpdate
	for _, l := range held[1:] {
		if l.NextUpdate.Before(first) {
			first = l.NextUpdate
		}
	}
	return first
}

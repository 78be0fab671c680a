package solve_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"chancery/acme"
	"chancery/internal/enroll/solve"
	"chancery/testca"

	"github.com/libdns/libdns"
)

// service is a libdns provider whose zone is in the CA's DNS. It keeps the letter of
// libdns' contract: names relative to the zone, deletion by exact match.
type service struct {
	Token string `json:"api_token,omitempty"`
	Limit int    `json:"limit,omitempty"`

	show func(name string, values []string)
	mu   sync.Mutex
	zone map[string][]string
}

func (s *service) AppendRecords(_ context.Context, zone string, records []libdns.Record) ([]libdns.Record, error) {
	return s.change(zone, records, func(have []string, text string) []string { return append(have, text) })
}

func (s *service) DeleteRecords(_ context.Context, zone string, records []libdns.Record) ([]libdns.Record, error) {
	return s.change(zone, records, func(have []string, text string) []string {
		return slices.DeleteFunc(have, func(h string) bool { return h == text })
	})
}

func (s *service) change(zone string, records []libdns.Record, how func([]string, string) []string) ([]libdns.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if zone != "shop.example." {
		return nil, errors.New("no such zone: " + zone)
	}
	for _, r := range records {
		rr := r.RR()
		if rr.Type != "TXT" || strings.HasSuffix(rr.Name, ".") || strings.HasSuffix(rr.Name, "shop.example") {
			return nil, errors.New("not a relative TXT record: " + rr.Name)
		}
		at := libdns.AbsoluteName(rr.Name, zone)
		s.zone[at] = how(s.zone[at], rr.Data)
		s.show(strings.TrimSuffix(at, "."), s.zone[at])
	}
	return records, nil
}

func TestLibDNSIssues(t *testing.T) {
	ca := testca.Start(t)
	s := &service{zone: map[string][]string{}, show: func(name string, values []string) { ca.SetDNS(t, name, "TXT", values...) }}
	d := &solve.DNS01{Publisher: &solve.LibDNS{Provider: s}, Resolver: ask(t, ca.DNS()), Zone: "Shop.example.",
		Propagation: solve.Propagation{Servers: []string{ca.DNS()}, Interval: time.Millisecond}}
	job := solve.Job{Identifiers: []acme.Identifier{name("*.shop.example"), name("shop.example"), name("a.b.shop.example")}}
	must(t, obtain(t.Context(), register(t, ca), solve.NewSet(nil, solve.Choice{Solver: d}), job))
	for at, left := range s.zone {
		if len(left) != 0 {
			t.Errorf("%s has %q left", at, left)
		}
	}
	if len(s.zone) != 2 {
		t.Errorf("published at %v", s.zone)
	}
	job.Identifiers = []acme.Identifier{name("other.example")}
	var own *solve.Error
	if err := obtain(t.Context(), register(t, ca), solve.NewSet(nil, solve.Choice{Solver: d}), job); !errors.As(err, &own) {
		t.Errorf("a name of another zone: %v", err)
	}
}

func TestNewLibDNS(t *testing.T) {
	solve.Providers["test-service"] = func() solve.Provider { return new(service) }
	defer delete(solve.Providers, "test-service")
	file := write(t, t.TempDir(), "token", "s3cret\n")
	l, err := solve.NewLibDNS("test-service", map[string]string{"api_token": "file:" + file})
	if err != nil || l.Provider.(*service).Token != "s3cret" {
		t.Fatalf("%+v, %v", l, err)
	}
	if l, err := solve.NewLibDNS("test-service", map[string]string{"api_token": "plain"}); err != nil || l.Provider.(*service).Token != "plain" {
		t.Errorf("%+v, %v", l, err)
	}
	for label, fields := range map[string]map[string]string{
		"unknown":   {"token": "hunter2"},
		"no string": {"limit": "hunter2"},
		"no file":   {"api_token": "file:/none"},
	} {
		if _, err := solve.NewLibDNS("test-service", fields); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", label, err)
		}
	}
	if _, err := solve.NewLibDNS("none", nil); err == nil || !strings.Contains(err.Error(), "test-service") {
		t.Errorf("%v", err)
	}
}

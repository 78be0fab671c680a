package solve_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"chancery/acme"
	"chancery/internal/dnstest"
	"chancery/internal/enroll/solve"
	"chancery/internal/porttest"
	"chancery/testca"
)

const (
	http01    = acme.ChallengeHTTP01
	dns01     = acme.ChallengeDNS01
	tlsalpn01 = acme.ChallengeTLSALPN01
	persist01 = acme.ChallengeDNSPersist01
)

func TestSetMethods(t *testing.T) {
	set := solve.NewSet(nil,
		solve.Choice{Solver: &solve.TLSALPN{}, Names: []string{"Special.example", "192.0.2.7"}},
		solve.Choice{Solver: &solve.DNS01{}, Names: []string{".zone.example", "*.star.example"}},
		solve.Choice{Solver: &solve.Standalone{}},
		solve.Choice{Solver: &solve.Webroot{Dir: "/"}},
	)
	for _, test := range []struct {
		id   acme.Identifier
		want []acme.ChallengeType
	}{
		{name("a.example"), []acme.ChallengeType{http01}},
		{name("special.EXAMPLE"), []acme.ChallengeType{tlsalpn01, http01}},
		{name("a.zone.example"), []acme.ChallengeType{dns01, http01}},
		{name("zone.example"), []acme.ChallengeType{http01}},
		{name("*.zone.example"), []acme.ChallengeType{dns01}},
		{name("*.star.example"), []acme.ChallengeType{dns01}},
		{name("star.example"), []acme.ChallengeType{http01}},
		{name("*.a.example"), nil},
		{address("192.0.2.7"), []acme.ChallengeType{tlsalpn01, http01}},
		{address("2001:db8::1"), []acme.ChallengeType{http01}},
		{acme.Identifier{Type: acme.IdentifierPermanent, Value: "x"}, nil},
	} {
		if got := set.Methods(test.id); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: %q, want %q", test.id.Value, got, test.want)
		}
	}
}

func TestBegin(t *testing.T) {
	d, err := dnstest.Start(":0")
	must(t, err)
	t.Cleanup(d.Close)
	must(t, d.Set("_validation-persist.lasting.example", "TXT", "ca.example; accounturi="+account))
	set := solve.NewSet(nil, solve.Choice{Solver: &solve.Persist{Resolver: ask(t, d.Addr())}}, solve.Choice{Solver: &solve.DNS01{}}, solve.Choice{Solver: &solve.Standalone{}})
	job := solve.Job{Account: account, Issuers: []string{"ca.example"}, Identifiers: []acme.Identifier{
		name("lasting.example"), name("*.lasting.example"), name("a.example"), name("*.a.example"), name("b.example"), address("192.0.2.7")},
		Methods: map[string][]string{"A.example": {"http-01", "tls-alpn-01"}, "*.a.example": {"dns-01"}, "b.example": {"dns-persist-01"}}}
	task, err := set.Begin(t.Context(), job)
	must(t, err)
	for _, test := range []struct {
		id   acme.Identifier
		want []acme.ChallengeType
	}{
		{name("lasting.example"), []acme.ChallengeType{persist01, dns01, http01}},
		{name("*.lasting.example"), []acme.ChallengeType{dns01}}, // the record has no policy=wildcard
		{name("a.example"), []acme.ChallengeType{http01}},
		{name("*.A.example"), []acme.ChallengeType{dns01}},
		{name("b.example"), []acme.ChallengeType{persist01}}, // not there, but nothing else is permitted
		{address("192.0.2.7"), []acme.ChallengeType{http01}},
		{name("stranger.example"), nil},
	} {
		if got := task.Types(test.id); !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", test.id.Value, got, test.want)
		}
	}
	job.Methods = map[string][]string{"192.0.2.7": {"dns-01"}, "*.lasting.example": {"http-01"}, "a.example": {}}
	_, err = set.Begin(t.Context(), job)
	var none *solve.NoMethodError
	if !errors.As(err, &none) || none.Identifier != name("*.lasting.example") || strings.Count(err.Error(), "CAA record permits only") != 3 {
		t.Errorf("%v", err)
	}
	_, err = solve.NewSet(nil).Begin(t.Context(), job)
	if !errors.As(err, &none) || !strings.Contains(err.Error(), "set up http-01") {
		t.Errorf("%v", err)
	}
}

// One certificate whose names' owners permit different methods (RFC 8657 §4).
func TestMethodsPerName(t *testing.T) {
	ca := testca.Start(t)
	publisher := &service{zone: map[string][]string{}, show: func(name string, values []string) { ca.SetDNS(t, name, "TXT", values...) }}
	set := solve.NewSet(&solve.Journal{Dir: filepath.Join(t.TempDir(), "journal")},
		solve.Choice{Solver: &solve.Standalone{Address: loopback(ca.HTTPPort)}},
		solve.Choice{Solver: &solve.TLSALPN{Address: loopback(ca.TLSPort)}},
		solve.Choice{Solver: &solve.DNS01{Publisher: &solve.LibDNS{Provider: publisher}, Resolver: ask(t, ca.DNS()), Zone: "shop.example", Propagation: solve.Propagation{Where: solve.Resolvers}}})
	job := solve.Job{Identifiers: []acme.Identifier{name("shop.example"), name("*.shop.example"), name("www.shop.example"), name("a.example")},
		Methods: map[string][]string{"shop.example": {"dns-01"}, "www.shop.example": {"tls-alpn-01"}, "a.example": {"http-01"}}}
	must(t, obtain(t.Context(), register(t, ca), set, job))
	if len(publisher.zone["_acme-challenge.shop.example."]) != 0 || len(publisher.zone) != 1 {
		t.Errorf("the zone: %q", publisher.zone)
	}
}

// hostile are tokens that no solver may let through.
var hostile = []string{"", ".", "..", "../../etc/passwd", "a/b", "/etc/passwd", "a b", "a\nb", "a\x00", "$(reboot)", "`id`", "a;b", "a|b", "%2e%2e", "a.b", "ä", "-\"", strings.Repeat("a", 201), strings.Repeat("a", 1<<20)}

func TestHostileTokens(t *testing.T) {
	dir := t.TempDir()
	program, log := hook(t, "")
	at := porttest.Address(t)
	d, err := dnstest.Start(":0")
	must(t, err)
	t.Cleanup(d.Close)
	solvers := map[acme.Solver]acme.ChallengeType{
		&solve.Standalone{Address: at}: http01, &solve.Webroot{Dir: dir}: http01, &solve.TLSALPN{Address: at}: tlsalpn01,
		&solve.DNS01{Publisher: &solve.Exec{Program: program, Raw: true}, Resolver: ask(t, d.Addr()), Zone: "example"}: dns01,
	}
	for solver, typ := range solvers {
		task, err := solve.NewSet(nil, solve.Choice{Solver: solver}).Begin(t.Context(), solve.Job{Identifiers: []acme.Identifier{name("a.example")}})
		must(t, err)
		for _, s := range []acme.Solver{solver, task} {
			for _, tok := range hostile {
				var refused *solve.ValueError
				var own *solve.Error
				err := s.Present(t.Context(), name("a.example"), challenge(typ, tok), tok+"."+thumbprint)
				if !errors.As(err, &refused) || errors.As(err, &own) || len(err.Error()) > 500 {
					t.Errorf("%T, token %.20q: %v", solver, tok, err)
				}
			}
			for _, id := range []acme.Identifier{name(""), name("../x"), name("-x.example"), name("a b"), name("a..b"), name("x;y.example"), address("1.2.3"), address("fe80::1%eth0"), {Type: "email", Value: "a@b"}} {
				var refused *solve.ValueError
				if err := s.Present(t.Context(), id, challenge(typ, token), keyAuth); !errors.As(err, &refused) {
					t.Errorf("%T, %q: %v", solver, id.Value, err)
				}
			}
			for _, auth := range []string{"", token, token + ".", token + "." + thumbprint + "x", "x." + thumbprint, token + ".$(reboot)" + thumbprint[9:]} {
				var refused *solve.ValueError
				if err := s.Present(t.Context(), name("a.example"), challenge(typ, token), auth); !errors.As(err, &refused) {
					t.Errorf("%T, key authorisation %q: %v", solver, auth, err)
				}
			}
		}
		// A name that was not ordered, and a type that is not for it.
		var refused *solve.ValueError
		if err := task.Present(t.Context(), name("stranger.example"), challenge(typ, token), keyAuth); !errors.As(err, &refused) {
			t.Errorf("%T, a stranger's name: %v", solver, err)
		}
		if err := task.Present(t.Context(), name("a.example"), challenge("device-attest-01", token), keyAuth); !errors.As(err, &refused) {
			t.Errorf("%T, another type: %v", solver, err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("files: %v, %v", left, err)
	}
	if got := calls(t, log); got != nil {
		t.Errorf("the program was called: %q", got)
	}
	if asked := d.Queries(); len(asked) != 0 {
		t.Errorf("the DNS was asked: %v", asked)
	}
	if err := free(at); err != nil {
		t.Error(err)
	}
}

// Whatever happens between, nothing stays: a context that ends, a forgotten clean-up,
// a clean-up twice, many at once.
func TestTaskTidiesUp(t *testing.T) {
	at, dir := porttest.Address(t), t.TempDir()
	journal := &solve.Journal{Dir: filepath.Join(t.TempDir(), "journal")}
	set := solve.NewSet(journal, solve.Choice{Solver: &solve.Standalone{Address: at}, Names: []string{".own.example"}}, solve.Choice{Solver: &solve.Webroot{Dir: dir}})
	ctx, cancel := context.WithCancel(t.Context())
	var job solve.Job
	for i := range 20 {
		job.Identifiers = append(job.Identifiers, name(fmt.Sprintf("n%d.own.example", i)), name(fmt.Sprintf("n%d.example", i)))
	}
	task, err := set.Begin(ctx, job)
	must(t, err)
	var group sync.WaitGroup
	for i, id := range job.Identifiers {
		group.Go(func() {
			tok := fmt.Sprintf("%s%d", token, i)
			ch := challenge(http01, tok)
			ch.URL = "https://ca.example/" + strings.Repeat("x", 1<<20) // the journal keeps what it needs
			if err := task.Present(ctx, id, ch, tok+"."+thumbprint); err != nil {
				t.Error(err)
			}
			if i%4 < 2 {
				cancelled, stop := context.WithCancel(ctx)
				stop()
				for range 2 {
					if err := task.CleanUp(cancelled, id, challenge(http01, tok), tok+"."+thumbprint); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	group.Wait()
	if err := free(at); err == nil {
		t.Error("the port is free while answers stand")
	}
	must(t, set.Sweep(ctx)) // takes nothing from those who live
	files, err := os.ReadDir(journal.Dir)
	if err != nil || len(files) != 20 {
		t.Errorf("%d files in the journal, %v", len(files), err)
	}
	for _, f := range files {
		if info, err := f.Info(); err != nil || info.Size() > 1<<10 || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info, err)
		}
	}
	cancel()
	must(t, task.Close(ctx))
	must(t, task.Close(ctx))
	if err := free(at); err != nil {
		t.Error(err)
	}
	for _, d := range []string{dir, journal.Dir} {
		if left, err := os.ReadDir(d); err != nil || len(left) != 0 {
			t.Errorf("left in %s: %v, %v", d, left, err)
		}
	}
}

// patient is a solver that notes the contexts it is called with.
type patient struct {
	acme.Solver
	cleaned []error // the contexts' errors
	fail    error
}

func (p *patient) Types(acme.Identifier) []acme.ChallengeType { return []acme.ChallengeType{http01} }

func (p *patient) Present(context.Context, acme.Identifier, acme.Challenge, string) error {
	return nil
}

func (p *patient) CleanUp(ctx context.Context, _ acme.Identifier, _ acme.Challenge, _ string) error {
	p.cleaned = append(p.cleaned, ctx.Err())
	return p.fail
}

// Clean-up has a context of its own, and a failed one is left to the next start.
func TestCleanUpAfterTheEnd(t *testing.T) {
	failure := errors.New("the disk is full")
	solver := &patient{fail: failure}
	set := solve.NewSet(&solve.Journal{Dir: t.TempDir()}, solve.Choice{Solver: solver})
	ctx, cancel := context.WithCancel(t.Context())
	task, err := set.Begin(ctx, solve.Job{Identifiers: []acme.Identifier{name("a.example"), name("b.example")}})
	must(t, err)
	for _, id := range []string{"a.example", "b.example"} {
		must(t, task.Present(ctx, name(id), challenge(http01, token), keyAuth))
	}
	cancel()
	var own *solve.Error
	if err := task.CleanUp(ctx, name("a.example"), challenge(http01, token), keyAuth); !errors.As(err, &own) || !errors.Is(err, failure) || own.Step != "clean up" {
		t.Errorf("%v", err)
	}
	if err := task.Close(ctx); !errors.Is(err, failure) {
		t.Errorf("%v", err)
	}
	solver.fail = nil
	for range 2 {
		must(t, set.Sweep(t.Context()))
	}
	if !slices.Equal(solver.cleaned, make([]error, 4)) {
		t.Errorf("cleaned with %v", solver.cleaned)
	}
}

// TestCrash kills a process while its answer stands; the next one's Sweep takes it away.
func TestCrash(t *testing.T) {
	if dir := os.Getenv("CHANCERY_TEST_CRASH"); dir != "" {
		task, err := crashSet(dir).Begin(t.Context(), solve.Job{Identifiers: []acme.Identifier{name("a.example")}})
		must(t, err)
		must(t, task.Present(t.Context(), name("a.example"), challenge(http01, token), keyAuth))
		must(t, syscall.Kill(os.Getpid(), syscall.SIGKILL))
		select {}
	}
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "www"), 0o755))
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestCrash$")
	cmd.Env = append(os.Environ(), "CHANCERY_TEST_CRASH="+dir)
	output, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("%v: %s", err, output)
	}
	file := filepath.Join(dir, "www", acme.HTTP01Path(token))
	if _, err := os.Stat(file); err != nil {
		t.Fatalf("the crash left nothing: %v", err)
	}
	// Settings that know nothing of the webroot any more do as well; what is no entry is
	// not touched.
	write(t, filepath.Join(dir, "journal"), "note.txt", "mine")
	set := solve.NewSet(&solve.Journal{Dir: filepath.Join(dir, "journal")})
	must(t, set.Sweep(t.Context()))
	must(t, set.Sweep(t.Context()))
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the answer still stands: %v", err)
	}
	if left, err := os.ReadDir(filepath.Join(dir, "journal")); err != nil || len(left) != 1 || left[0].Name() != "note.txt" {
		t.Errorf("the journal: %v, %v", left, err)
	}
	// A provider's is for the provider of that label alone; what a process served itself
	// went with it.
	entry := `{"identifier":{"type":"dns","value":"a.example"},"challenge":{"type":"http-01","token":"` + token + `"},"keyAuthorization":"` + keyAuth + `",`
	one, other := &patient{}, &patient{}
	labelled := solve.NewSet(&solve.Journal{Dir: filepath.Join(dir, "journal")}, solve.Choice{Solver: other, Label: "other"}, solve.Choice{Solver: one, Label: "one"})
	write(t, filepath.Join(dir, "journal"), "one.json", entry+`"provider":"one"}`)
	if err := set.Sweep(t.Context()); err == nil || !strings.Contains(err.Error(), `called "one"`) {
		t.Errorf("swept without its provider: %v", err)
	}
	must(t, labelled.Sweep(t.Context()))
	if len(one.cleaned) != 1 || len(other.cleaned) != 0 {
		t.Errorf("cleaned by %d and %d", len(one.cleaned), len(other.cleaned))
	}
	gone := write(t, filepath.Join(dir, "journal"), "port.json", entry+`"port":true}`)
	must(t, set.Sweep(t.Context()))
	if _, err := os.Stat(gone); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the entry of a port: %v", err)
	}
	for _, text := range []string{"", "{", `{"identifier":{"type":"dns","value":"../.."},"challenge":{"type":"http-01","token":"../../../x"},"keyAuthorization":"../../../x.` + thumbprint + `"}`} {
		path := write(t, filepath.Join(dir, "journal"), "bad.json", text)
		if err := set.Sweep(t.Context()); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func crashSet(dir string) *solve.Set {
	return solve.NewSet(&solve.Journal{Dir: filepath.Join(dir, "journal")}, solve.Choice{Solver: &solve.Webroot{Dir: filepath.Join(dir, "www")}})
}

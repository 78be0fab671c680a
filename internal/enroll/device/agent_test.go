package device

import (
	"context"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"chancery/est"
	"chancery/internal/enroll/install"
)

var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

func month() *Current {
	return &Current{Generation: "g000001", Serial: "1", NotBefore: noon, NotAfter: noon.Add(30 * 24 * time.Hour)}
}

func TestRenewAt(t *testing.T) {
	seen := map[time.Time]bool{}
	for i := range 100 {
		c := month()
		c.SHA256 = strings.Repeat("x", i)
		at := RenewAt(c)
		if at.Before(noon.Add(20*24*time.Hour)) || at.After(noon.Add(20*24*time.Hour+30*time.Hour)) {
			t.Errorf("%v", at)
		}
		if !at.Equal(RenewAt(c)) {
			t.Error("a restart changes it")
		}
		seen[at] = true
	}
	if len(seen) < 90 {
		t.Errorf("%d moments for 100 certificates", len(seen))
	}
	short := &Current{NotBefore: noon, NotAfter: noon.Add(time.Hour)}
	if at := RenewAt(short); !at.Before(noon.Add(43*time.Minute)) || at.Before(noon.Add(40*time.Minute)) {
		t.Errorf("of an hour: %v", at)
	}
}

func TestPlan(t *testing.T) {
	day := 24 * time.Hour
	failing := Tries{Count: 3, Last: noon, Wait: time.Hour}
	for name, test := range map[string]struct {
		state State
		now   time.Time
		want  Job
		least time.Duration // from now
		most  time.Duration
	}{
		"nothing yet":                       {State{}, noon, JobEnroll, 0, 0},
		"young":                             {State{Current: month()}, noon, JobRenew, 20 * day, 22 * day},
		"due":                               {State{Current: month()}, noon.Add(22 * day), JobRenew, 0, 0},
		"ended":                             {State{Current: month()}, noon.Add(40 * day), JobRenew, 0, 0},
		"a clock that is years behind":      {State{Current: month()}, noon.AddDate(-20, 0, 0), JobRenew, 7000 * day, 8000 * day},
		"not yet in its places":             {State{Current: month(), Undeployed: true}, noon, JobDeploy, 0, 0},
		"a refresh":                         {State{Current: month(), Refresh: noon.Add(day)}, noon, JobRefresh, day, day},
		"a refresh from a clock far ahead":  {State{Current: month(), Refresh: noon.AddDate(30, 0, 0)}, noon, JobRenew, 20 * day, 22 * day},
		"the same, and nothing is near":     {State{Current: &Current{NotBefore: noon, NotAfter: noon.AddDate(50, 0, 0)}, Refresh: noon.AddDate(30, 0, 0)}, noon, JobRefresh, refreshMost, refreshMost},
		"waiting":                           {State{Pending: &Pending{Asked: noon, Wait: time.Hour}}, noon.Add(time.Minute), JobResume, 59 * time.Minute, 59 * time.Minute},
		"waited":                            {State{Pending: &Pending{Asked: noon, Wait: time.Hour}}, noon.Add(day), JobResume, 0, 0},
		"waiting, and the clock went back":  {State{Pending: &Pending{Asked: noon, Wait: time.Hour}}, noon.Add(-9 * day), JobResume, time.Hour, time.Hour},
		"never answered":                    {State{Pending: &Pending{}}, noon, JobResume, 0, 0},
		"failing":                           {State{Current: month(), Undeployed: true, Tries: failing}, noon.Add(10 * time.Minute), JobDeploy, 50 * time.Minute, 50 * time.Minute},
		"failing, and the clock went back":  {State{Current: month(), Undeployed: true, Tries: failing}, noon.Add(-9 * day), JobDeploy, time.Hour, time.Hour},
		"failing, and the clock went ahead": {State{Current: month(), Undeployed: true, Tries: failing}, noon.Add(9 * day), JobDeploy, 0, 0},
	} {
		got := Next(&test.state, test.now)
		if wait := got.At.Sub(test.now); got.Job != test.want || wait < test.least || wait > test.most {
			t.Errorf("%s: %s in %v", name, got.Job, wait)
		}
	}
}

func TestBackoff(t *testing.T) {
	s := &State{Current: month()}
	var tries Tries
	last := time.Duration(0)
	for n := range 30 {
		tries = tries.after(errors.New("x"), s, noon)
		if tries.Wait < backoffLeast*3/4 || tries.Wait > backoffMost*5/4 {
			t.Errorf("after %d: %v", n, tries.Wait)
		}
		last = tries.Wait
	}
	if last < backoffMost*3/4 {
		t.Errorf("in the end: %v", last)
	}
	// The nearer the end, the oftener; and never before the server says.
	if near := tries.after(errors.New("x"), s, s.Current.NotAfter.Add(-time.Hour)); near.Wait > 10*time.Minute {
		t.Errorf("an hour before the end: %v", near.Wait)
	}
	if told := (Tries{}).after(&est.StatusError{Status: 503, RetryAfter: 5 * time.Hour}, s, noon); told.Wait < 5*time.Hour {
		t.Errorf("the server says five hours: %v", told.Wait)
	}
}

// clock is one that a test moves.
type clock struct {
	sync.Mutex
	shift time.Duration
}

func (c *clock) now() time.Time { c.Lock(); defer c.Unlock(); return time.Now().Add(c.shift) }

func (c *clock) move(d time.Duration) { c.Lock(); defer c.Unlock(); c.shift += d }

func pass(t *testing.T, d *Device) Passed {
	t.Helper()
	p, err := d.Pass(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A device over some months: nothing, a renewal, failures, an end, a jump of the clock.
func TestAgentOverMonths(t *testing.T) {
	s := start(t)
	c := &clock{}
	day := 24 * time.Hour
	var events []Event
	d := s.open(t, t.TempDir(), func(o *Options) {
		o.Now, o.Observe = c.now, func(e Event) { events = append(events, e) }
	})
	told := filepath.Join(t.TempDir(), "told")
	fragile := filepath.Join(t.TempDir(), "up")
	err := locked(t, d, func(x *Settings) error {
		x.Install.FullChain = filepath.Join(filepath.Dir(told), "web.pem")
		x.Hooks.Deploy = []install.Hook{{Shell: "test -e " + fragile + " && echo $CHANCERY_SERIAL >> " + told, Attempts: 1}}
		return plain(x)
	}, func(state *State) error {
		got, err := d.Enroll(t.Context(), state, Ask{Fingerprint: s.fingerprint()})
		if err == nil && got.Deployed == nil {
			t.Error("the command failed, and nobody says so")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if p := pass(t, d); p.Err == nil || len(p.Did) != 0 || p.Next.Sub(c.now()) > 2*time.Minute {
		t.Errorf("the command fails on: %+v", p)
	}
	if err := os.WriteFile(fragile, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if p := pass(t, d); len(p.Did) != 0 {
		t.Errorf("tried again at once: %+v", p)
	}
	c.move(3 * time.Minute)
	if p := pass(t, d); p.Err != nil || !slices.Equal(p.Did, []Job{JobDeploy}) {
		t.Errorf("%+v", p)
	}
	if p := pass(t, d); len(p.Did) != 0 || p.Next.Sub(c.now()) < 10*day {
		t.Errorf("nothing is due, and yet: %+v", p)
	}
	c.move(22 * day)
	s.set(func() { s.life = 90 * day })
	p := pass(t, d)
	if !slices.Contains(p.Did, JobRenew) || p.Err != nil {
		t.Errorf("after 22 days: %+v", p)
	}
	if text, err := os.ReadFile(told); err != nil || len(strings.Fields(string(text))) != 2 {
		t.Errorf("the commands were told %q, %v", text, err)
	}
	// The server is down; the certificate ends; the server is back.
	c.move(50 * day)
	s.set(func() { s.refuse = 500 })
	p = pass(t, d)
	if p.Err == nil || !slices.Equal(p.Did, []Job{JobRefresh}) || p.Next.Sub(c.now()) > 2*time.Minute {
		t.Errorf("while it is down: %+v", p)
	}
	first, err := d.State()
	if err != nil || first.Pending == nil {
		t.Fatalf("%+v, %v", first, err)
	}
	c.move(25 * day)
	s.set(func() { s.refuse, s.life = 0, 400*day })
	events = nil
	p = pass(t, d)
	if !slices.Contains(p.Did, JobResume) {
		t.Errorf("%+v, %v", p, events)
	}
	// A clock that jumps years ahead makes every server look expired; nothing is lost, and
	// when it is right again all goes on.
	c.move(9000 * day)
	if p := pass(t, d); p.Err == nil {
		t.Errorf("years ahead: %+v", p)
	}
	c.move(-9000 * day)
	if b, err := d.Bundle(); err != nil || b.Check() != nil {
		t.Errorf("%v", err)
	}
	if p := pass(t, d); len(p.Did) != 0 {
		t.Errorf("the pause is forgotten: %+v", p)
	}
	c.move(31 * day)
	if p := pass(t, d); p.Err != nil || !slices.Contains(p.Did, JobRefresh) {
		t.Errorf("%+v", p)
	}
}

func TestRun(t *testing.T) {
	s := start(t)
	d := s.open(t, t.TempDir(), nil)
	if err := d.Run(t.Context(), Pulse{}); !errors.Is(err, ErrNone) {
		t.Errorf("nothing to keep, and it runs: %v", err)
	}
	planned := make(chan Event, 10)
	d = s.open(t, t.TempDir(), func(o *Options) {
		o.Observe = func(e Event) {
			if e.Kind == Planned {
				planned <- e
			}
		}
	})
	if _, err := enroll(t, d, Ask{Fingerprint: s.fingerprint()}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	alive := make(chan bool, 10)
	go func() { ended <- d.Run(ctx, Pulse{Beat: func() { alive <- true }}) }()
	<-planned
	<-alive
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// Where a request was refused, nothing is there to be tried again: neither is that said, nor
// counted.
func TestNothingToTryAgain(t *testing.T) {
	s := start(t)
	s.set(func() { s.waits = 1 })
	c := &clock{}
	var events []Event
	d := s.open(t, t.TempDir(), func(o *Options) {
		o.Now, o.Observe = c.now, func(e Event) { events = append(events, e) }
	})
	var waits *est.PendingError
	if _, err := enroll(t, d, Ask{Fingerprint: s.fingerprint()}); !errors.As(err, &waits) {
		t.Fatal(err)
	}
	state, err := d.State()
	if err != nil {
		t.Fatal(err)
	}
	due := state.Pending.Due()
	if last := events[len(events)-1]; last.Kind != Waiting || !strings.Contains(last.Message, ", from "+due.UTC().Add(time.Second-1).Truncate(time.Second).Format(time.RFC3339)+" on") {
		t.Errorf("%+v, due at %v", last, due)
	}
	c.move(time.Hour)
	s.set(func() { s.refuse = 403 })
	for range 2 {
		if p := pass(t, d); !errors.Is(p.Err, ErrNone) {
			t.Errorf("%+v", p)
		}
	}
	for _, e := range events {
		if strings.Contains(e.Message, "tried again") || strings.Contains(e.Message, ErrNone.Error()) {
			t.Errorf("%+v", e)
		}
	}
	if state, err := d.State(); err != nil || state.Tries.Count != 0 {
		t.Errorf("%+v, %v", state.Tries, err)
	}
}

// A key without encryption is nobody's who did not ask for it.
func TestSealedUnlessAskedFor(t *testing.T) {
	s := start(t)
	d := s.open(t, t.TempDir(), nil)
	check := func(change func(*Settings) error) error {
		return locked(t, d, change, func(state *State) error { return d.CheckSealed(t.Context(), state) })
	}
	if err := check(plain); !errors.Is(err, ErrInClear) {
		t.Errorf("there is nothing to encrypt to: %v", err)
	}
	if err := check(func(x *Settings) error { x.PlainKey = true; return nil }); err != nil {
		t.Errorf("by express wish: %v", err)
	}
	s.usage = x509.KeyUsageDigitalSignature | x509.KeyUsageKeyAgreement
	if _, err := enroll(t, d, Ask{Fingerprint: s.fingerprint()}); err != nil {
		t.Fatal(err)
	}
	if err := check(func(x *Settings) error { x.PlainKey = false; return nil }); err != nil {
		t.Errorf("to the certificate's key: %v", err)
	}
}

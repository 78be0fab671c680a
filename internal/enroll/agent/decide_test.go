package agent

import (
	"errors"
	"strings"
	"testing"
	"time"

	"chancery/acme"
	"chancery/internal/enroll"
	"chancery/internal/enroll/install"
	"chancery/internal/enroll/vault"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// aged is a record of a certificate of ninety days that is so old.
func aged(age time.Duration) vault.Record {
	return vault.Record{Sheet: vault.Sheet{Name: "a", Names: []string{"a.test"}}, Current: &vault.Issued{
		Directory: "https://ca.test/", CertID: "AAAA.01", SHA256: strings.Repeat("00", 32),
		NotBefore: noon.Add(-age), NotAfter: noon.Add(90*day - age), ObtainedAt: noon.Add(-age)}}
}

func TestNext(t *testing.T) {
	with := func(rec vault.Record, change func(*vault.Record)) vault.Record { change(&rec); return rec }
	chosen := func(age time.Duration, at time.Time) vault.Record {
		return with(aged(age), func(r *vault.Record) {
			r.Window = &vault.Window{Start: at.Add(-day), End: at.Add(day), Chosen: at, Ask: noon.Add(time.Hour)}
		})
	}
	other := vault.Sheet{Name: "a", Names: []string{"a.test", "b.test"}}
	for name, test := range map[string]struct {
		rec     vault.Record
		wanted  *vault.Sheet
		ignored bool
		do      act
		at      time.Time
	}{
		"none yet":                {rec: vault.Record{Sheet: vault.Sheet{Name: "a"}}, do: run, at: noon},
		"never asked about":       {rec: aged(day), do: ask, at: noon},
		"not to be asked about":   {rec: aged(day), ignored: true, do: run, at: noon.Add(59 * day)},
		"overdue":                 {rec: aged(70 * day), ignored: true, do: run, at: noon.Add(-10 * day)},
		"expired":                 {rec: aged(91 * day), do: run, at: noon.Add(-31 * day)},
		"a moment was drawn":      {rec: chosen(30*day, noon.Add(30*time.Minute)), do: run, at: noon.Add(30 * time.Minute)},
		"a later one":             {rec: chosen(30*day, noon.Add(2*day)), do: ask, at: noon.Add(time.Hour)},
		"drawn behind the end":    {rec: chosen(70*day, noon.Add(100*day)), do: run, at: noon.Add(-10 * day)},
		"past, and just obtained": {rec: chosen(time.Hour, noon.Add(-day)), do: ask, at: noon.Add(time.Hour)},
		"asking put off by a wrong clock": {rec: with(chosen(30*day, noon.Add(2*day)), func(r *vault.Record) { r.Window.Ask = noon.Add(1000 * day) }),
			do: ask, at: noon},
		"revoked": {rec: with(aged(day), func(r *vault.Record) { r.Revoked = noon }), do: run, at: noon},
		"failed": {rec: with(aged(61*day), func(r *vault.Record) {
			r.Tries = vault.Tries{Failures: 2, Last: noon, Next: noon.Add(20 * time.Minute)}
		}), ignored: true, do: run, at: noon.Add(20 * time.Minute)},
		"failed, and the pause was lost": {rec: with(aged(61*day), func(r *vault.Record) { r.Tries = vault.Tries{Failures: 2, Last: noon} }), ignored: true, do: run,
			at: noon.Add(20 * time.Minute)},
		"failed, and the clock was wrong": {rec: with(aged(61*day), func(r *vault.Record) {
			r.Tries = vault.Tries{Failures: 2, Last: noon.Add(1000 * day), Next: noon.Add(1001 * day)}
		}), ignored: true, do: run, at: noon},
		"left alone for a month, looked at each day": {rec: with(aged(61*day), func(r *vault.Record) {
			r.Tries = vault.Tries{Failures: 1, Last: noon.Add(-time.Hour), Next: noon.Add(30 * day)}
		}), ignored: true, do: run, at: noon.Add(23 * time.Hour)},
		"left alone while it nears its end": {rec: with(aged(80*day-time.Hour), func(r *vault.Record) {
			r.Tries = vault.Tries{Failures: 1, Last: noon, Next: noon.Add(30 * day)}
		}), ignored: true, do: run, at: noon.Add(time.Hour)},
		"left alone while it ends": {rec: with(aged(90*day-time.Hour), func(r *vault.Record) {
			r.Tries = vault.Tries{Failures: 3, Last: noon, Next: noon.Add(30 * day)}
		}), ignored: true, do: run, at: noon.Add(time.Hour)},
		"left alone and ended": {rec: with(aged(91*day), func(r *vault.Record) {
			r.Tries = vault.Tries{Failures: 3, Last: noon, Next: noon.Add(30 * day)}
		}), ignored: true, do: run, at: noon.Add(day)},
		"failed with other names": {rec: with(aged(day), func(r *vault.Record) { r.Tries = vault.Tries{Failures: 1, Last: noon, Next: noon.Add(time.Hour)} }), ignored: true,
			do: run, at: noon.Add(time.Hour)},
		"holds other names": {rec: with(aged(day), func(r *vault.Record) {
			r.Current.Names, r.Sheet.Names = []string{"a.example"}, []string{"a.example", "b.example"}
		}),
			ignored: true, do: run, at: noon},
		"other names":     {rec: aged(day), wanted: &other, ignored: true, do: run, at: noon},
		"not in use":      {rec: with(aged(day), func(r *vault.Record) { r.Undeployed = &vault.Undeployed{Next: noon.Add(time.Minute)} }), ignored: true, do: run, at: noon.Add(time.Minute)},
		"never in use":    {rec: with(aged(day), func(r *vault.Record) { r.Undeployed = &vault.Undeployed{} }), do: run, at: noon},
		"without CertID":  {rec: with(aged(day), func(r *vault.Record) { r.Current.CertID = "" }), do: run, at: noon.Add(59 * day)},
		"as it is wanted": {rec: aged(day), wanted: new(aged(day).Sheet), ignored: true, do: run, at: noon.Add(59 * day)},
	} {
		r := rules{settings: Settings{}.filled(), advised: !test.ignored}
		got := r.next(test.rec, test.wanted, noon)
		if got.do != test.do || got.at.Sub(test.at).Abs() > 2*time.Second {
			t.Errorf("%s: %v at %s, want %v at %s", name, got.do, got.at, test.do, test.at)
		}
	}
}

// The less life is left the shorter the pauses, though never below what is no hammering.
func TestPause(t *testing.T) {
	for _, test := range []struct {
		left, life  time.Duration
		failures    int
		least, most time.Duration
	}{
		{0, 0, 1, 450 * time.Second, 750 * time.Second},
		{0, 0, 30, 90 * time.Minute, 150 * time.Minute},
		{30 * day, 90 * day, 1, 450 * time.Second, 750 * time.Second},
		{30 * day, 90 * day, 40, 6 * time.Hour, 10 * time.Hour},
		{6 * time.Hour, 90 * day, 40, 45 * time.Minute, 75 * time.Minute},
		{time.Minute, 90 * day, 40, 450 * time.Second, 750 * time.Second},
		{-day, 90 * day, 40, 90 * time.Minute, 150 * time.Minute},
		{10 * time.Minute, time.Hour, 1, 54 * time.Second, 90 * time.Second},
	} {
		rec := vault.Record{Tries: vault.Tries{Failures: test.failures}}
		if test.life > 0 {
			rec.Current = &vault.Issued{NotBefore: noon.Add(test.left - test.life), NotAfter: noon.Add(test.left)}
		}
		for _, draw := range []float64{0, 0.5, 0.999} {
			if got := pause(rec, noon, draw); got < test.least || got > test.most {
				t.Errorf("%s left of %s, %d failures: %s", test.left, test.life, test.failures, got)
			}
		}
	}
}

func TestJudge(t *testing.T) {
	rec := aged(30 * day)
	rec.Window = &vault.Window{Start: noon.Add(day), End: noon.Add(2 * day), Chosen: noon.Add(36 * time.Hour)}
	w := newWorld(t, 90*day)
	a := w.agent(Settings{Jitter: time.Hour})
	info := func(start, end time.Duration) acme.RenewalInfo {
		return acme.RenewalInfo{SuggestedWindow: acme.Window{Start: noon.Add(start), End: noon.Add(end)}}
	}
	for name, test := range map[string]struct {
		info        acme.RenewalInfo
		least, most time.Duration // from now; both 0: not followed
	}{
		"the same":          {info(day, 2*day), 36 * time.Hour, 36 * time.Hour},
		"another":           {info(3*day, 4*day), 3 * day, 4 * day},
		"past":              {info(-3*day, -2*day), 0, 15 * time.Minute},
		"part past":         {info(-day, day), 0, day},
		"to behind the end": {info(50*day, 70*day), 50 * day, 51 * day},
		"turned round":      {info(4*day, 3*day), 0, 0},
		"empty":             {info(day, day), 0, 0},
		"behind the end":    {info(61*day, 70*day), 0, 0},
		"too near the end":  {info(55*day, 59*day), 0, 0},
		"of another time":   {info(-20000*day, -19999*day), 0, 0},
		"endless":           {info(day, 20000*day), 0, 0},
		"nothing":           {acme.RenewalInfo{}, 0, 0},
	} {
		got, wrong := a.judge(test.info, rec, noon)
		if test.most == 0 {
			if wrong == "" || !got.Start.IsZero() || !got.Chosen.IsZero() {
				t.Errorf("%s: followed: %+v", name, got)
			}
			continue
		}
		if c := got.Chosen.Sub(noon); wrong != "" || c < test.least-time.Second || c > test.most {
			t.Errorf("%s: %s after now (%s)", name, c, wrong)
		}
	}
	for asked, want := range map[time.Duration]time.Duration{
		0: usualAsk, time.Second: soonestAsk, time.Hour: time.Hour, 48 * time.Hour: longestAsk, 1 << 62: longestAsk,
	} {
		in := info(day, 2*day)
		in.RetryAfter = asked
		if got, _ := a.judge(in, rec, noon); got.Ask.Sub(noon) != want {
			t.Errorf("Retry-After %s: %s", asked, got.Ask.Sub(noon))
		}
	}
	in := info(day, 2*day)
	for url, want := range map[string]string{"https://ca.test/why": "https://ca.test/why", "javascript:x": "", "https://" + strings.Repeat("x", 1000): ""} {
		in.ExplanationURL = url
		if got, _ := a.judge(in, rec, noon); got.Explanation != want {
			t.Errorf("%.40s became %q", url, got.Explanation)
		}
	}
}

func TestAdoptSheet(t *testing.T) {
	rec := aged(day)
	rec.Tries.Failures = 3
	same := rec.Sheet
	if adoptSheet(&rec, nil, noon) || adoptSheet(&rec, &same, noon) || rec.Tries.Failures != 3 {
		t.Error("changed for nothing")
	}
	named := same
	named.Names = []string{"a.test", "b.test"}
	if !adoptSheet(&rec, &named, noon) || len(rec.Sheet.Names) != 1 || rec.Tries.Failures != 0 {
		t.Errorf("other names are written down before there is a certificate: %+v", rec.Sheet)
	}
	placed := same
	placed.Install = install.Target{FullChain: "/etc/a.pem"}
	if !adoptSheet(&rec, &placed, noon) || rec.Undeployed == nil || rec.Sheet.Install.FullChain == "" {
		t.Error("a new place is not deployed to")
	}
}

func TestStandings(t *testing.T) {
	w := newWorld(t, 90*day)
	put := func(name string, rec vault.Record, change func(*vault.Record)) {
		rec.Sheet.Name = name
		change(&rec)
		w.records[name] = rec
	}
	put("good", aged(day), func(*vault.Record) {})
	put("failing", aged(70*day), func(r *vault.Record) { r.Tries = vault.Tries{Failures: 1, Last: noon, Cause: "no"} })
	put("unused", aged(day), func(r *vault.Record) { r.Undeployed = &vault.Undeployed{Failures: 1, Cause: "hook"} })
	put("gone", aged(day), func(r *vault.Record) { r.Sheet.Origin = ofConfiguration })
	parts := Parts{Wanted: []vault.Sheet{{Name: "new", Names: []string{"new.test"}}}}
	states := func() map[string]State {
		all, err := Standings(w, parts, noon)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]State{"": State(rune('0' + ExitCode(all)))}
		for _, s := range all {
			got[s.Certificate] = s.State
		}
		return got
	}
	want := map[string]State{"": "2", "good": Good, "failing": Failing, "unused": Unused, "gone": LeftAlone, "new": Wanted}
	compare := func() {
		t.Helper()
		got := states()
		for name, state := range want {
			if got[name] != state {
				t.Errorf("%q: %s, want %s", name, got[name], state)
			}
		}
	}
	compare()
	put("expired", aged(91*day), func(*vault.Record) {})
	put("never", vault.Record{}, func(r *vault.Record) { r.Tries.Failures = 1 })
	want[""], want["expired"], want["never"] = "3", Bad, Bad
	compare()
	delete(w.records, "expired")
	delete(w.records, "never")
	delete(w.records, "failing")
	delete(w.records, "unused")
	want = map[string]State{"": "0", "good": Good}
	compare()
}

func TestLock(t *testing.T) {
	dir := t.TempDir()
	unlock, err := Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(dir); !errors.Is(err, ErrRunning) || !strings.Contains(err.Error(), "process ") {
		t.Errorf("%v", err)
	}
	unlock()
	if unlock, err = Lock(dir); err != nil {
		t.Fatal(err)
	}
	unlock()
}

var (
	_ Store   = (*vault.Vault)(nil)
	_ Runner  = (*enroll.Engine)(nil)
	_ Advisor = (*enroll.Advisor)(nil)
)

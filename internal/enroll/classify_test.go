package enroll

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"chancery/acme"
	"chancery/caa"
	"chancery/internal/enroll/directory"
	"chancery/internal/enroll/guard"
	"chancery/internal/enroll/vault"
	"chancery/internal/plain"
)

func TestClassify(t *testing.T) {
	challenge := func(p *acme.Problem) error {
		return &acme.AuthorizationError{Authorization: &acme.Authorization{Status: acme.AuthorizationInvalid, Challenges: []acme.Challenge{{Error: p}}}}
	}
	is := func(typ string) *acme.Problem { return acme.NewProblem(typ, "words") }
	status := func(n int) *acme.Problem { return &acme.Problem{Type: acme.TypeBlank, Status: n} }
	for name, test := range map[string]struct {
		err  error
		want Class
	}{
		"nothing":                  {nil, ClassNone},
		"rejected":                 {is(acme.TypeRejectedIdentifier), ClassFinal},
		"caa":                      {is(acme.TypeCAA), ClassFinal},
		"caa in a challenge":       {challenge(is(acme.TypeCAA)), ClassFinal},
		"unsupported":              {is(acme.TypeUnsupportedIdentifier), ClassFinal},
		"bad csr":                  {is(acme.TypeBadCSR), ClassFinal},
		"bad key":                  {is(acme.TypeBadPublicKey), ClassFinal},
		"binding":                  {is(acme.TypeExternalAccountRequired), ClassFinal},
		"profile":                  {is(acme.TypeInvalidProfile), ClassFinal},
		"malformed":                {is(acme.TypeMalformed), ClassFinal},
		"unauthorized order":       {is(acme.TypeUnauthorized), ClassFinal},
		"unknown type":             {&acme.Problem{Type: "https://ca.example/odd", Status: 400}, ClassFinal},
		"connection":               {challenge(is(acme.TypeConnection)), ClassUser},
		"dns":                      {challenge(is(acme.TypeDNS)), ClassUser},
		"tls":                      {challenge(is(acme.TypeTLS)), ClassUser},
		"unauthorized challenge":   {challenge(is(acme.TypeUnauthorized)), ClassUser},
		"incorrect":                {challenge(is(acme.TypeIncorrectResponse)), ClassUser},
		"compound challenges":      {challenge(acme.Compound([]acme.Subproblem{{Type: acme.TypeDNS}, {Type: acme.TypeConnection}}, "x")), ClassUser},
		"compound with a refusal":  {acme.Compound([]acme.Subproblem{{Type: acme.TypeCAA}, {Type: acme.TypeRejectedIdentifier}}, "x"), ClassFinal},
		"solver":                   {&solverError{errors.New("no port")}, ClassUser},
		"limit":                    {acme.RateLimited(time.Hour, "slow"), ClassLimited},
		"limit without a type":     {status(http.StatusTooManyRequests), ClassLimited},
		"nonce":                    {is(acme.TypeBadNonce), ClassUnavailable},
		"internal":                 {is(acme.TypeServerInternal), ClassUnavailable},
		"internal in an order":     {&acme.OrderError{Order: &acme.Order{Error: is(acme.TypeServerInternal)}}, ClassUnavailable},
		"internal in a challenge":  {challenge(is(acme.TypeServerInternal)), ClassUnavailable},
		"bad gateway":              {status(502), ClassUnavailable},
		"no page":                  {status(404), ClassUnavailable},
		"forbidden":                {status(403), ClassFinal},
		"no connection":            {errors.New("connection refused"), ClassUnavailable},
		"time is up":               {fmt.Errorf("x: %w", context.DeadlineExceeded), ClassUnavailable},
		"unfinished":               {&unfinishedError{what: "it", err: context.DeadlineExceeded}, ClassUnfinished},
		"visit":                    {acme.UserActionRequired("https://ca.example/terms", "agree"), ClassAction},
		"directory down":           {&directory.Error{Kind: directory.Unavailable, Err: errors.New("x")}, ClassUnavailable},
		"directory of garbage":     {&directory.Error{Kind: directory.NotADirectory, Err: errors.New("x")}, ClassUnavailable},
		"no directory":             {&directory.Error{Kind: directory.NotThere, Err: errors.New("x")}, ClassFinal},
		"another's directory":      {&directory.Error{Kind: directory.WrongCA, Err: errors.New("x")}, ClassFinal},
		"unproven server":          {&directory.Error{Kind: directory.Unproven, Err: errors.New("x")}, ClassFinal},
		"refused address":          {&directory.Error{Kind: directory.Refused, Err: errors.New("x")}, ClassFinal},
		"refused address later on": {fmt.Errorf("acme: %w", &guard.RefusedError{URL: "https://x"}), ClassFinal},
		"wrong certificate":        {&WrongError{What: "names"}, ClassWrong},
		"unable":                   {&inabilityError{class: ClassUnable}, ClassUnable},
		"vault":                    {&localError{errors.New("disk full")}, ClassLocal},
	} {
		t.Run(name, func(t *testing.T) {
			got := classify(test.err, false)
			if got.class != test.want {
				t.Errorf("class %q, want %q", got.class, test.want)
			}
			if test.err != nil && got.advice == "" && test.want != ClassUnable {
				t.Error("no advice")
			}
			if test.err != nil && test.want != ClassLocal && classify(test.err, true).class != ClassStopped {
				t.Error("a run that was ended blames somebody")
			}
		})
	}
	if v := classify(acme.RateLimited(time.Hour, "slow"), false); v.after != time.Hour {
		t.Errorf("after %v", v.after)
	}
	for _, evil := range []string{"javascript:alert(1)", "file:///etc/passwd", "http://ca.example/terms", ""} {
		if v := classify(acme.UserActionRequired(evil, "agree"), false); v.class != ClassAction || evil != "" && strings.Contains(v.advice, evil) {
			t.Errorf("%q is shown as a page to visit: %+v", evil, v)
		}
	}
	if v := classify(acme.UserActionRequired("https://ca.example/terms", "agree"), false); !strings.Contains(v.advice, "https://ca.example/terms") {
		t.Errorf("advice %q", v.advice)
	}
}

func TestBudget(t *testing.T) {
	const most = 5 * time.Minute
	for _, test := range []struct {
		left  time.Duration
		first bool
		want  time.Duration
	}{
		{0, true, most}, {30 * 24 * time.Hour, false, most}, {24 * time.Hour, false, most}, {12 * time.Hour, false, most / 2},
		{time.Minute, false, most / 10}, {0, false, most / 10}, {-time.Hour, false, most / 10},
	} {
		if got := budget(most, test.left, test.first); got != test.want {
			t.Errorf("%v left, first %t: %v, want %v", test.left, test.first, got, test.want)
		}
	}
}

func TestPatience(t *testing.T) {
	p := &patience{tries: 4, total: time.Minute, pause: 2 * time.Second, most: time.Minute}
	fail := func(context.Context) error { return errors.New("x") }
	var waits []time.Duration
	for {
		_ = p.spend(t.Context(), fail)
		wait, more := p.again(0, 0.5)
		if !more {
			break
		}
		waits = append(waits, wait)
		p.spent += wait
	}
	if fmt.Sprint(waits) != "[1s 2s 4s]" {
		t.Errorf("waits %v", waits)
	}
	p = &patience{tries: 9, total: 30 * time.Second, pause: 2 * time.Second, most: time.Minute, used: 1}
	if wait, more := p.again(10*time.Second, 0); !more || wait != 10*time.Second {
		t.Errorf("Retry-After within the time: %v, %t", wait, more)
	}
	if _, more := p.again(time.Minute, 0); more {
		t.Error("Retry-After beyond the time is waited for")
	}
	p.used = 60
	p.tries = 99
	if wait, more := p.again(0, 0.999); more && wait > time.Minute {
		t.Errorf("pause %v", wait)
	}
}

func TestCircuit(t *testing.T) {
	s := Settings{}.filled()
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	var c vault.Circuit
	for range 2 {
		s.trip(&c, ending{ClassUnavailable, "down", now, 0})
	}
	if open(c, now) || halfOpen(c, now) {
		t.Fatal("open after two failures")
	}
	s.trip(&c, ending{ClassUnavailable, "down", now, 0})
	if !open(c, now) || c.OpenUntil.Sub(now) != 15*time.Minute {
		t.Fatalf("%+v", c)
	}
	later := now.Add(16 * time.Minute)
	if open(c, later) || !halfOpen(c, later) {
		t.Error("not half-open when the time is over")
	}
	s.trip(&c, ending{ClassUnavailable, "down", later, 1})
	if got := c.OpenUntil.Sub(later); got != 27*time.Minute {
		t.Errorf("the second time for %v", got)
	}
	for range 20 {
		s.trip(&c, ending{ClassUnavailable, "down", later, 0})
	}
	if got := c.OpenUntil.Sub(later); got != longestBreak {
		t.Errorf("at most %v", got)
	}
	// A clock that was set back far does not keep the circuit open for ever.
	if open(c, later.Add(-365*24*time.Hour)) {
		t.Error("open for more than a day")
	}
	for _, class := range []Class{ClassNone, ClassFinal, ClassUser, ClassWrong, ClassLimited} {
		was := c
		s.trip(&was, ending{class, "", later, 0})
		if was != (vault.Circuit{}) {
			t.Errorf("%q leaves the circuit open", class)
		}
	}
}

func TestDue(t *testing.T) {
	at := func(day int) time.Time { return time.Date(2026, 1, day, 0, 0, 0, 0, time.UTC) }
	s := Settings{}.filled()
	e := &Engine{config: Config{Settings: s}}
	rec := vault.Record{Current: &vault.Issued{NotBefore: at(1), NotAfter: at(31)}}
	if got := e.Due(rec); !got.Equal(at(21)) {
		t.Errorf("without a window: %v", got)
	}
	rec.Window = &vault.Window{Chosen: at(11)}
	if got := e.Due(rec); !got.Equal(at(11)) {
		t.Errorf("with one: %v", got)
	}
	rec.Window.Chosen = at(31)
	if got := e.Due(rec); !got.Equal(at(21)) {
		t.Errorf("with one that begins too late: %v", got)
	}
	if !s.near(rec.Current, at(29)) || s.near(rec.Current, at(22)) {
		t.Error("near is not the last ninth")
	}
}

func TestProfileFor(t *testing.T) {
	for _, test := range []struct {
		own     string
		kind    caa.Kind
		conf    *CA
		offered []string
		want    string
		fails   bool
	}{
		{"", caa.AnyKind, nil, []string{"ev"}, "", false},
		{"", caa.ExtendedValidation, nil, []string{"ev", "dv"}, "ev", false},
		{"", caa.ExtendedValidation, nil, []string{"ca-ev", "ev"}, "ca-ev", false},
		{"", caa.ExtendedValidation, &CA{Profiles: map[caa.Kind]string{caa.ExtendedValidation: "green"}}, []string{"ev"}, "green", false},
		{"", caa.ExtendedValidation, nil, []string{"dv"}, "", true},
		{"", caa.DomainValidated, nil, nil, "", false},
		{"short", caa.AnyKind, nil, []string{"short"}, "short", false},
		{"short", caa.AnyKind, nil, []string{"long"}, "", true},
		{"short", caa.AnyKind, nil, nil, "short", false},
		{"short", caa.ExtendedValidation, nil, []string{"ev", "short"}, "ev", false},
	} {
		meta := &acme.Meta{Profiles: map[string]string{}}
		for _, name := range test.offered {
			meta.Profiles[name] = ""
		}
		turn := &turn{conf: test.conf, found: directory.Found{Directory: acme.Directory{Meta: meta}}}
		if got, err := turn.profileFor(test.own, test.kind); got != test.want || (err != nil) != test.fails {
			t.Errorf("%q %q %v: %q, %v", test.own, test.kind, test.offered, got, err)
		}
	}
}

func FuzzClean(f *testing.F) {
	for _, seed := range []string{"plain", "two\nlines", "\x1b[31mred", "\xff\xfe", "\u202eright", "\u200e\u200f\u061c\u2028\u200b", strings.Repeat("ä", 3000)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := clean(errors.New(text))
		if len(got) > 2010 {
			t.Errorf("%d octets", len(got))
		}
		for _, r := range got {
			if !plain.Visible(r) {
				t.Errorf("%U is left in %q", r, got)
			}
		}
	})
}

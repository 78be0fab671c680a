package confirm

import (
	"bytes"
	"context"
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"chancery/internal/ca"
	"chancery/internal/registry"
)

const (
	base       = "https://ca.example"
	id, token  = "aaaaaaaaaaaaaaaaaaaaaaaaaa", "Tok-en_0123456789"
	passphrase = "correct horse battery"
)

var start = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// desk keeps one question in memory.
type desk struct {
	mu       sync.Mutex
	question Question
	answers  int
	now      time.Time
	err      error
}

func newDesk() *desk {
	return &desk{now: start, question: Question{
		Binding: registry.Binding{ID: id, Account: "acc", AccountURL: base + "/acme/account/acc", Customer: "c", Via: registry.ViaDomain,
			Domain: "shop.example", Contact: "mailto:<b>@example.org", Thumbprint: "thumb", State: registry.Pending, AskedAt: start, ExpiresAt: start.Add(time.Hour)},
		Customer: `Shop & "Sons" <script>alert(1)</script>`, CanSign: true,
	}}
}

func (d *desk) clock() time.Time { d.mu.Lock(); defer d.mu.Unlock(); return d.now }

func (d *desk) Question(_ context.Context, gotID, gotToken string) (Question, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.err != nil:
		return Question{}, d.err
	case gotID != id || gotToken != token:
		return Question{}, ca.Errorf(ca.NotFound, "none")
	}
	return d.question, nil
}

func (d *desk) Answer(_ context.Context, q Question, a Answer) (registry.Binding, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case a.Passphrase != passphrase:
		return registry.Binding{}, ca.Errorf(ca.Denied, "no")
	case a.End && d.question.State == registry.Confirmed:
		d.answers++
		d.question.State, d.question.DecidedAt = registry.Ended, d.now
		return d.question.Binding, nil
	case a.End, d.question.State != registry.Pending || !d.now.Before(q.ExpiresAt):
		return registry.Binding{}, ca.Errorf(ca.Conflict, "late")
	}
	d.answers++
	d.question.DecidedAt = d.now
	if d.question.State = registry.Refused; a.Confirm {
		d.question.State = registry.Confirmed
	}
	return d.question.Binding, nil
}

// got is an answer, read.
type got struct {
	*http.Response
	text string // as it is read, without the escapes
	raw  string
}

func (d *desk) page(t testing.TB, log io.Writer, tries func(string, time.Time) (time.Duration, bool)) *Page {
	t.Helper()
	p, err := New(Config{Base: base, Questions: d, Clock: d.clock, Logger: slog.New(slog.NewTextHandler(log, nil)), Tries: tries})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func do(t testing.TB, p http.Handler, r *http.Request) got {
	t.Helper()
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	resp := w.Result()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY"} {
		if resp.Header.Get(name) != want {
			t.Errorf("%s is %q", name, resp.Header.Get(name))
		}
	}
	if csp := resp.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "script") || strings.Contains(csp, "unsafe") {
		t.Errorf("the policy is %q", csp)
	}
	if lower := strings.ToLower(string(raw)); strings.Contains(lower, "<script") || strings.Contains(lower, "javascript:") || strings.Contains(lower, " on") && strings.Contains(lower, "onclick") {
		t.Errorf("there is a script on\n%s", raw)
	}
	return got{resp, html.UnescapeString(string(raw)), string(raw)}
}

func get(path string) *http.Request { return httptest.NewRequest(http.MethodGet, base+path, nil) }

func post(path string, values url.Values) *http.Request {
	r := httptest.NewRequest(http.MethodPost, base+path, strings.NewReader(values.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.Header.Set("Origin", "null")
	return r
}

func saying(act, pass string) url.Values { return url.Values{"act": {act}, "passphrase": {pass}} }

const place = Path + id + "/" + token

func TestLookingChangesNothing(t *testing.T) {
	d := newDesk()
	p := d.page(t, io.Discard, nil)
	for _, r := range []*http.Request{get(place), get(place), httptest.NewRequest(http.MethodHead, base+place, nil),
		get(place + "?act=confirm&passphrase=" + url.QueryEscape(passphrase)), get(Path)} {
		if g := do(t, p, r); g.StatusCode != 200 {
			t.Errorf("%s gave %d", r.URL, g.StatusCode)
		}
	}
	if d.answers != 0 || d.question.State != registry.Pending {
		t.Errorf("looking decided: %+v", d.question)
	}
	g := do(t, p, get(place))
	for _, want := range []string{"shop.example", "/acme/account/acc", "thumb", "22 November 2026, 13:00 UTC", "Confirm only what you", `Shop & "Sons"`, "mailto:<b>@example.org", `name="passphrase"`} {
		if !strings.Contains(g.text, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if strings.Contains(g.raw, "<script>") || strings.Contains(g.raw, token) {
		t.Error("the page has what a stranger wrote as it is, or its own token")
	}
	if g = do(t, p, get(Path)); !strings.Contains(g.text, "waiting for that") || strings.Contains(g.raw, "<form") {
		t.Errorf("the page for everybody is\n%s", g.raw)
	}
}

func TestDeciding(t *testing.T) {
	for act, test := range map[string]struct {
		state registry.BindingState
		words string
	}{"confirm": {registry.Confirmed, "The account is bound to you"}, "refuse": {registry.Refused, "The account was refused"}} {
		d := newDesk()
		var log bytes.Buffer
		p := d.page(t, &log, nil)
		g := do(t, p, post(place, saying(act, passphrase)))
		if g.StatusCode != 200 || d.question.State != test.state || !strings.Contains(g.text, test.words) || strings.Contains(g.raw, `value="confirm"`) || strings.Contains(g.raw, `value="end"`) != (act == "confirm") {
			t.Errorf("%s gave %d, %s\n%s", act, g.StatusCode, d.question.State, g.raw)
		}
		if strings.Contains(log.String(), passphrase) || strings.Contains(log.String(), token) {
			t.Errorf("the log has a secret: %s", &log)
		}
		// The same again changes nothing, whatever it says.
		if g = do(t, p, post(place, saying("confirm", passphrase))); g.StatusCode != 409 || d.answers != 1 || d.question.State != test.state || !strings.Contains(g.text, test.words) {
			t.Errorf("once more gave %d, %s\n%s", g.StatusCode, d.question.State, g.raw)
		}
		if g = do(t, p, get(place)); g.StatusCode != 200 || !strings.Contains(g.text, test.words) {
			t.Errorf("afterwards the page is %d\n%s", g.StatusCode, g.raw)
		}
	}
}

func TestEnding(t *testing.T) {
	d := newDesk()
	p := d.page(t, io.Discard, nil)
	if g := do(t, p, post(place, saying("end", passphrase))); g.StatusCode != 409 || d.question.State != registry.Pending {
		t.Errorf("ending a question gave %d, %s", g.StatusCode, d.question.State)
	}
	do(t, p, post(place, saying("confirm", passphrase)))
	for _, test := range []struct {
		act, pass string
		status    int
		state     registry.BindingState
	}{
		{"end", "wrong", 403, registry.Confirmed}, {"end", "", 403, registry.Confirmed}, {"", passphrase, 400, registry.Confirmed},
		{"refuse", passphrase, 409, registry.Confirmed}, {"end", passphrase, 200, registry.Ended}, {"end", passphrase, 409, registry.Ended}, {"confirm", passphrase, 409, registry.Ended},
	} {
		g := do(t, p, post(place, saying(test.act, test.pass)))
		if ended := strings.Contains(g.text, "The binding has ended"); g.StatusCode != test.status || d.question.State != test.state || ended != (test.state == registry.Ended) {
			t.Errorf("%+v gave %d, %s\n%s", test, g.StatusCode, d.question.State, g.raw)
		}
	}
}

func TestNotDeciding(t *testing.T) {
	form := func(values url.Values, edit func(*http.Request)) *http.Request {
		r := post(place, values)
		if edit != nil {
			edit(r)
		}
		return r
	}
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	origin := func(value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Del("Sec-Fetch-Site"); r.Header.Set("Origin", value) }
	}
	good := saying("confirm", passphrase)
	long := httptest.NewRequest(http.MethodPost, base+place, strings.NewReader(good.Encode()+"&act="+strings.Repeat("x", 10<<10)))
	long.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for name, test := range map[string]struct {
		r      *http.Request
		status int
		words  string
	}{
		"wrong passphrase":    {form(saying("confirm", "wrong"), nil), 403, "not the passphrase"},
		"no passphrase":       {form(saying("confirm", ""), nil), 403, "Give your passphrase"},
		"return key":          {form(saying("", passphrase), nil), 400, "one of the buttons"},
		"another act":         {form(saying("yes", passphrase), nil), 400, "cannot be read"},
		"two acts":            {form(url.Values{"act": {"refuse", "confirm"}, "passphrase": {passphrase}}, nil), 400, "cannot be read"},
		"another field":       {form(url.Values{"act": {"confirm"}, "passphrase": {passphrase}, "x": {"y"}}, nil), 400, "cannot be read"},
		"no form":             {form(good, header("Content-Type", "text/plain")), 400, "cannot be read"},
		"too long":            {long, 400, "cannot be read"},
		"another site":        {form(good, header("Sec-Fetch-Site", "cross-site")), 403, "not sent by this page"},
		"a neighbour":         {form(good, header("Sec-Fetch-Site", "same-site")), 403, "not sent by this page"},
		"typed in":            {form(good, header("Sec-Fetch-Site", "none")), 403, "not sent by this page"},
		"another origin":      {form(good, header("Origin", "https://evil.example")), 403, "not sent by this page"},
		"old, another origin": {form(good, origin("https://evil.example")), 403, "not sent by this page"},
		"old, no origin":      {form(good, origin("null")), 403, "not sent by this page"},
		"another token":       {post(Path+id+"/"+token+"x", good), 404, "leads to no question"},
		"another question":    {post(Path+"b/"+token, good), 404, "leads to no question"},
		"no token":            {post(Path+id, good), 404, "leads to no question"},
		"three parts":         {post(place+"/confirm", good), 404, "leads to no question"},
		"the page of all":     {post(Path, good), 404, "leads to no question"},
		"another method":      {httptest.NewRequest(http.MethodPut, base+place, nil), 405, "browser"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk()
			g := do(t, d.page(t, io.Discard, nil), test.r)
			if g.StatusCode != test.status || !strings.Contains(g.text, test.words) {
				t.Errorf("got %d\n%s", g.StatusCode, g.raw)
			}
			if d.question.State != registry.Pending {
				t.Errorf("it decided: %s", d.question.State)
			}
		})
	}
}

func TestOldBrowsers(t *testing.T) {
	for _, origin := range []string{base, ""} {
		d := newDesk()
		r := post(place, saying("refuse", passphrase))
		r.Header.Del("Sec-Fetch-Site")
		r.Header.Del("Origin")
		if origin != "" {
			r.Header.Set("Origin", origin)
		}
		if g := do(t, d.page(t, io.Discard, nil), r); g.StatusCode != 200 || d.question.State != registry.Refused {
			t.Errorf("origin %q gave %d", origin, g.StatusCode)
		}
	}
}

func TestTimedOut(t *testing.T) {
	d := newDesk()
	p := d.page(t, io.Discard, nil)
	d.now = start.Add(time.Hour)
	if g := do(t, p, get(place)); g.StatusCode != 200 || !strings.Contains(g.text, "time for an answer is over") || strings.Contains(g.raw, "<form") {
		t.Errorf("got %d\n%s", g.StatusCode, g.raw)
	}
	if g := do(t, p, post(place, saying("confirm", passphrase))); g.StatusCode != 409 || d.answers != 0 {
		t.Errorf("a late answer gave %d, %d", g.StatusCode, d.answers)
	}
}

func TestNoPassphraseYet(t *testing.T) {
	d := newDesk()
	d.question.CanSign = false
	if g := do(t, d.page(t, io.Discard, nil), get(place)); !strings.Contains(g.text, "no passphrase yet") || strings.Contains(g.raw, "<form") {
		t.Errorf("got\n%s", g.raw)
	}
}

// The bounds count answers, wrong and right, and neither looks.
func TestTriesAreBounded(t *testing.T) {
	d := newDesk()
	left := map[string]int{}
	p := d.page(t, io.Discard, func(key string, _ time.Time) (time.Duration, bool) {
		left[key]++
		return 90 * time.Second, left[key] <= 3
	})
	for range 3 {
		do(t, p, post(place, saying("confirm", "wrong")))
	}
	g := do(t, p, post(place, saying("confirm", passphrase)))
	if g.StatusCode != 429 || g.Header.Get("Retry-After") != "91" || d.answers != 0 {
		t.Errorf("got %d %v, %d answers", g.StatusCode, g.Header, d.answers)
	}
	r := post(place, saying("confirm", passphrase))
	r.RemoteAddr = "198.51.100.7:1"
	if g = do(t, p, r); g.StatusCode != 429 || d.answers != 0 {
		t.Errorf("from elsewhere: %d", g.StatusCode)
	}
	if g = do(t, p, get(place)); g.StatusCode != 200 {
		t.Errorf("looking gave %d", g.StatusCode)
	}
}

// Who guesses passphrases is seen in the log, with what he guesses left out.
func TestWrongPassphraseIsLogged(t *testing.T) {
	d, log := newDesk(), &bytes.Buffer{}
	p := d.page(t, log, nil)
	do(t, p, post(place, saying("confirm", passphrase+"x")))
	if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), "customer=c") || !strings.Contains(log.String(), "remote=192.0.2.1:1234") {
		t.Errorf("the log says %q", log)
	}
	if strings.Contains(log.String(), passphrase) || strings.Contains(log.String(), token) {
		t.Errorf("the log gives a secret away: %q", log)
	}
}

func TestFailuresStayInside(t *testing.T) {
	d := newDesk()
	d.err = os.ErrPermission
	var log bytes.Buffer
	g := do(t, d.page(t, &log, nil), get(place))
	if g.StatusCode != 503 || strings.Contains(g.text, "permission") || !strings.Contains(log.String(), "permission") {
		t.Errorf("got %d %s, log %s", g.StatusCode, g.raw, &log)
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	a := Answer{Passphrase: passphrase, Confirm: true}
	if text := a.String() + a.GoString() + a.LogValue().String(); strings.Contains(text, passphrase) {
		t.Error(text)
	}
	if _, err := New(Config{}); err == nil {
		t.Error("a page without anything was made")
	}
}

func FuzzForm(f *testing.F) {
	f.Add("act=confirm&passphrase=a+b%20c")
	f.Add("act=refuse&passphrase=%C3%BC")
	f.Add("act=&passphrase=%ff;x=1&act=%00")
	f.Fuzz(func(t *testing.T, body string) {
		form, err := parseForm(body)
		if err != nil {
			return
		}
		again, err := parseForm(url.Values{"act": {form.act}, "passphrase": {form.passphrase}}.Encode())
		if err != nil || again != form {
			t.Fatalf("%q is %+v and then %+v, %v", body, form, again, err)
		}
	})
}

func FuzzPath(f *testing.F) {
	f.Add(place)
	f.Add(Path + "a/b/c")
	f.Add(Path + "../x")
	f.Fuzz(func(t *testing.T, path string) {
		id, token, ok := parts(path)
		if ok && (Path+id+"/"+token != path || strings.ContainsAny(id+token, "/.%?# \x00")) {
			t.Fatalf("%q has the parts %q and %q", path, id, token)
		}
	})
}

package registry_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"chancery/internal/ca"
	"chancery/internal/registry"
)

func TestConfirm(t *testing.T) {
	onBoth(t, nil, func(ctx context.Context, d *desk) {
		c := d.customer("Web team", "example.org", "web@example.org", "boss@example.org")
		_, err := d.BindingOf(ctx, "a1")
		d.want(ca.NotFound, err)
		b := must[registry.Binding](d.t)(d.Ask(ctx, asking(c, "a1")))
		if b.State != registry.Pending || b.Contact != "Web@example.org" || b.ExpiresAt.Sub(b.AskedAt) != 72*time.Hour {
			d.t.Errorf("asked: %+v", b)
		}
		if again := must[registry.Binding](d.t)(d.Ask(ctx, asking(c, "a1"))); again.ID != b.ID {
			d.t.Errorf("asking again gave %+v", again)
		}
		letters := d.tell()
		if len(letters) != 2 || len(d.tell()) != 0 {
			d.t.Fatalf("letters: %+v", letters)
		}
		for _, word := range []string{b.AccountURL, "thumb", "www.example.org", "Web@example.org", "confirms nothing", "phishing", "2026-03-04 12:00 UTC", `"Web team"`} {
			if !strings.Contains(letters[0].Text, word) {
				d.t.Errorf("the letter lacks %q:\n%s", word, letters[0].Text)
			}
		}
		for _, l := range letters {
			seen, who, err := d.Look(ctx, b.ID, linkToken(d.t, l, b.ID))
			if err != nil || seen.ID != b.ID || seen.State != registry.Pending || seen.ToldAt.IsZero() || who.ID != c.ID {
				d.t.Errorf("Look gave %+v, %v, %v", seen, who, err)
			}
		}
		for _, token := range []string{"", "x", strings.Repeat("A", 26), strings.Repeat("A", 100)} {
			_, _, err := d.Look(ctx, b.ID, token)
			d.want(ca.NotFound, err)
		}
		_, err = d.BindingOf(ctx, "a1")
		d.want(ca.NotFound, err)
		_, err = d.Decide(ctx, registry.Decision{ID: b.ID, By: ca.Principal{Room: registry.CustomerRoom, ID: ca.NewID()}, Confirm: true})
		d.want(ca.NotFound, err)
		yes := registry.Decision{ID: b.ID, By: ca.Principal{Room: registry.CustomerRoom, ID: c.ID}, Confirm: true, Reason: "mine"}
		if got := must[registry.Binding](d.t)(d.Decide(ctx, yes)); got.State != registry.Confirmed {
			d.t.Errorf("decided: %+v", got)
		}
		_, err = d.Decide(ctx, yes)
		d.want(ca.Conflict, err)
		got := must[registry.Binding](d.t)(d.BindingOf(ctx, "a1"))
		if got.ID != b.ID || got.DecidedBy != yes.By || got.Reason != "mine" || got.Customer != c.ID || got.CustomerName != "Web team" {
			d.t.Errorf("BindingOf gave %+v", got)
		}
		if again := must[registry.Binding](d.t)(d.Ask(ctx, asking(c, "a1"))); again.State != registry.Confirmed {
			d.t.Errorf("asking when confirmed gave %+v", again)
		}
		for kind, n := range map[string]int64{"binding.asked": 1, "binding.told": 2, "binding.confirmed": 1} {
			if got := d.events(kind, b.ID); got != n {
				d.t.Errorf("%d events %s, want %d", got, kind, n)
			}
		}
	})
}

func TestRefuse(t *testing.T) {
	onBoth(t, nil, func(ctx context.Context, d *desk) {
		c := d.customer("Web team", "example.org", "web@example.org")
		b := must[registry.Binding](d.t)(d.Ask(ctx, asking(c, "a1")))
		must[registry.Binding](d.t)(d.Decide(ctx, registry.Decision{ID: b.ID, By: admin}))
		_, err := d.Decide(ctx, registry.Decision{ID: b.ID, By: admin, Confirm: true})
		d.want(ca.Conflict, err)
		if letters := d.tell(); len(letters) != 0 {
			d.t.Errorf("a letter after the refusal: %+v", letters)
		}
		_, err = d.BindingOf(ctx, "a1")
		d.want(ca.NotFound, err)
		d.pass(23 * time.Hour)
		if again := must[registry.Binding](d.t)(d.Ask(ctx, asking(c, "a1"))); again.ID != b.ID || again.State != registry.Refused {
			d.t.Errorf("asked within a day of the refusal: %+v", again)
		}
		if other := must[registry.Binding](d.t)(d.Ask(ctx, asking(c, "a2"))); other.State != registry.Pending {
			d.t.Errorf("another account: %+v", other)
		}
		d.pass(2 * time.Hour)
		if again := must[registry.Binding](d.t)(d.Ask(ctx, asking(c, "a1"))); again.ID == b.ID || again.State != registry.Pending {
			d.t.Errorf("asked a day after the refusal: %+v", again)
		}
	})
}

func TestEnd(t *testing.T) {
	onBoth(t, nil, func(ctx context.Context, d *desk) {
		c, other := d.customer("Web team", "example.org", "web@example.org"), d.customer("Others")
		himself := ca.Principal{Room: registry.CustomerRoom, ID: c.ID}
		b := must[registry.Binding](d.t)(d.Ask(ctx, asking(c, "a1")))
		_, err := d.End(ctx, registry.Decision{ID: b.ID, By: admin})
		d.want(ca.Conflict, err) // it is a question still
		must[registry.Binding](d.t)(d.Decide(ctx, registry.Decision{ID: b.ID, By: himself, Confirm: true}))
		_, err = d.End(ctx, registry.Decision{ID: b.ID, By: ca.Principal{Room: registry.CustomerRoom, ID: other.ID}})
		d.want(ca.NotFound, err)
		_, err = d.End(ctx, registry.Decision{ID: b.ID, By: admin, Reason: "a\nb"})
		d.want(ca.Invalid, err)
		_, err = d.End(ctx, registry.Decision{ID: ca.NewID(), By: admin})
		d.want(ca.NotFound, err)
		var ends atomic.Int64
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				_, err := d.End(ctx, registry.Decision{ID: b.ID, By: himself, Reason: "sold"})
				if err == nil {
					ends.Add(1)
				} else if ca.KindOf(err) != ca.Conflict {
					d.t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := d.events("binding.ended", b.ID); ends.Load() != 1 || n != 1 {
			d.t.Errorf("ended %d times with %d events", ends.Load(), n)
		}
		_, err = d.BindingOf(ctx, "a1")
		d.want(ca.NotFound, err)
		if all := must[[]registry.Binding](d.t)(d.BindingsOf(ctx, "a1")); len(all) != 1 || all[0].State != registry.Ended || all[0].DecidedBy != himself || all[0].Reason != "sold" || all[0].Holds() {
			d.t.Errorf("the bindings are %+v", all)
		}
		if found := must[[]registry.Binding](d.t)(d.Bindings(ctx, registry.BindingQuery{State: registry.Ended})); len(found) != 1 {
			d.t.Errorf("ended are %+v", found)
		}
		_, err = d.Decide(ctx, registry.Decision{ID: b.ID, By: admin, Confirm: true})
		d.want(ca.Conflict, err)
		d.pass(23 * time.Hour)
		if again := must[registry.Binding](d.t)(d.Ask(ctx, asking(c, "a1"))); again.ID != b.ID || again.State != registry.Ended {
			d.t.Errorf("asked within a day of the end: %+v", again)
		}
		d.pass(2 * time.Hour)
		if again := must[registry.Binding](d.t)(d.Ask(ctx, asking(c, "a1"))); again.ID == b.ID || again.State != registry.Pending {
			d.t.Errorf("asked a day after the end: %+v", again)
		}
	})
}

func TestTimeOut(t *testing.T) {
	onBoth(t, func(c *registry.Config) { c.Patience = time.Hour }, func(ctx context.Context, d *desk) {
		c := d.customer("Web team", "example.org", "web@example.org")
		b := must[registry.Binding](d.t)(d.Ask(ctx, asking(c, "a1")))
		token := linkToken(d.t, d.tell()[0], b.ID)
		d.pass(time.Hour)
		_, err := d.Decide(ctx, registry.Decision{ID: b.ID, By: admin, Confirm: true})
		d.want(ca.Conflict, err)
		if seen, _, err := d.Look(ctx, b.ID, token); err != nil || seen.State != registry.TimedOut {
			d.t.Errorf("Look gave %+v, %v", seen, err)
		}
		for state, n := range map[registry.BindingState]int{registry.Pending: 0, registry.TimedOut: 1, "": 1, registry.Confirmed: 0} {
			if found := must[[]registry.Binding](d.t)(d.Bindings(ctx, registry.BindingQuery{State: state})); len(found) != n {
				d.t.Errorf("%q: %+v", state, found)
			}
		}
		again := must[registry.Binding](d.t)(d.Ask(ctx, asking(c, "a1")))
		if again.ID == b.ID || again.State != registry.Pending {
			d.t.Errorf("asked after the time: %+v", again)
		}
		d.pass(8 * 24 * time.Hour)
		d.tell() // sweeps
		_, _, err = d.Look(ctx, b.ID, token)
		d.want(ca.NotFound, err)
	})
}

func TestAskedAtOnce(t *testing.T) {
	onBoth(t, nil, func(ctx context.Context, d *desk) {
		c := d.customer("Web team", "example.org", "web@example.org")
		ids := make([]string, 8)
		var wg sync.WaitGroup
		for i := range ids {
			wg.Go(func() {
				b, err := d.Ask(ctx, asking(c, "a1"))
				if err != nil {
					d.t.Error(err)
				}
				ids[i] = b.ID
			})
		}
		wg.Wait()
		for _, id := range ids {
			if id != ids[0] {
				d.t.Errorf("two questions: %v", ids)
			}
		}
		if letters := d.tell(); len(letters) != 1 {
			d.t.Errorf("%d letters", len(letters))
		}
		var confirmed sync.Map
		for i := range ids {
			wg.Go(func() {
				if _, err := d.Decide(ctx, registry.Decision{ID: ids[0], By: admin, Confirm: i%2 == 0}); err == nil {
					confirmed.Store(i, true)
				}
			})
		}
		wg.Wait()
		n := 0
		confirmed.Range(func(any, any) bool { n++; return true })
		if n != 1 {
			d.t.Errorf("%d decisions were taken", n)
		}
	})
}

func TestRefusedQuestions(t *testing.T) {
	onBoth(t, nil, func(ctx context.Context, d *desk) {
		c := d.customer("Web team", "example.org", "web@example.org")
		other := d.customer("Others", "example.com")
		must[registry.Contact](d.t)(d.AddContact(ctx, admin, registry.ContactProof{Customer: c.ID, Address: "new@example.org"}))
		for name, test := range map[string]struct {
			change func(*registry.Asking)
			kind   ca.Kind
		}{
			"no account":             {func(a *registry.Asking) { a.Account = "" }, ca.Invalid},
			"no URL":                 {func(a *registry.Asking) { a.AccountURL = "" }, ca.Invalid},
			"two lines":              {func(a *registry.Asking) { a.AccountURL += "\nx" }, ca.Invalid},
			"unknown customer":       {func(a *registry.Asking) { a.Customer = ca.NewID() }, ca.NotFound},
			"no customer":            {func(a *registry.Asking) { a.Customer = "" }, ca.NotFound},
			"by a key":               {func(a *registry.Asking) { a.Via = registry.ViaEAB }, ca.Invalid},
			"another's domain":       {func(a *registry.Asking) { a.Domain = "example.com" }, ca.Denied},
			"a domain above":         {func(a *registry.Asking) { a.Domain = "org" }, ca.Denied},
			"a similar domain":       {func(a *registry.Asking) { a.Domain = "badexample.org" }, ca.Denied},
			"no domain":              {func(a *registry.Asking) { a.Domain = "" }, ca.BadName},
			"another customer":       {func(a *registry.Asking) { a.Customer = other.ID }, ca.Denied},
			"unverified address":     {func(a *registry.Asking) { a.Via, a.Contact = registry.ViaMail, "new@example.org" }, ca.Denied},
			"another local part":     {func(a *registry.Asking) { a.Via, a.Contact = registry.ViaMail, "WEB@example.org" }, ca.Denied},
			"no address":             {func(a *registry.Asking) { a.Via, a.Contact = registry.ViaMail, "" }, ca.Invalid},
			"an address of somebody": {func(a *registry.Asking) { a.Via, a.Contact = registry.ViaMail, "nobody@example.net" }, ca.Denied},
		} {
			a := asking(c, "a1")
			test.change(&a)
			if _, err := d.Ask(ctx, a); ca.KindOf(err) != test.kind {
				d.t.Errorf("%s: %v, want %s", name, err, test.kind)
			}
		}
		if letters := d.tell(); len(letters) != 1 || letters[0].To != "new@example.org" { // the code
			d.t.Errorf("letters: %+v", letters)
		}
		if found := must[[]registry.Binding](d.t)(d.Bindings(ctx, registry.BindingQuery{})); len(found) != 0 {
			d.t.Errorf("bindings: %+v", found)
		}
	})
}

func TestSuspended(t *testing.T) {
	onBoth(t, nil, func(ctx context.Context, d *desk) {
		c := d.customer("Web team", "example.org", "web@example.org")
		bound := must[registry.Binding](d.t)(d.Ask(ctx, asking(c, "a1")))
		must[registry.Binding](d.t)(d.Decide(ctx, registry.Decision{ID: bound.ID, By: admin, Confirm: true}))
		open := must[registry.Binding](d.t)(d.Ask(ctx, asking(c, "a2")))
		d.want("", d.SetPassphrase(ctx, admin, registry.SignIn{Customer: c.ID, Passphrase: "correct horse battery"}))
		d.want("", d.Vet(ctx, c.ID, registry.Vetting{Kind: "ca-ov", Subject: registry.Subject{Organization: "Example"}, Until: d.clock().AddDate(1, 0, 0), By: admin}))
		d.want("", d.Suspend(ctx, admin, c.ID))
		d.want(ca.Conflict, d.Suspend(ctx, admin, c.ID))
		if letters := d.tell(); len(letters) != 0 {
			d.t.Errorf("letters to a suspended customer: %+v", letters)
		}
		_, err := d.BindingOf(ctx, "a1")
		d.want(ca.NotFound, err)
		_, err = d.Vetted(ctx, c.ID, "ca-ov")
		d.want(ca.NotFound, err)
		_, err = d.Ask(ctx, asking(c, "a3"))
		d.want(ca.Denied, err)
		_, err = d.Ask(ctx, asking(c, "a2"))
		d.want(ca.Denied, err)
		_, err = d.Decide(ctx, registry.Decision{ID: open.ID, By: admin, Confirm: true})
		d.want(ca.Denied, err)
		_, err = d.Choose(ctx, registry.Choice{Domain: "example.org"})
		d.want(ca.NotFound, err)
		_, err = d.ByContact(ctx, "web@example.org")
		d.want(ca.NotFound, err)
		d.want(ca.Denied, d.SignIn(ctx, c.ID, "correct horse battery"))
		_, err = d.CreateKey(ctx, registry.Order{By: admin, Customer: c.ID})
		d.want(ca.Denied, err)
		d.want("", d.Resume(ctx, admin, c.ID))
		d.want(ca.Conflict, d.Resume(ctx, admin, c.ID))
		d.want("", d.SignIn(ctx, c.ID, "correct horse battery"))
		must[registry.Vetting](d.t)(d.Vetted(ctx, c.ID, "ca-ov"))
		must[registry.Binding](d.t)(d.Decide(ctx, registry.Decision{ID: open.ID, By: admin, Confirm: true}))
	})
}

func TestFlood(t *testing.T) {
	onBoth(t, func(c *registry.Config) { c.DomainAsks, c.MailAsks, c.AddressAsks = 3, 3, 2 }, func(ctx context.Context, d *desk) {
		c := d.customer("Web team", "example.org", "web@example.org", "boss@example.org")
		ask := func(n int, via registry.Via, contact string) error {
			a := asking(c, fmt.Sprintf("%s-%s-%d", via, contact, n))
			a.Via, a.Contact = via, contact
			_, err := d.Ask(ctx, a)
			return err
		}
		for n := range 2 {
			d.want("", ask(n, registry.ViaMail, "web@example.org"))
		}
		d.want(ca.Limited, ask(3, registry.ViaMail, "web@example.org"))
		d.want("", ask(0, registry.ViaMail, "boss@example.org"))
		d.want(ca.Limited, ask(1, registry.ViaMail, "boss@example.org"))
		// Who proved the domain is not kept out by those who claim an address.
		for n := range 3 {
			d.want("", ask(n, registry.ViaDomain, ""))
		}
		d.want(ca.Limited, ask(3, registry.ViaDomain, ""))
		d.want("", ask(0, registry.ViaDomain, "")) // stands already
		if letters := d.tell(); len(letters) != 3+2*3 {
			d.t.Errorf("%d letters", len(letters))
		}
		d.pass(24 * time.Hour)
		d.want("", ask(9, registry.ViaMail, "web@example.org"))
		d.want("", ask(9, registry.ViaDomain, ""))
	})
}

// A process that dies between the question and the letter, or between the letter
// and its mark, loses nothing.
func TestLettersSurvive(t *testing.T) {
	onBoth(t, nil, func(ctx context.Context, d *desk) {
		c := d.customer("Web team", "example.org", "web@example.org")
		b := must[registry.Binding](d.t)(d.Ask(ctx, asking(c, "a1")))
		next := must[*registry.Registry](d.t)(registry.New(d.Config)) // the process after
		d.post.closed = true
		if err := next.Tell(ctx); err == nil {
			d.t.Error("a closed post office is no error")
		}
		d.post.closed = false
		if letters := d.tell(); len(letters) != 0 {
			d.t.Errorf("no pause after a failure: %+v", letters)
		}
		d.pass(3 * time.Minute)
		broken, breakNow := context.WithCancel(ctx)
		dying := d.Config
		dying.Mailer = mailer(func(ctx context.Context, l registry.Letter) error {
			defer breakNow() // after the letter left, before the mark
			return d.post.Mail(ctx, l)
		})
		if err := must[*registry.Registry](d.t)(registry.New(dying)).Tell(broken); err == nil {
			d.t.Error("the process did not die")
		}
		first := d.post.take()
		d.pass(10 * time.Minute)
		second := d.tell()
		if len(first) != 1 || len(second) != 1 || len(d.tell()) != 0 {
			d.t.Fatalf("letters: %+v and %+v", first, second)
		}
		for _, l := range append(first, second...) {
			if _, _, err := d.Look(ctx, b.ID, linkToken(d.t, l, b.ID)); err != nil {
				d.t.Error(err)
			}
		}
		if linkToken(d.t, first[0], b.ID) == linkToken(d.t, second[0], b.ID) {
			d.t.Error("the token was kept somewhere")
		}
	})
}

type mailer func(context.Context, registry.Letter) error

func (m mailer) Mail(ctx context.Context, l registry.Letter) error { return m(ctx, l) }

func TestToldOnceByMany(t *testing.T) {
	onBoth(t, nil, func(ctx context.Context, d *desk) {
		c := d.customer("Web team", "example.org", "web@example.org")
		for i := range 5 {
			must[registry.Binding](d.t)(d.Ask(ctx, asking(c, fmt.Sprint("a", i))))
		}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if err := d.Tell(ctx); err != nil {
					d.t.Error(err)
				}
			})
		}
		wg.Wait()
		if letters := d.post.take(); len(letters) != 5 {
			d.t.Errorf("%d letters of 5 questions", len(letters))
		}
	})
}

//go:build crashpoints

package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"chancery/acme"
	"chancery/internal/admin"
	"chancery/internal/ca"
	"chancery/internal/desk"
	"chancery/internal/registry"
)

// TestCrashOnTheBinding kills the server before and after each commit between the
// proof of a customer's domain and the certificate that he confirmed: no proof, no
// question and no answer is lost, and nobody is asked twice.
func TestCrashOnTheBinding(t *testing.T) {
	engines(t, func(t *testing.T, url string) {
		web, post := newSite(t), newMailbox(t)
		p := plan(t, web, url)
		p.Mail = post.address
		s := launch(t, p)
		customer := s.customer("crash.example", "boss@crash.example")
		s.kill()
		w := &witness{held: map[ca.Serial][]byte{}}
		for _, when := range []string{"before", "after"} {
			crashes := 0
			for ; crashes < mostCommits; crashes++ {
				name := fmt.Sprintf("%s-%d.crash.example", when, crashes+1)
				b := &bindingStory{story{t: t, web: web, plan: p, name: name, witness: w}, customer}
				if !b.run(fmt.Sprintf("%s:%d", when, crashes+1)) {
					break
				}
			}
			t.Logf("%s: the story went on after %d crashes", when, crashes)
			// Account, order, question, authorisation held, decision, authorisation valid, intent, settlement.
			if crashes < 8 || crashes == mostCommits {
				t.Errorf("%d crashes %s a commit; the story has at least 8", crashes, when)
			}
		}
	})
}

type bindingStory struct {
	story
	customer string
}

func (s *bindingStory) run(point string) bool {
	from := filepath.Join(s.t.TempDir(), "from")
	s.server = launch(s.t, s.plan, "CHANCERY_CRASH="+point, "CHANCERY_CRASH_FROM="+from)
	if err := os.WriteFile(from, nil, 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.client = s.server.stranger()
	key := newKey(s.t)
	csr := csrFor(s.t, key, s.name)
	s.step("account", func(ctx context.Context) error {
		_, err := s.client.Register(ctx, acme.Registration{})
		return err
	})
	s.step("proof", s.holdUp)
	s.step("decision", s.decide)
	s.step("order", func(ctx context.Context) error {
		o, err := s.client.Order(ctx, s.order.URL)
		if err != nil {
			return err
		}
		if s.order = o; o.Status != acme.OrderReady {
			s.t.Fatalf("%s: after the decision the order is %+v", s.name, o)
		}
		return nil
	})
	s.step("finalize", func(ctx context.Context) error { return s.finalize(ctx, csr) })
	s.step("download", s.download)
	s.holds(key)
	s.server.kill()
	return s.died
}

// holdUp proves the name, until the answer waits for the customer.
func (s *bindingStory) holdUp(ctx context.Context) error {
	if s.order == nil {
		order, challenge, err := s.web.order(ctx, s.client, s.name)
		if err != nil {
			return err
		}
		s.order = order
		if _, err := s.client.Respond(ctx, challenge); err != nil {
			return err
		}
	}
	for {
		a, err := s.client.Authorization(ctx, s.order.Authorizations[0])
		if err != nil {
			return err
		}
		for _, ch := range a.Challenges {
			switch {
			case a.Status != acme.AuthorizationPending:
				s.t.Fatalf("%s: nobody confirmed, and the authorisation is %+v", s.name, a)
			case ch.Status == acme.ChallengeProcessing && len(s.asked(ctx)) > 0:
				return nil
			case ch.Type == acme.ChallengeHTTP01 && ch.Status == acme.ChallengePending: // the answer was lost with the server
				if _, err := s.client.Respond(ctx, ch); err != nil {
					return err
				}
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// asked gives the questions about the story's account, nil while the server is gone.
func (s *bindingStory) asked(context.Context) []desk.Binding {
	account := s.client.AccountURL[len(s.client.AccountURL)-26:]
	all, err := ask[desk.BindingsWanted, desk.Bindings](s.server, "binding.list", desk.BindingsWanted{Account: account, Customer: s.customer})
	if err != nil {
		return nil
	}
	if len(all.Bindings) > 1 {
		s.t.Fatalf("%s: the customer was asked twice: %+v", s.name, all.Bindings)
	}
	return all.Bindings
}

// decide confirms; what was confirmed before the server died stays so.
func (s *bindingStory) decide(ctx context.Context) error {
	all := s.asked(ctx)
	if len(all) == 0 {
		return errors.New("the server does not answer")
	}
	_, err := ask[desk.BindingDecided, desk.Binding](s.server, "binding.confirm", desk.BindingDecided{ID: all[0].ID})
	var refused *admin.Error
	if s.died && errors.As(err, &refused) && refused.Kind == admin.Conflict && all[0].State == registry.Confirmed {
		return nil
	}
	return err
}

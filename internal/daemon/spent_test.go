package daemon_test

import (
	"strings"
	"testing"

	"chancery/acme"
	"chancery/internal/peertest"
)

// reading is a POST-as-GET with a nonce.
func reading(c *acme.Client, nonce string) posting {
	return posting{url: c.AccountURL, client: c, nonce: nonce, payload: []byte{}}
}

// spend reads at the server, with n nonces of its own, and gives these.
func (s *server) spend(c *acme.Client, n int) (spent []string) {
	s.t.Helper()
	for range n {
		nonce := s.nonce()
		if code, problem := s.post(reading(c, nonce)); code != 200 {
			s.t.Fatalf("reading: %d %v", code, problem)
		}
		spent = append(spent, nonce)
	}
	return spent
}

// refuses tells whether the server says that the nonce was spent. If it does
// not, it is from now on, so each nonce can be tried once.
func (s *server) refuses(c *acme.Client, nonce string) bool {
	s.t.Helper()
	code, problem := s.post(reading(c, nonce))
	if code != 200 && (code != 400 || problem.Type != acme.TypeBadNonce) {
		s.t.Fatalf("reading with a spent nonce: %d %v", code, problem)
	}
	return code != 200
}

// hears waits until the server refuses something that was spent at the other
// from now on. What was spent there before must be known then, too.
func (s *server) hears(other *server, c *acme.Client) {
	s.t.Helper()
	// Each nonce can be tried once, so they are tried when they have had a while.
	const behind = 10
	var spent []string
	polls := 0
	until(s.t, "a nonce is refused that was spent at the other replica", func() bool {
		if polls++; polls%10 != 1 {
			return false
		}
		if spent = append(spent, other.spend(c, 1)...); len(spent) <= behind {
			return false
		}
		nonce := spent[0]
		spent = spent[1:]
		return s.refuses(c, nonce)
	})
}

// TestSpentIsShared reads at one replica and repeats it at the other.
func TestSpentIsShared(t *testing.T) {
	t.Parallel()
	_, a, b := replicas(t)
	c := a.client()
	db, _ := a.store(t)
	defer db.Close()
	shared := func(from, to *server, before []string) {
		t.Helper()
		to.hears(from, c)
		for _, nonce := range before {
			if !to.refuses(c, nonce) {
				t.Error("what was spent first is not known, what was spent later is")
			}
		}
	}
	shared(a, b, a.spend(c, 3))
	shared(b, a, b.spend(c, 3))
	if fresh := a.nonce(); b.refuses(c, fresh) {
		t.Error("a nonce was refused that nobody spent")
	}
	// What could not be stored, because the table is away, is told later.
	failures := func() int { return strings.Count(a.log.String(), `work="spent nonces"`) }
	alter(t, db, `ALTER TABLE seen_nonces RENAME TO away`)
	lost := a.spend(c, 3)
	before := failures()
	until(t, "telling fails", func() bool { return failures() > before+1 })
	alter(t, db, `ALTER TABLE away RENAME TO seen_nonces`)
	shared(a, b, lost)
}

// TestSpentSurvivesRestart reads, stops in order, and repeats it after the start.
func TestSpentSurvivesRestart(t *testing.T) {
	engines(t, func(t *testing.T, url string) {
		p := plan(t, newSite(t), url)
		first := start(t, p)
		c := first.client()
		spent, kept := first.spend(c, 3), first.nonce()
		first.close()

		second := start(t, p)
		c = second.at(c)
		spent = append(spent, second.spend(c, 1)...)
		second.close()

		third := start(t, p)
		c = third.at(c)
		for i, nonce := range spent {
			if !third.refuses(c, nonce) {
				t.Errorf("nonce %d was good once more after a restart", i+1)
			}
		}
		if third.refuses(c, kept) {
			t.Error("a nonce was refused that nobody spent")
		}
	})
}

// TestSpentOfOthersAtStart starts a replica after another has stopped, and with
// a row in the table that means nothing.
func TestSpentOfOthersAtStart(t *testing.T) {
	t.Parallel()
	web := newSite(t)
	a := start(t, plan(t, web, peertest.Postgres(t)))
	c := a.client()
	spent := a.spend(c, 1)[0]
	a.close()
	db, _ := a.store(t)
	defer db.Close()
	alter(t, db, `INSERT INTO seen_nonces (id, process, at, bits) SELECT 'strange', 'strange', at, 'x' FROM seen_nonces LIMIT 1`)
	alter(t, db, `INSERT INTO seen_nonces (id, process, at, bits) SELECT 'old', 'strange', at - 3 * 86400000, bits FROM seen_nonces WHERE id <> 'strange' LIMIT 1`)
	b := start(t, second(t, web, a.setup))
	if !b.refuses(b.at(c), spent) {
		t.Error("a nonce that was spent at a replica that has stopped is good at the next")
	}
	if number(t, db, `SELECT COUNT(*) FROM seen_nonces WHERE id = 'old'`) != 0 {
		t.Error("an old row was left")
	}
	if !strings.Contains(b.log.String(), "strange") {
		t.Error("the log does not name the row that was left out")
	}
}

// TestNothingSpentNothingWritten starts and stops without a request.
func TestNothingSpentNothingWritten(t *testing.T) {
	engines(t, func(t *testing.T, url string) {
		p := plan(t, newSite(t), url)
		start(t, p).close()
		db, _ := p.store(t)
		defer db.Close()
		if n := number(t, db, `SELECT COUNT(*) FROM seen_nonces`); n != 0 {
			t.Errorf("%d rows", n)
		}
	})
}

package acmeserver

import (
	"context"
	"slices"
	"sync"
	"testing"
)

// waits tells how many of an account's validations wait.
func (t *turns) waits(account string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if l := t.lines[account]; l != nil {
		return len(l.tickets)
	}
	return 0
}

// queue begins n validations of an account, which say when they have their turn;
// it returns when all that must wait do.
func queue(t *turns, account string, n int, turn chan<- string) {
	before := t.waits(account)
	for i := range n {
		go func() {
			if _, ok := t.take(context.Background(), account); ok {
				turn <- account
			}
		}()
		for t.waits(account) != before+i+1 { // it is on its way
		}
	}
}

func TestTurnsGoRound(t *testing.T) {
	q := &turns{limit: 1}
	done, ok := q.take(t.Context(), "first")
	if !ok || !q.busy("other") {
		t.Fatal("nothing ran, or everybody may")
	}
	turn := make(chan string)
	queue(q, "many", 4, turn)
	queue(q, "one", 1, turn)
	queue(q, "two", 2, turn)
	var got []string
	done()
	for range 7 {
		who := <-turn
		got = append(got, who)
		q.give(who)
	}
	if want := []string{"many", "one", "two", "many", "two", "many", "many"}; !slices.Equal(got, want) {
		t.Errorf("turns went %v, want %v", got, want)
	}
	if q.running != 0 || len(q.lines) != 0 || len(q.waiting) != 0 {
		t.Errorf("left over: %d run, %v, %v", q.running, q.lines, q.waiting)
	}
}

func TestTurnsOfOneAccount(t *testing.T) {
	q := &turns{limit: 100}
	for range runPerAccount {
		if _, ok := q.take(t.Context(), "a"); !ok {
			t.Fatal("no turn")
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, ok := q.take(ended, "a"); ok || q.waits("a") != 0 {
		t.Errorf("more than %d of one account run, or who left still waits", runPerAccount)
	}
	if !q.busy("a") || q.busy("b") {
		t.Error("who has to wait is told wrongly")
	}
	turn := make(chan string, 1)
	queue(q, "a", 1, turn)
	if _, ok := q.take(t.Context(), "b"); !ok {
		t.Error("another account had to wait")
	}
	q.give("a")
	<-turn
}

// TestTurnsAreCounted: whoever leaves at the moment of his turn takes none along.
func TestTurnsAreCounted(t *testing.T) {
	q := &turns{limit: 2}
	var wg sync.WaitGroup
	for i := range 200 {
		ctx, cancel := context.WithCancel(t.Context())
		wg.Go(func() {
			if done, ok := q.take(ctx, string(rune('a'+i%3))); ok {
				done()
			}
		})
		wg.Go(cancel)
	}
	wg.Wait()
	if q.running != 0 || len(q.lines) != 0 || len(q.waiting) != 0 {
		t.Errorf("left over: %d run, %v, %v", q.running, q.lines, q.waiting)
	}
}

package acmeserver

import (
	"context"
	"slices"
	"sync"
)

// runPerAccount is how many validations of one account run at once, so that no
// account's silent hosts hold up everybody.
const runPerAccount = 8

// turns says whose validation runs next: the accounts take turns, and each has
// its own line. The zero value is not ready; see limit.
type turns struct {
	limit int // of those that run at once

	mu      sync.Mutex
	running int
	lines   map[string]*line // of accounts that run or wait
	waiting []*line          // those in which somebody waits, the next first
}

// line is one account's.
type line struct {
	running int
	tickets []chan struct{} // of those that wait, the first first; closed when it is their turn
}

// take waits for a turn. Who gets one gives it back by done; ok is false when ctx
// ended before.
func (t *turns) take(ctx context.Context, account string) (done func(), ok bool) {
	done = func() { t.give(account) }
	t.mu.Lock()
	if t.lines == nil {
		t.lines = map[string]*line{}
	}
	l := t.lines[account]
	if l == nil {
		l = &line{}
		t.lines[account] = l
	}
	if t.running < t.limit && l.running < runPerAccount {
		// Nobody waits who could run instead: give would have let him.
		t.running++
		l.running++
		t.mu.Unlock()
		return done, true
	}
	ticket := make(chan struct{})
	if l.tickets = append(l.tickets, ticket); len(l.tickets) == 1 {
		t.waiting = append(t.waiting, l)
	}
	t.mu.Unlock()
	select {
	case <-ticket:
		if ctx.Err() == nil {
			return done, true
		}
	case <-ctx.Done():
	}
	if !t.leave(account, ticket) {
		done() // it was called at the same time
	}
	return nil, false
}

// leave takes a ticket out of its line; false says that its turn has come.
func (t *turns) leave(account string, ticket chan struct{}) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.lines[account]
	if l == nil {
		return false
	}
	at := slices.Index(l.tickets, ticket)
	if at < 0 {
		return false
	}
	if l.tickets = slices.Delete(l.tickets, at, at+1); len(l.tickets) == 0 {
		t.waiting = slices.DeleteFunc(t.waiting, func(o *line) bool { return o == l })
		t.forget(account, l)
	}
	return true
}

// give ends a turn and lets the next run.
func (t *turns) give(account string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.running--
	l := t.lines[account]
	l.running--
	t.forget(account, l)
	for t.running < t.limit {
		at := slices.IndexFunc(t.waiting, func(l *line) bool { return l.running < runPerAccount })
		if at < 0 {
			return
		}
		l := t.waiting[at]
		close(l.tickets[0])
		l.tickets = l.tickets[1:]
		l.running++
		t.running++
		t.waiting = slices.Delete(t.waiting, at, at+1)
		if len(l.tickets) > 0 {
			t.waiting = append(t.waiting, l) // behind all others
		}
	}
}

// forget drops a line that nobody is in. The caller has locked.
func (t *turns) forget(account string, l *line) {
	if l.running == 0 && len(l.tickets) == 0 {
		delete(t.lines, account)
	}
}

// busy tells whether the account's next validation would have to wait.
func (t *turns) busy(account string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.lines[account]
	return t.running >= t.limit || l != nil && l.running >= runPerAccount
}

package sqlstore

import (
	"sync"

	"chancery/internal/ca"
)

// maxStandings bounds the certificates that are known to be good.
const maxStandings = 4096

// standings remembers settled certificates that were not revoked when the database was
// asked last, for as long as nobody revokes any. It is of use only where this process is
// alone with its database, as with SQLite, whose file is locked: then each revocation
// passes by here.
type standings struct {
	mu     sync.Mutex
	change uint64 // grows with each revocation
	good   map[ca.Serial]struct{}
}

// know tells whether the certificate is known to be good, and else the change under which
// an answer of the database may be given to [standings.learn].
func (s *standings) know(serial ca.Serial) (good bool, change uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, good = s.good[serial]
	return good, s.change
}

// learn keeps that the database called the certificate good, if no revocation came after
// it was asked.
func (s *standings) learn(serial ca.Serial, change uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if change != s.change {
		return
	}
	if s.good == nil || len(s.good) >= maxStandings {
		s.good = map[ca.Serial]struct{}{}
	}
	s.good[serial] = struct{}{}
}

// forget must follow each attempt to revoke, before its caller hears of the outcome.
func (s *standings) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.change++
	s.good = nil
}

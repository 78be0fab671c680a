package sqlstore

import (
	"fmt"

	"chancery/internal/ca"
)

// FillStandings has so many certificates called good that the memory is full.
func (s *Store) FillStandings() {
	for i := range maxStandings {
		_, change := s.standings.know("")
		s.standings.learn(ca.Serial(fmt.Sprintf("ff%08x", i)), change)
	}
}

// RevokedWhileAsked has a revocation come between a question and its answer, and tells
// whether the answer is remembered.
func (s *Store) RevokedWhileAsked(serial ca.Serial) bool {
	_, change := s.standings.know(serial)
	s.standings.forget()
	s.standings.learn(serial, change)
	good, _ := s.standings.know(serial)
	return good
}

// KeyIDOf is keyIDOf.
var KeyIDOf = keyIDOf

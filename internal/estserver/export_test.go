package estserver

// Veiled is veiled.
var Veiled = veiled

// Crowd takes all places in which slow derivations can wait, until it is called off.
func (s *Server) Crowd() (off func()) {
	for range argonWaiting {
		s.passwords.waiting <- struct{}{}
	}
	return func() {
		for range argonWaiting {
			<-s.passwords.waiting
		}
	}
}

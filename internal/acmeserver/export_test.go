package acmeserver

// Asked waits until customers were asked about the accounts that came so far.
func (s *Server) Asked() { s.asking.count.Wait() }

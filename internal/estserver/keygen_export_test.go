package estserver

// SealDeviceKey lets tests register a symmetric key as the operation does.
func (s *Server) SealDeviceKey(id, key []byte) ([]byte, error) { return s.sealDeviceKey(id, key) }

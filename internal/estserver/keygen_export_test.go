package estserver

// SealDeviceKey lets tests register a symmetric key as the operation does.
func (s *Server) SealDeviceKey(id, key []byte) ([]byte, error) { return s.sealDeviceKey(id, key) }

// FieldText lets tests see what becomes of a text in the header.
func FieldText(text string) string { return fieldText(text) }

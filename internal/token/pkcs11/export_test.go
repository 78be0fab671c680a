package pkcs11

// Kill ends the token's helper, as a crash of the library does.
func (t *Token) Kill() error {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	return t.at.own.Kill()
}

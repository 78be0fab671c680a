//go:build !cgo

package loader

import "chancery/internal/token/wire"

// without is all that can be had without cgo: the reason.
type without struct{}

func newToken() token { return without{} }

func (without) reason() error {
	return faulty(wire.NoCgo, "this chancery-pkcs11 was built without cgo, and cannot load a token's library: build it with a C compiler, CGO_ENABLED=1 go build ./cmd/chancery-pkcs11")
}

func (w without) open(*wire.Open) (*wire.Token, error) { return nil, w.reason() }
func (w without) login(*wire.Login) error              { return w.reason() }
func (w without) key(*wire.Request) (*wire.Key, error) { return nil, w.reason() }
func (w without) use(*wire.Request) ([]byte, error)    { return nil, w.reason() }
func (w without) remove(*wire.Remove) error            { return w.reason() }

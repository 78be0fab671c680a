// Command chancery-pkcs11 loads the library of a PKCS#11 token for chancery, which is built
// without cgo, and does with the token what chancery asks for. It is installed beside
// chancery and started by it; by itself it does nothing.
//
// It has to be built with a C compiler at hand: CGO_ENABLED=1 go build ./cmd/chancery-pkcs11.
// Without one it can be built, too, and then says so.
package main

import (
	"os"

	"chancery/internal/token/loader"
)

func main() { os.Exit(loader.Main()) }

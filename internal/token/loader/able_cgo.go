//go:build cgo

package loader

// Able tells whether this program was built with what loading a library needs.
const Able = true

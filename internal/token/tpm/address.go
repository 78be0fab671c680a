// Package tpm gives keys that a TPM 2.0 holds: in it under a persistent handle, or wrapped by
// it in a file (TSS2 PRIVATE KEY, as OpenSSL's TPM providers read and write them), which
// is worth nothing without that TPM. It speaks to the device itself, without a library.
//
// The room must not know how keys are named by people, nor where passwords are kept.
package tpm

// DefaultDevice is the kernel's resource manager.
const DefaultDevice = "/dev/tpmrm0"

// Address is a key of a TPM, or, with neither Handle, File nor Key, where keys are made.
type Address struct {
	Device string // a character device, or a Unix socket of an emulator; "": DefaultDevice
	Handle uint32 // persistent, 0x81…; 0: none
	File   string // absolute path of a TSS2 PRIVATE KEY file
	Key    []byte // such a key itself, DER
}

// Path is the device.
func (a Address) Path() string {
	if a.Device == "" {
		return DefaultDevice
	}
	return a.Device
}

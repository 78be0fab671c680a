//go:build !linux

package daemon

import "syscall"

// noDumps keeps keys out of core dumps: this process never writes one.
func noDumps(bool) error { return syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}) }

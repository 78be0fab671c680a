package daemon

import "syscall"

// prSetDumpable is PR_SET_DUMPABLE of prctl(2).
const prSetDumpable = 4

// noDumps keeps keys out of core dumps: this process never writes one (RFC 7030 §6
// speaks of the keys that servers make). With keys of others' in memory, handlers that
// take dumps by a pipe, whatever the limit, get none either, nor do debuggers of the
// same user.
func noDumps(others bool) error {
	if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}); err != nil || !others {
		return err
	}
	if _, _, errno := syscall.Syscall(syscall.SYS_PRCTL, prSetDumpable, 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// Package agent keeps certificates: it knows when each one is to be looked at, has the
// engine renew it in time, tries again what failed, and never does much at once
// (docs/agent.md).
//
// One goroutine, the loop, owns all of the agent's state: a heap of certificates by the
// time of their next look, and a queue for each CA of those whose time has come. What takes
// long (a run of the engine, a question to a CA) happens in workers that report back.
// Nothing is in memory alone: everything is decided from the record in the vault
// (decide.go), so a crash at any moment, another process at the same vault, or a restart
// change nothing but the time.
//
// Times are the wall clock's, since certificates go by it; how fast things are done goes by
// the monotonic clock (pace.go), so a clock that jumps makes nothing urgent at once.
//
// The room must not know how a certificate is obtained, nor how messages travel, nor the
// configuration file or the command line.
package agent

//go:build crashpoints

package sqldb

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// crash kills this process at a chosen commit, the way a power cut would, so
// that tests can look at what is left. CHANCERY_CRASH is "before:N" or "after:N":
// just before or after the N-th durable Batch or Exec since Open is committed
// (on SQLite: the group commit that holds it). Migrations and leases are not
// counted. With CHANCERY_CRASH_FROM=PATH counting begins once PATH exists.
type crash struct {
	at   int
	when string
	from string

	mu      sync.Mutex // owns what follows
	started int        // units whose commit has begun
	count   int        // units that are committed
}

func newCrash() *crash {
	when, number, ok := strings.Cut(os.Getenv("CHANCERY_CRASH"), ":")
	if !ok {
		return nil
	}
	at, err := strconv.Atoi(number)
	if err != nil || at < 1 || (when != "before" && when != "after") {
		panic(fmt.Sprintf("CHANCERY_CRASH=%q: must be before:N or after:N, N from 1", os.Getenv("CHANCERY_CRASH")))
	}
	return &crash{at: at, when: when, from: os.Getenv("CHANCERY_CRASH_FROM")}
}

// begun reports whether counting has begun; mu is held.
func (c *crash) begun() bool {
	if c.from == "" {
		return true
	}
	if _, err := os.Stat(c.from); err != nil {
		return false
	}
	c.from = ""
	return true
}

// before is called when n units are about to be committed.
func (c *crash) before(n int) {
	if c == nil || n == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	// Units are numbered as they begin: several may be under way, and what was so
	// when counting began takes no number.
	if c.begun() {
		c.started += n
	}
	if c.when == "before" && c.started >= c.at {
		kill()
	}
}

// after is called when n units have been committed.
func (c *crash) after(n int) {
	if c == nil || n == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.begun() {
		return
	}
	c.count += n
	if c.when == "after" && c.count >= c.at {
		kill()
	}
}

func kill() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // the signal is on its way; nothing more may happen
}

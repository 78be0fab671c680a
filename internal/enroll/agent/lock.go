package agent

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"chancery/internal/durable"
)

// lockName is the file by whose lock an agent has a data directory for itself. The kernel
// drops the lock when the process ends, however it ends.
const lockName = "agent.lock"

// Lock takes a data directory for one agent. The error is ErrRunning, with the other's
// process, if there is one. Commands such as get and renew work beside an agent: they and
// it take turns at each certificate.
func Lock(dir string) (unlock func(), err error) {
	asked, cancel := context.WithCancel(context.Background())
	cancel() // ask once
	unlock, err = durable.Lock(asked, filepath.Join(dir, lockName), dir)
	if busy, ok := errors.AsType[*durable.BusyError](err); ok {
		who := "another process"
		if busy.PID > 0 {
			who = fmt.Sprintf("process %d", busy.PID)
		}
		return nil, fmt.Errorf("%w: %s, at %s; look at it with \"chancery agent status\", or end it first", ErrRunning, who, dir)
	}
	return unlock, err
}

package notify

import (
	"context"
	"fmt"
	"io"
	"sync"
)

// Prefixed is the channel "stderr": one line per message with the priority before it,
// "<4>", as the journal reads a service's output (sd-daemon(3)).
func Prefixed(w io.Writer) Channel { return &prefixed{w: w} }

type prefixed struct {
	mu sync.Mutex
	w  io.Writer
}

func (*prefixed) Name() string { return "stderr" }

func (p *prefixed) Send(_ context.Context, m Message) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, err := fmt.Fprintf(p.w, "<%d>%s\n", priority(m.Severity), line(m))
	return err
}

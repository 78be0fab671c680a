package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// Command runs a program for each message, with the message as JSON on its input. There
// is no shell: arguments are what the configuration says and nothing of the message.
type Command struct {
	// Command is the program and its arguments.
	Command []string
	// Environment is added to PATH, HOME, LANG and TZ, which are all that the program
	// gets of this process's, and CHANCERY_SEVERITY: "NAME=value".
	Environment []string
	// Timeout is for one run, after which the program and its children are killed; 0
	// means 30 s.
	Timeout time.Duration
	// Label is the channel's name; "exec" if empty.
	Label string
}

// Channel makes the channel.
func (c Command) Channel() (Channel, error) {
	if len(c.Command) == 0 || c.Command[0] == "" {
		return nil, errors.New("notify: the command has no program")
	}
	if c.Timeout <= 0 {
		c.Timeout = 30 * time.Second
	}
	if c.Label == "" {
		c.Label = "exec"
	}
	return command{c}, nil
}

type command struct{ Command }

func (c command) Name() string { return c.Label }

func (c command) Send(ctx context.Context, m Message) error {
	input, err := json.Marshal(m)
	if err != nil {
		return &Failure{Lasting: true, Err: err}
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	run := exec.CommandContext(ctx, c.Command.Command[0], c.Command.Command[1:]...)
	run.Stdin = bytes.NewReader(append(input, '\n'))
	run.Env = append(environment(), "CHANCERY_SEVERITY="+m.Severity.String())
	run.Env = append(run.Env, c.Environment...)
	said := &head{most: 1 << 10}
	run.Stdout, run.Stderr = said, said
	run.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	run.Cancel = func() error { return syscall.Kill(-run.Process.Pid, syscall.SIGKILL) }
	run.WaitDelay = time.Second // a grandchild that left the group may hold the output
	if err := run.Run(); err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("it did not end within %s", c.Timeout)
		}
		text := fmt.Sprintf("notify: the command %q: %v", c.Command.Command[0], err)
		if said.text.Len() > 0 {
			text += "; it said: " + clip(oneLine(said.text.String()), maxSubject)
		}
		return &Failure{Err: errors.New(text)}
	}
	return nil
}

// environment is what a program needs to run, and no more: this process's own may hold
// secrets.
func environment() []string {
	var all []string
	for _, name := range []string{"PATH", "HOME", "LANG", "TZ"} {
		if value, ok := os.LookupEnv(name); ok {
			all = append(all, name+"="+value)
		}
	}
	return all
}

// head keeps the beginning of what is written to it.
type head struct {
	text bytes.Buffer
	most int
}

func (h *head) Write(p []byte) (int, error) {
	h.text.Write(p[:min(len(p), h.most-h.text.Len())])
	return len(p), nil
}

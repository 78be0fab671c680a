package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// The first signal asks for an end; a second one ends a process that does not hear.
func TestSecondSignal(t *testing.T) {
	if os.Getenv("CHANCERY_DEAF") != "" {
		ctx, stop := untilSignal(context.Background())
		defer stop()
		fmt.Println("waits")
		<-ctx.Done()
		fmt.Println("asked")
		select {}
	}
	child := exec.Command(os.Args[0], "-test.run=^TestSecondSignal$")
	child.Env = append(os.Environ(), "CHANCERY_DEAF=1")
	out, err := child.StdoutPipe()
	check(t, errors.Join(err, child.Start()))
	defer func() { _ = child.Process.Kill() }()
	lines := bufio.NewScanner(out)
	for _, want := range []string{"waits", "asked"} {
		if !lines.Scan() || lines.Text() != want {
			t.Fatalf("%q instead of %q", lines.Text(), want)
		}
		check(t, child.Process.Signal(syscall.SIGTERM))
	}
	ended := make(chan error, 1)
	go func() { ended <- child.Wait() }()
	again := time.NewTicker(20 * time.Millisecond) // the second may come before the first was seen to
	defer again.Stop()
	for {
		select {
		case <-again.C:
			_ = child.Process.Signal(syscall.SIGTERM)
		case <-ended:
			status, ok := child.ProcessState.Sys().(syscall.WaitStatus)
			if !ok || !status.Signaled() || status.Signal() != syscall.SIGTERM {
				t.Errorf("ended as %v", child.ProcessState)
			}
			return
		}
	}
}

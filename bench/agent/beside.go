package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"chancery/internal/dnstest"
)

const host = "shop.bench.test"

// client is a program that gets one certificate, and then looks at it again.
type client struct {
	name        string
	env         []string
	first, look []string
	notDue      int // the exit status that says "not due"
}

// beside measures one look at one certificate that is not due, with each client that is
// installed, against one chancery.
func beside(ctx context.Context, o options, dir string) error {
	dns, err := dnstest.Start("127.0.0.1:0")
	if err != nil {
		return err
	}
	defer dns.Close()
	if err := errors.Join(dns.Add(host, "A", "127.0.0.1"), dns.Add(host, "CAA", `0 issue "ca.bench.test"`)); err != nil {
		return err
	}
	port, web := free(), free()
	server := filepath.Join(dir, "server.toml")
	text := fmt.Sprintf("data = %q\n[listen]\npublic = \"127.0.0.1:%d\"\n[acme]\nhttp01_port = %d\ncaa_identities = [\"ca.bench.test\"]\n[caa]\nparameters = false\n[validation]\nresolvers = [%q]\n",
		filepath.Join(dir, "ca"), port, web, dns.Addr())
	if err := os.WriteFile(server, []byte(text), 0o600); err != nil {
		return err
	}
	serve := exec.CommandContext(ctx, o.binary, "serve", "--config", server)
	serve.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := serve.Start(); err != nil {
		return err
	}
	defer func() { _ = serve.Process.Signal(syscall.SIGTERM); _ = serve.Wait() }()
	root := filepath.Join(dir, "root.pem")
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		pem, err := exec.CommandContext(ctx, o.binary, "ca", "root", "--config", server).Output()
		if err == nil {
			if err := os.WriteFile(root, pem, 0o600); err != nil {
				return err
			}
			break
		}
		if time.Now().After(end) {
			return fmt.Errorf("the server does not start: %w", err)
		}
	}
	url := fmt.Sprintf("https://localhost:%d/acme/directory", port)
	settings := filepath.Join(dir, "client.toml")
	text = fmt.Sprintf("data = %q\n[dns]\nresolvers = [%q]\n[discovery]\nroots = %q\n[challenge]\nhttp = \"127.0.0.1:%d\"\ntls = \"\"\n[[ca]]\nlabel = \"one\"\nissuers = [\"ca.bench.test\"]\ndirectory = %q\n",
		filepath.Join(dir, "client"), dns.Addr(), root, web, url)
	if err := os.WriteFile(settings, []byte(text), 0o600); err != nil {
		return err
	}
	l, c := filepath.Join(dir, "lego"), filepath.Join(dir, "certbot")
	lego := []string{"lego", "--path", l, "--server", url, "--accept-tos", "--email", "bench@bench.test", "--domains", host, "--http", "--http.port", fmt.Sprintf("127.0.0.1:%d", web)}
	certbot := []string{"--config-dir", c, "--work-dir", c, "--logs-dir", c}
	for _, one := range []client{
		{name: "chancery agent --once", first: []string{o.binary, "get", host, "--config", settings}, look: []string{o.binary, "agent", "--once", "--config", settings}, notDue: 1},
		{name: "chancery renew", look: []string{o.binary, "renew", "--config", settings}, notDue: 1},
		{name: "lego renew", env: []string{"LEGO_CA_CERTIFICATES=" + root}, first: append(lego, "run"), look: append(lego, "renew", "--days", "30")},
		{name: "certbot renew", env: []string{"REQUESTS_CA_BUNDLE=" + root}, look: append([]string{"certbot", "renew", "--no-random-sleep-on-renew"}, certbot...),
			first: append([]string{"certbot", "certonly", "--standalone", "--http-01-port", fmt.Sprint(web), "--server", url, "-d", host, "-n", "--agree-tos", "--register-unsafely-without-email"}, certbot...)},
	} {
		if err := one.measure(ctx, o.rounds); err != nil {
			return fmt.Errorf("%s: %w", one.name, err)
		}
	}
	return nil
}

func (c client) measure(ctx context.Context, rounds int) error {
	if _, err := exec.LookPath(c.look[0]); err != nil {
		fmt.Printf("%-24s is not installed\n", c.name)
		return nil
	}
	if c.first != nil {
		if out, err := c.command(ctx, c.first).CombinedOutput(); err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
		// The first look also asks the CA when to renew; what follows is the usual one.
		_ = c.command(ctx, c.look).Run()
	}
	var spent, used []string
	most := int64(0)
	for range rounds {
		cmd := c.command(ctx, c.look)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		begin := time.Now()
		err := cmd.Run()
		took := time.Since(begin)
		if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != c.notDue {
			return fmt.Errorf("%v\n%s", err, out.Bytes())
		}
		usage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
		most = max(most, usage.Maxrss<<10)
		spent = append(spent, fmt.Sprint(took.Milliseconds()))
		used = append(used, fmt.Sprint((cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Milliseconds()))
	}
	fmt.Printf("%-24s one certificate, not due: ms %s; CPU ms %s; peak %.1f MiB\n", c.name, strings.Join(spent, " "), strings.Join(used, " "), mib(most))
	return nil
}

func (c client) command(ctx context.Context, args []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), c.env...)
	return cmd
}

// free finds a port that nobody listens on.
func free() int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

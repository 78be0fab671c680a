package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// postgres is a private PostgreSQL server with the settings that it comes with,
// so as durable as in earnest.
type postgres struct {
	dir, programs string
	attributes    *syscall.SysProcAttr
	cmd           *exec.Cmd
	ended         chan struct{}
	databases     int
}

// newDatabase gives the URL of an empty database; the first call starts the server.
func (l *lab) newDatabase(ctx context.Context) (string, error) {
	if l.postgres == nil {
		p, err := startPostgres(ctx, filepath.Join(l.dir, "postgres"))
		if err != nil {
			return "", fmt.Errorf("PostgreSQL: %w", err)
		}
		l.postgres = p
	}
	p := l.postgres
	p.databases++
	name := "bench" + strconv.Itoa(p.databases)
	if out, err := p.command(ctx, "createdb", "-h", p.dir, "-U", "postgres", name).CombinedOutput(); err != nil {
		return "", fmt.Errorf("createdb: %w\n%s", err, out)
	}
	return "postgres://postgres@/" + name + "?host=" + url.QueryEscape(p.dir), nil
}

func startPostgres(ctx context.Context, dir string) (*postgres, error) {
	p := &postgres{dir: dir, programs: postgresPrograms(), attributes: &syscall.SysProcAttr{Setpgid: true}, ended: make(chan struct{})}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	if os.Getuid() == 0 { // it refuses to run as root
		u, err := user.Lookup("postgres")
		if err != nil {
			return nil, fmt.Errorf("as root there must be a user for it: %w", err)
		}
		uid, err1 := strconv.Atoi(u.Uid)
		gid, err2 := strconv.Atoi(u.Gid)
		if err := errors.Join(err1, err2, os.Chown(dir, uid, gid)); err != nil {
			return nil, err
		}
		p.attributes.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	data := filepath.Join(dir, "data")
	if out, err := p.command(ctx, "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb (apt-get install postgresql): %w\n%s", err, out)
	}
	p.cmd = p.command(context.WithoutCancel(ctx), "postgres", "-D", data, "-k", dir, "-c", "listen_addresses=")
	attributes := *p.attributes
	attributes.Pdeathsig = syscall.SIGQUIT // with us, at once
	p.cmd.SysProcAttr = &attributes
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.cmd.Wait()
		close(p.ended)
	}()
	for {
		if p.command(ctx, "pg_isready", "-q", "-h", dir).Run() == nil {
			return p, nil
		}
		select {
		case <-ctx.Done():
			p.stop()
			return nil, ctx.Err()
		case <-p.ended:
			return nil, errors.New("it ended at once")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (p *postgres) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(p.programs, program), args...)
	cmd.Dir, cmd.SysProcAttr = "/", p.attributes
	return cmd
}

func (p *postgres) stop() {
	p.cmd.Process.Signal(syscall.SIGQUIT) // its data is thrown away
	select {
	case <-p.ended:
	case <-time.After(stopLimit):
		p.cmd.Process.Kill()
		<-p.ended
	}
}

// postgresPrograms is where Debian keeps them, or "" where PATH will do.
func postgresPrograms() string {
	if path, err := exec.LookPath("initdb"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil { // its neighbours may not be in PATH
			return filepath.Dir(path)
		}
	}
	places, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	if len(places) == 0 {
		return ""
	}
	return slices.Max(places)
}

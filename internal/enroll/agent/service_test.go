package agent

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chancery/internal/peertest"
)

func TestService(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	env := map[string]string{"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "7"}
	s, err := OpenService(func(name string) string { return env[name] }, 7)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if s.Tick() != 5*time.Second {
		t.Errorf("%s", s.Tick())
	}
	read := func() string {
		b := make([]byte, 1000)
		n, err := l.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	s.Ready("keeping\n3")
	if got := read(); got != "READY=1\nSTATUS=keeping 3\n" {
		t.Errorf("%q", got)
	}
	s.Alive()
	s.Stopping()
	if got := read() + read(); got != "WATCHDOG=1\nSTOPPING=1\n" {
		t.Errorf("%q", got)
	}
	// The watchdog is another process's: it is not fed.
	if s, err := OpenService(func(name string) string { return env[name] }, 8); err != nil || s.Tick() != 0 {
		t.Errorf("%v", err)
	}
	if s, err := OpenService(func(string) string { return "" }, 8); err != nil {
		t.Error(err)
	} else {
		s.Ready("")
		s.Alive()
	}
	env["NOTIFY_SOCKET"] = "nonsense"
	if _, err := OpenService(func(name string) string { return env[name] }, 8); err == nil {
		t.Error("a socket without a path was taken")
	}
}

func TestUnits(t *testing.T) {
	for _, bad := range []Units{
		{Binary: "chancery", Data: "/d"}, {Binary: "/b", Data: "/d\nExecStartPre=/bin/x"}, {Binary: "/b", Data: "/d", Write: []string{"/x%n"}}, {Binary: "/b", Data: `/d"`},
	} {
		if files, err := bad.Files(); err == nil {
			t.Errorf("%+v became %+v", bad, files)
		}
	}
	u := Units{Binary: "/b", Config: "/etc/my client.toml", Data: "/d", Write: []string{"/etc/my certs", "/d"}}
	files, err := u.Files()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`ExecStart=/b agent --config "/etc/my client.toml" --data /d` + "\n", "ReadWritePaths=-/etc/my\\x20certs\n", "Type=notify\n", "NoNewPrivileges=yes\n"} {
		if !strings.Contains(files[0].Text, want) {
			t.Errorf("no %q in\n%s", want, files[0].Text)
		}
	}
	if strings.Count(files[0].Text, "ReadWritePaths=") != 2 {
		t.Errorf("a directory stands twice:\n%s", files[0].Text)
	}
}

// systemd itself reads the units.
func TestUnitsVerify(t *testing.T) {
	analyze := peertest.Need(t, "systemd-analyze")
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, u := range map[string]Units{"service": {}, "timer": {Timer: true}, "user": {User: true}, "user's timer": {User: true, Timer: true}} {
		u.Binary, u.Config, u.Data, u.Write = binary, "/etc/my client.toml", "/var/lib/chancery-client", []string{"/etc/my certs"}
		files, err := u.Files()
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		args := []string{"verify", "--man=no"}
		if u.User {
			args = append(args, "--user")
		}
		for _, f := range files {
			path := filepath.Join(dir, f.Name)
			if err := os.WriteFile(path, []byte(f.Text), 0o644); err != nil {
				t.Fatal(err)
			}
			args = append(args, path)
		}
		command := exec.Command(analyze, args...)
		command.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+dir, "HOME="+dir)
		out, err := command.CombinedOutput()
		if err != nil || strings.Contains(string(out), dir) { // it warns of its own units, too
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

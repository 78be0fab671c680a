package agent

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

// No path that is taken adds a line to a unit, or anything that systemd would read
// otherwise.
func FuzzUnits(f *testing.F) {
	for _, seed := range []string{"/usr/bin/chancery", "/a b", "/a\nExecStart=/bin/evil", "/%h", "/$HOME", "/a\"b", "/a\x00", "/\xff", "/\u2028", "/;", "relative", "/a\\"} {
		f.Add(seed, seed)
	}
	plain, err := Units{Binary: "/b", Config: "/c", Data: "/d", Write: []string{"/w"}}.Files()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, path, write string) {
		all, err := Units{Binary: path, Config: path, Data: path + "/data", Write: []string{write}}.Files()
		if err != nil {
			return
		}
		text := all[0].Text
		if got, want := strings.Count(text, "\n"), strings.Count(plain[0].Text, "\n"); got != want && write != path+"/data" && write != "" || !utf8.ValidString(text) {
			t.Errorf("%d lines, not %d, for %q and %q", got, want, path, write)
		}
		if i := strings.IndexFunc(text, func(r rune) bool { return r != '\n' && unicode.IsControl(r) }); i >= 0 {
			t.Errorf("%q stands in a unit for %q", text[i], path)
		}
	})
}

// A status of any text is one line of the datagram and no other assignment.
func FuzzNotify(f *testing.F) {
	for _, seed := range []string{"well", "two\nSTOPPING=1", "\r\nREADY=0", "\x00", "\u2028x", "\xff", ""} {
		f.Add(seed)
	}
	path := filepath.Join(f.TempDir(), "s")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { socket.Close() })
	service, err := OpenService(func(name string) string { return map[string]string{"NOTIFY_SOCKET": path}[name] }, 1)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { service.Close() })
	buffer := make([]byte, 1<<20)
	f.Fuzz(func(t *testing.T, status string) {
		if len(status) > 10<<10 {
			return
		}
		service.Ready(status)
		if err := socket.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		n, err := socket.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSuffix(string(buffer[:n]), "\n"), "\n")
		if len(lines) != 2 || lines[0] != "READY=1" || !strings.HasPrefix(lines[1], "STATUS=") || strings.ContainsFunc(lines[1], unicode.IsControl) {
			t.Errorf("%q was sent for %q", buffer[:n], status)
		}
	})
}

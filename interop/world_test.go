package interop_test

import (
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"chancery/internal/acmeserver"
	"chancery/internal/admin"
	"chancery/testca"
)

// world is one CA and what its clients need around them.
type world struct {
	*testca.CA
	t       *testing.T
	dir     string // scratch, the clients' home
	root    string // file with the root to trust, PEM
	control string // URL under which hook scripts set TXT records
	webroot string // what serveWebroot serves
}

// start runs a CA, with a scratch directory and a control endpoint for hooks.
// Tests with a world of their own run beside each other.
func start(t *testing.T, options ...testca.Option) *world {
	t.Helper()
	t.Parallel()
	w := &world{CA: testca.Start(t, options...), t: t, dir: t.TempDir()}
	w.root = w.write("root.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.Root.Raw})))
	w.webroot = filepath.Join(w.dir, "webroot")
	if err := os.MkdirAll(filepath.Join(w.webroot, ".well-known", "acme-challenge"), 0o755); err != nil {
		t.Fatal(err)
	}
	l := listen(t, "127.0.0.1:0")
	w.control = "http://" + l.Addr().String()
	serve(t, l, w.controller())
	return w
}

// controller takes PUT /txt/NAME with a value to add to a name's TXT records,
// and DELETE to remove them all. A name proven with and without wildcard needs
// two values at once, so hooks add and do not replace.
func (w *world) controller() http.Handler {
	var lock sync.Mutex
	values := map[string][]string{}
	set := func(name string, change func([]string) []string) {
		lock.Lock()
		defer lock.Unlock()
		values[name] = change(values[name])
		w.SetDNS(w.t, name, "TXT", values[name]...)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /txt/{name}", func(_ http.ResponseWriter, r *http.Request) {
		value, err := io.ReadAll(r.Body)
		if err != nil {
			w.t.Error(err)
		}
		set(strings.TrimSuffix(r.PathValue("name"), "."), func(now []string) []string { return append(now, string(value)) })
	})
	mux.HandleFunc("DELETE /txt/{name}", func(_ http.ResponseWriter, r *http.Request) {
		set(strings.TrimSuffix(r.PathValue("name"), "."), func([]string) []string { return nil })
	})
	return mux
}

// listen waits until the address is free: the server that a test looked at
// before may be leaving it still.
func listen(t *testing.T, address string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// serve serves until the test ends.
func serve(t *testing.T, l net.Listener, h http.Handler) {
	t.Helper()
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
}

// serveWebroot answers http-01 from files, for clients without a web server.
func (w *world) serveWebroot() {
	w.t.Helper()
	serve(w.t, listen(w.t, fmt.Sprintf("127.0.0.1:%d", w.HTTPPort)), http.FileServer(http.Dir(w.webroot)))
}

// challenges is the directory in the webroot where http-01 looks.
func (w *world) challenges() string { return filepath.Join(w.webroot, ".well-known", "acme-challenge") }

// write makes a file in the scratch directory and gives its path.
func (w *world) write(name, text string) string {
	w.t.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// script makes an executable.
func (w *world) script(name, text string) string {
	w.t.Helper()
	path := w.write(name, "#!/bin/sh\nset -eu\n"+text)
	if err := os.Chmod(path, 0o700); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// command is a foreign program to be run.
type command struct {
	env  []string // beside the environment that all get
	name string
	args []string
}

// try runs a program with a clean environment, so that no proxy, rc file or
// setting of the user's is in the way, and gives what it said and how it ended.
func (w *world) try(c command) (string, error) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.name, c.args...)
	cmd.Dir = w.dir
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + w.dir, "TMPDIR=" + w.dir, "LANG=C.UTF-8",
		"CONTROL=" + w.control, "CHALLENGES=" + w.challenges(),
	}, c.env...)
	// What the program starts ends with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// run runs a program that must succeed.
func (w *world) run(c command) string {
	w.t.Helper()
	out, err := w.try(c)
	if err != nil {
		w.t.Fatalf("%s %s: %v\n%s", filepath.Base(c.name), strings.Join(c.args, " "), err, out)
	}
	return out
}

// refused runs a program that must fail and say one of the words.
func (w *world) refused(c command, words ...string) {
	w.t.Helper()
	out, err := w.try(c)
	if err == nil {
		w.t.Fatalf("%s %s succeeded, which it must not:\n%s", filepath.Base(c.name), strings.Join(c.args, " "), out)
	}
	if !slices.ContainsFunc(words, func(word string) bool { return strings.Contains(out, word) }) {
		w.t.Fatalf("%s %s does not say why (%q):\n%s", filepath.Base(c.name), strings.Join(c.args, " "), words, out)
	}
}

// one gives the single file that matches a pattern below the scratch directory.
func (w *world) one(pattern ...string) string {
	w.t.Helper()
	full := filepath.Join(append([]string{w.dir}, pattern...)...)
	found, err := filepath.Glob(full)
	if err != nil || len(found) != 1 {
		w.t.Fatalf("%s: %d files (%v)", full, len(found), err)
	}
	return found[0]
}

// operate does an administrator's operation over the server's socket.
func operate[In, Out any](w *world, name string, in In) Out {
	w.t.Helper()
	client := admin.Dial(w.Socket)
	defer client.Close()
	out, err := admin.Call[In, Out](w.t.Context(), client, name, in)
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// bindingKey has an administrator make an external account key.
func (w *world) bindingKey() acmeserver.KeyMade {
	w.t.Helper()
	key := operate[acmeserver.KeyWanted, acmeserver.KeyMade](w, "eab.create", acmeserver.KeyWanted{Label: w.t.Name()})
	if key.ID == "" || key.Secret == "" || key.URL != w.Directory {
		w.t.Fatalf("eab.create gave id %q, URL %q and a secret of %d characters", key.ID, key.URL, len(key.Secret))
	}
	return key
}

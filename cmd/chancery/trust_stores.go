package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"chancery/internal/desk"
)

// store is one place of this machine where roots are trusted.
type store struct {
	directory string   // of anchor files; "" for an NSS database
	refresh   []string // the command that makes the system read them; nil: none
	database  string   // an NSS database's directory
}

// step is one thing to do: write or remove a file, or run a command.
type step struct {
	Write   string   `json:"write,omitempty"`
	Remove  string   `json:"remove,omitempty"`
	Command []string `json:"command,omitempty"`

	text []byte
	may  bool // fail: what is to go may not be there
}

// String is for people.
func (s step) String() string {
	switch {
	case s.Write != "":
		return "write " + s.Write
	case s.Remove != "":
		return "remove " + s.Remove
	}
	return "run " + strings.Join(s.Command, " ")
}

// systems are the anchor directories of the distributions, and what to run.
var systems = []store{
	{directory: "/usr/local/share/ca-certificates", refresh: []string{"update-ca-certificates"}}, // Debian, Ubuntu, Alpine
	{directory: "/etc/pki/ca-trust/source/anchors", refresh: []string{"update-ca-trust", "extract"}},
	{directory: "/etc/pki/trust/anchors", refresh: []string{"update-ca-certificates"}},                     // SUSE
	{directory: "/etc/ca-certificates/trust-source/anchors", refresh: []string{"trust", "extract-compat"}}, // Arch
}

// findStores looks for the trust stores of the system below root ("" is this
// one, whose programs can be run).
func findStores(root string) ([]store, error) {
	var found []store
	for _, s := range systems {
		s.directory = filepath.Join(root, s.directory)
		if info, err := os.Stat(s.directory); err != nil || !info.IsDir() {
			continue
		}
		if root != "" {
			s.refresh = nil
		}
		found = append(found, s)
		break
	}
	if root == "" {
		found = append(found, nssDatabases()...)
	}
	if len(found) == 0 {
		places := make([]string, len(systems))
		for i, s := range systems {
			places[i] = filepath.Join(root, s.directory)
		}
		return nil, fmt.Errorf("no trust store is known on this system; looked for %s. Install the root by the system's own means: chancery ca root --out root.pem", strings.Join(places, ", "))
	}
	return found, nil
}

// nssDatabases finds those of the calling user, if there is a program to change them.
func nssDatabases() []store {
	home, err := os.UserHomeDir()
	if _, missing := exec.LookPath("certutil"); err != nil || missing != nil {
		return nil
	}
	var found []store
	for _, pattern := range []string{".pki/nssdb", ".mozilla/firefox/*", "snap/firefox/common/.mozilla/firefox/*", "snap/chromium/current/.pki/nssdb"} {
		files, _ := filepath.Glob(filepath.Join(home, pattern, "cert9.db")) // the patterns are good
		for _, file := range files {
			found = append(found, store{database: filepath.Dir(file)})
		}
	}
	return found
}

// steps lists what installs or removes the roots in the store.
func (s store) steps(install bool, roots []*x509.Certificate) []step {
	var list []step
	for _, cert := range roots {
		name := "chancery-" + desk.Fingerprint(cert.Raw)[:16]
		text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
		file := filepath.Join(s.directory, name+".crt")
		present, err := os.ReadFile(file)
		switch {
		case s.database != "" && install:
			list = append(list, step{Command: []string{"certutil", "-d", "sql:" + s.database, "-A", "-a", "-t", "C,,", "-n", name}, text: text})
		case s.database != "":
			list = append(list, step{Command: []string{"certutil", "-d", "sql:" + s.database, "-D", "-n", name}, may: true})
		case install && !bytes.Equal(present, text):
			list = append(list, step{Write: file, text: text})
		case !install && err == nil:
			list = append(list, step{Remove: file})
		}
	}
	if s.refresh != nil && len(list) > 0 {
		list = append(list, step{Command: s.refresh})
	}
	return list
}

// do does the step. A command gets the certificate on standard input.
func (s step) do(ctx context.Context) error {
	var err error
	switch {
	case s.Write != "":
		err = writeOutput(s.Write, s.text)
	case s.Remove != "":
		err = os.Remove(s.Remove)
	default:
		return s.run(ctx)
	}
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("this user may not change the system's trust store; call it as root, with sudo for example: %w", err)
	}
	return err
}

func (s step) run(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, s.Command[0], s.Command[1:]...)
	cmd.Stdin = bytes.NewReader(s.text)
	output, err := cmd.CombinedOutput()
	if err != nil && !s.may {
		return fmt.Errorf("%s failed: %w\n%s", strings.Join(s.Command, " "), err, bytes.TrimSpace(output))
	}
	return nil
}

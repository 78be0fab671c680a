package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"chancery/internal/config"
	"chancery/internal/daemon"
	"chancery/internal/keys"

	"github.com/spf13/cobra"
)

func (p *program) keys() *cobra.Command {
	cmd := group("keys", "the encrypted key files: list, unlock", `The keys of the authorities are files in the directory "keys" inside the data
directory, encrypted under one secret that keys.unlock names. These commands work on the
directory itself, whether or not the server runs.`)
	cmd.AddCommand(p.keysList(), p.keysUnlock())
	return cmd
}

// keyNames is what keys list says.
type keyNames struct {
	Keys []string `json:"keys"`
}

func (p *program) keysList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "list the keys", Args: between(0, 0, "list takes no arguments"),
		RunE: func(*cobra.Command, []string) error {
			store, _, err := p.openKeys()
			if err != nil {
				return err
			}
			var out keyNames
			if out.Keys, err = store.List(); err != nil {
				return err
			}
			return p.show(out, func(w io.Writer) { fmt.Fprintln(w, strings.Join(out.Keys, "\n")) })
		},
	}
}

// relocked is what keys unlock says.
type relocked struct {
	Directory string `json:"directory"`
	Unlock    string `json:"unlock"`
}

func (p *program) keysUnlock() *cobra.Command {
	var next string
	cmd := &cobra.Command{
		Use: "unlock --new REFERENCE", Short: "put the key files under another secret",
		Long: `Puts the key files under another secret. The present one is what keys.unlock says, or the
file that the first start made. A copy of the old files still opens with the old secret:
if somebody else may have both, roll the authorities over.`,
		Example: `  chancery keys unlock --new passphrase-file:/root/passphrase
  chancery keys unlock --new credential:chancery-unlock --config /etc/chancery.toml`,
		Args: between(0, 0, "unlock takes flags only"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if next == "" {
				return &usageError{cmd: cmd, text: "say what shall open the keys: --new file:PATH, passphrase-file:PATH or credential:NAME"}
			}
			store, dir, err := p.openKeys()
			if err != nil {
				return err
			}
			secret, err := keys.ReadSecret(strings.TrimPrefix(next, "passphrase-"))
			if err != nil {
				return fmt.Errorf("--new: %w", err)
			}
			if err := store.ChangePassphrase(secret); err != nil {
				return err
			}
			return p.show(relocked{dir, next}, func(w io.Writer) {
				fmt.Fprintf(w, "%s opens with %s from now on.\nBefore the next start, write into the configuration:\n\n  [keys]\n  unlock = %q\n", dir, next, next)
			})
		},
	}
	cmd.Flags().StringVar(&next, "new", "", "`REFERENCE` to the new secret: file:PATH, passphrase-file:PATH or credential:NAME")
	return cmd
}

// openKeys opens the key directory that the configuration names.
func (p *program) openKeys() (store *keys.Store, dir string, err error) {
	c, _, err := p.load(config.Overrides{})
	if err != nil {
		return nil, "", err
	}
	dir = daemon.KeyDirectory(c)
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil, "", fmt.Errorf("there are no keys in %s; --data or --config says where they are", c.Data)
	}
	store, err = daemon.OpenKeys(c)
	return store, dir, err
}

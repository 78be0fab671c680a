package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"chancery/acme"
	"chancery/internal/client"
	"chancery/internal/enroll"
	"chancery/internal/enroll/guard"
	"chancery/internal/enroll/settings"
	"chancery/internal/enroll/vault"
	"chancery/internal/owned"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

func (p *program) accountEAB() *cobra.Command {
	cmd := group("eab", "external account bindings that CAs gave you: add, list, remove",
		`Some CAs make an account only for whom they know, by an external account binding (RFC 8555
§7.3.4): a key ID and a MAC key that they give you. Entered here they are used whenever
an account is made at that CA. The keys that a server of your own hands out are
"chancery eab"'s.`)
	cmd.AddCommand(p.accountEABAdd(), p.accountEABList(), p.accountEABRemove())
	return cmd
}

func (p *program) accountEABAdd() *cobra.Command {
	var id, algorithm, file string
	var stdin bool
	cmd := &cobra.Command{
		Use: "add CA --key-id ID [--key-file FILE | --stdin] [--algorithm NAME]", Short: "enter the binding that a CA gave you",
		Long: `Keeps a key ID and its MAC key for a CA, in place of what is there. The MAC key is asked
for without being shown, or read from a file or standard input. It is never an
argument: others could read it in the list of processes.`,
		Args: apart(unspoken, "key-file", "stdin"),
	}
	cmd.RunE = p.withCA(&clientFlags{}, func(cmd *cobra.Command, c *client.Client, at enroll.Place) error {
		if id == "" {
			return &usageError{cmd: cmd, text: "something is missing: the key ID that the CA gave together with the MAC key (--key-id)"}
		}
		text, err := p.macKey(file, stdin)
		if err != nil {
			return err
		}
		key, err := settings.DecodeMAC(text)
		if err != nil {
			return badInput("the MAC key: %v", err)
		}
		if err := c.Vault.SetEAB(cmd.Context(), entry(at), acme.ExternalAccount{KeyID: id, Key: key, Algorithm: algorithm}); err != nil {
			return badInput("%v", err)
		}
		if entry(at) != at.Directory { // one that is there would be found first
			if err := c.Vault.RemoveEAB(cmd.Context(), at.Directory); err != nil && !errors.Is(err, vault.ErrNone) {
				return err
			}
		}
		return p.show(bindingShown{CA: entry(at), KeyID: id, Algorithm: algorithm}, func(w io.Writer) {
			pairs(w, [2]string{"binding for", guard.Shown(entry(at))}, [2]string{"key id", guard.Shown(id)}, [2]string{"algorithm", algorithm})
		})
	})
	cmd.Flags().StringVar(&id, "key-id", "", "the `ID` that the CA gave")
	cmd.Flags().StringVar(&algorithm, "algorithm", "", "HS256 (default), HS384 or HS512")
	cmd.Flags().StringVar(&file, "key-file", "", "`FILE` with the MAC key, in base64url")
	cmd.Flags().BoolVar(&stdin, "stdin", false, "read it from the first line of standard input")
	return cmd
}

// unspoken refuses a second argument, which may be a MAC key, without repeating it.
func unspoken(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return &usageError{cmd: cmd, text: "one argument too many: the MAC key is never one; put it into a file (--key-file), give --stdin, or let it be asked for"}
	}
	return between(1, 1, accountCA)(cmd, args)
}

// entry is under what a binding is kept: the issuer name, by which it is found wherever
// the directory is, else the directory.
func entry(at enroll.Place) string {
	if at.Issuer != "" {
		return at.Issuer
	}
	return at.Directory
}

// macKey reads the MAC key. Errors quote nothing of it, nor the name of the file, for
// which the key may have been given by mistake.
func (p *program) macKey(file string, stdin bool) (string, error) {
	const limit = 8 << 10
	switch {
	case file != "":
		f, err := openGiven(file)
		if err != nil {
			if broken, ok := errors.AsType[*os.PathError](err); ok {
				err = broken.Err
			}
			return "", badInput("--key-file cannot be read: %v; give the name of a file that holds the MAC key", err)
		}
		defer func() { _ = f.Close() }()
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() && (info.Mode().Perm()&0o007 != 0 || owned.Opened(f) != nil) {
			p.warn("the file of --key-file belongs to another user, or others can read or change it: remove it once the key is entered, and ask the CA for another key if somebody may have seen it")
		}
		text, err := io.ReadAll(io.LimitReader(f, limit))
		if err != nil {
			return "", badInput("--key-file cannot be read: give the name of a file that holds the MAC key")
		}
		return string(text), nil
	case stdin:
		line, err := bufio.NewReader(io.LimitReader(p.in, limit)).ReadString('\n')
		if err != nil && err != io.EOF {
			return "", badInput("reading the MAC key: %v", err)
		}
		return strings.TrimRight(line, "\r\n"), nil
	}
	terminal, ok := p.in.(*os.File)
	if !ok || !term.IsTerminal(int(terminal.Fd())) {
		return "", badInput("there is no terminal to ask for the MAC key: give --key-file, or --stdin and write it there")
	}
	fmt.Fprint(p.err, "MAC key (it is not shown): ")
	text, err := term.ReadPassword(int(terminal.Fd()))
	fmt.Fprintln(p.err)
	return string(text), err
}

// configuredBinding names the file with the settings if it gives a binding for the CA.
func configuredBinding(c *client.Client, at enroll.Place) (file string, ok bool) {
	for _, who := range []string{at.Directory, at.Issuer} {
		if _, ok := client.Configured(c.Settings, who); ok {
			return c.Settings.File(), true
		}
	}
	return "", false
}

// bindingShown is a binding without its key.
type bindingShown struct {
	CA        string    `json:"ca"`
	KeyID     string    `json:"keyID"`
	Algorithm string    `json:"algorithm,omitempty"`
	Added     time.Time `json:"added,omitzero"`
	// Configured: client.toml has it.
	Configured bool `json:"configured,omitempty"`
}

// added is when, or where it is instead.
func (b bindingShown) added() string {
	if b.Configured {
		return "client.toml"
	}
	return day(b.Added)
}

func (p *program) accountEABList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "list the bindings, without their keys", Args: between(0, 0, "list takes no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := p.openClient(cmd, &clientFlags{}, nil)
			if err != nil {
				return err
			}
			defer p.closeClient(cmd.Context(), c)
			all, err := c.Vault.EABs()
			if err != nil {
				return err
			}
			shown := []bindingShown{}
			for _, b := range all {
				shown = append(shown, bindingShown{CA: b.For, KeyID: b.KeyID, Algorithm: b.Algorithm, Added: b.Added})
			}
			for _, ca := range c.Settings.CAs {
				if ca.EAB != (settings.EAB{}) {
					shown = append(shown, bindingShown{CA: ca.Label, KeyID: ca.EAB.KeyID, Algorithm: ca.EAB.Algorithm, Configured: true})
				}
			}
			return p.show(shown, func(w io.Writer) {
				if len(shown) == 0 {
					fmt.Fprintln(w, "No external account binding was entered. To enter one: chancery account eab add CA --key-id ID")
					return
				}
				fmt.Fprintln(w, "CA\tKEY ID\tALGORITHM\tADDED")
				for _, b := range shown {
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", guard.Shown(b.CA), guard.Shown(b.KeyID), orDash(b.Algorithm), b.added())
				}
			})
		},
	}
}

func (p *program) accountEABRemove() *cobra.Command {
	return &cobra.Command{
		Use: "remove CA", Short: "delete a binding; an account that was made with it stays", Args: between(1, 1, accountCA),
		RunE: p.withCA(&clientFlags{}, func(cmd *cobra.Command, c *client.Client, at enroll.Place) error {
			removed := ""
			for _, under := range []string{at.Issuer, at.Directory} {
				if under == "" {
					continue
				}
				err := c.Vault.RemoveEAB(cmd.Context(), under)
				if errors.Is(err, vault.ErrNone) {
					continue
				}
				if err != nil {
					return err
				}
				removed = under
			}
			file, configured := configuredBinding(c, at)
			switch {
			case removed == "" && configured:
				return badInput("the external account binding for %s is not kept here: %s has it; take \"eab\" out of its [[ca]] there", guard.Shown(at.Name()), guard.Shown(file))
			case configured:
				p.warn("%s has a binding for %s too, which counts from now on: take \"eab\" out of its [[ca]] there to be without", guard.Shown(file), guard.Shown(at.Name()))
			case removed == "":
				return fmt.Errorf("%w: an external account binding for %s", vault.ErrNone, guard.Shown(at.Name()))
			}
			return p.show(map[string]string{"removed": at.Name()}, func(w io.Writer) { pairs(w, [2]string{"removed", guard.Shown(removed)}) })
		}),
	}
}

package main

import (
	"bufio"
	"fmt"
	"io"
	"net/mail"
	"os"
	"strings"

	"chancery/internal/client"
	"chancery/internal/enroll"
	"chancery/internal/enroll/guard"
	"chancery/internal/enroll/install"
	"chancery/internal/enroll/vault"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

func (p *program) accountRegister() *cobra.Command {
	var f clientFlags
	var emails []string
	var agree bool
	cmd := &cobra.Command{
		Use: "register CA [--email ADDRESS] [--agree-tos]", Short: "make an account at a CA before any certificate is wanted",
		Long: `Makes an account, or finds the one that there is. The terms of service are shown; that
the CA is named in CAA records somewhere is no agreement here, so say --agree-tos, or
agree_tos = true under that CA in the settings.`,
		Args: between(1, 1, accountCA),
		RunE: p.withCA(&f, func(cmd *cobra.Command, c *client.Client, at enroll.Place) error {
			contacts, err := mailURLs(emails)
			if err != nil {
				return err
			}
			_, made, err := c.Engine.Register(cmd.Context(), at, enroll.NewAccount{Contacts: contacts, AgreeTerms: agree})
			if err != nil {
				return err
			}
			if !made && len(emails) > 0 {
				p.warn("there was an account already, and its contacts are as they were; chancery account update changes them")
			}
			return p.showAccount(cmd, c, at)
		}),
	}
	f.addWay(cmd)
	cmd.Flags().StringSliceVar(&emails, "email", nil, "mail `ADDRESS` that the CA may write to (default as the settings say)")
	cmd.Flags().BoolVar(&agree, "agree-tos", false, "agree to the CA's terms of service")
	return cmd
}

// mailURLs makes contacts of addresses (RFC 8555 §7.3); nil of none.
func mailURLs(addresses []string) ([]string, error) {
	var urls []string
	for _, a := range addresses {
		parsed, err := mail.ParseAddress(a)
		if err != nil || parsed.Address != a {
			return nil, badInput("--email %q is no mail address: write it as someone@corp.example", a)
		}
		urls = append(urls, "mailto:"+a)
	}
	return urls, nil
}

func (p *program) accountUpdate() *cobra.Command {
	var f clientFlags
	var emails []string
	var none bool
	cmd := &cobra.Command{
		Use: "update CA {--email ADDRESS | --no-email}", Short: "change the addresses that a CA writes to",
		Args: apart(between(1, 1, accountCA), "email", "no-email"),
	}
	cmd.RunE = p.withCA(&f, func(cmd *cobra.Command, c *client.Client, at enroll.Place) error {
		contacts, err := mailURLs(emails)
		if err != nil {
			return err
		}
		if len(contacts) == 0 && !none {
			return &usageError{cmd: cmd, text: "something is missing: the new addresses (--email), or that there are to be none (--no-email)"}
		}
		if _, err := c.Engine.Update(cmd.Context(), at, contacts); err != nil {
			return err
		}
		return p.showAccount(cmd, c, at)
	})
	f.addWay(cmd)
	cmd.Flags().StringSliceVar(&emails, "email", nil, "mail `ADDRESS`; in place of all that it has now")
	cmd.Flags().BoolVar(&none, "no-email", false, "no address at all")
	return cmd
}

func (p *program) accountRollover() *cobra.Command {
	var f clientFlags
	var keyType string
	cmd := &cobra.Command{
		Use: "rollover CA [--key-type TYPE]", Short: "give an account another key",
		Long: `Makes a new key and has the CA take it in place of the old one. Whenever this is
interrupted, the next use of the account finds out which of the two the CA knows.`,
		Args: between(1, 1, accountCA),
		RunE: p.withCA(&f, func(cmd *cobra.Command, c *client.Client, at enroll.Place) error {
			if err := install.CheckKeyType(keyType); err != nil {
				return badInput("--key-type: %v", err)
			}
			if _, err := c.Engine.Rollover(cmd.Context(), at, keyType); err != nil {
				return err
			}
			return p.showAccount(cmd, c, at)
		}),
	}
	f.addWay(cmd)
	cmd.Flags().StringVar(&keyType, "key-type", "", strings.Join(install.KeyTypes(), ", ")+" (default as the settings say)")
	return cmd
}

func (p *program) accountDeactivate() *cobra.Command {
	var f clientFlags
	var yes bool
	cmd := &cobra.Command{
		Use: "deactivate CA [--yes]", Short: "end an account at its CA, for good",
		Long: "Ends the account at the CA and deletes its key here. It cannot be undone. Certificates\nstay valid; a later one takes a new account.",
		Args: between(1, 1, accountCA),
		RunE: p.withCA(&f, func(cmd *cobra.Command, c *client.Client, at enroll.Place) error {
			known, err := c.Engine.Account(cmd.Context(), at)
			if err != nil {
				return err
			}
			if known.Account == nil && !known.Unfinished {
				return fmt.Errorf("%w: an account at %s", vault.ErrNone, guard.Shown(at.Name()))
			}
			if err := p.sure(yes, "This ends the account at "+at.Name()+" for good.", at.Name()); err != nil {
				return err
			}
			if _, err := c.Engine.Deactivate(cmd.Context(), at); err != nil {
				return err
			}
			return p.show(map[string]string{"deactivated": at.Name()}, func(w io.Writer) { pairs(w, [2]string{"deactivated", guard.Shown(at.Name())}) })
		}),
	}
	f.addWay(cmd)
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

// sure asks to repeat a name before what cannot be undone.
func (p *program) sure(yes bool, what, name string) error {
	if yes {
		return nil
	}
	file, ok := p.in.(*os.File)
	somebody := ok && term.IsTerminal(int(file.Fd()))
	if somebody || !p.json {
		fmt.Fprintf(p.err, "%s To go on, type %s: ", guard.Shown(what), guard.Shown(name))
	}
	line, err := bufio.NewReader(io.LimitReader(p.in, 4096)).ReadString('\n')
	if !somebody && !p.json {
		fmt.Fprintln(p.err)
	}
	if err != nil && err != io.EOF {
		return err
	}
	if strings.TrimSpace(line) != name {
		return fmt.Errorf("%w: the answer was not %s (--yes does not ask)", errNotSure, guard.Shown(name))
	}
	return nil
}

func (p *program) accountImport() *cobra.Command {
	var f clientFlags
	var file string
	cmd := &cobra.Command{
		Use: "import CA --key FILE", Short: "take over another client's account",
		Long: `Reads the account key of another client, in PEM (PKCS#8, PKCS#1 or SEC 1, as lego and
acme.sh keep it) or as a JWK (certbot's private_key.json), and finds the account that it
has at the CA. No account is made. Leave the other client's copy alone until you know
that it is not used any more.`,
		Args: between(1, 1, accountCA),
	}
	cmd.RunE = p.withCA(&f, func(cmd *cobra.Command, c *client.Client, at enroll.Place) error {
		if file == "" {
			return &usageError{cmd: cmd, text: "something is missing: the file with the key (--key)"}
		}
		text, err := p.readInput(file)
		if err != nil {
			return err
		}
		key, err := parseAccountKey(text)
		clear(text)
		if err != nil {
			return badInput("%s: %v", file, err)
		}
		if _, err := c.Engine.Import(cmd.Context(), at, key); err != nil {
			return err
		}
		return p.showAccount(cmd, c, at)
	})
	f.addWay(cmd)
	cmd.Flags().StringVar(&file, "key", "", "the `FILE` with the account's private key; - is standard input")
	return cmd
}

func (p *program) accountRemove() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use: "remove CA [--yes]", Short: "forget an account here, without a word to the CA",
		Long: "Deletes the account's key and what is known of the account from the data directory. The\nCA keeps the account: to end it there, deactivate it.",
		Args: between(1, 1, accountCA),
		RunE: p.withCA(&clientFlags{}, func(cmd *cobra.Command, c *client.Client, at enroll.Place) error {
			if err := p.sure(yes, "This deletes the only key of the account at "+at.Name()+" that is here.", at.Name()); err != nil {
				return err
			}
			if err := c.Engine.Forget(cmd.Context(), at); err != nil {
				return err
			}
			return p.show(map[string]string{"removed": at.Name()}, func(w io.Writer) { pairs(w, [2]string{"removed", guard.Shown(at.Name())}) })
		}),
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

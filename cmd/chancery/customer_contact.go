package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"chancery/internal/desk"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

func (p *program) customerContact() *cobra.Command {
	cmd := group("contact", "a customer's addresses: add, verify, vouch, remove", `An address counts only once it is verified: by a code that is mailed to it, or by the
word of the administrator, which is recorded.`)
	cmd.AddCommand(p.contactAdd(), p.contactVerify(),
		p.contactOne("vouch", "verified", "say on your own word that an address is the customer's"), p.contactOne("remove", "removed", "forget an address"))
	return cmd
}

const contactArgs = "the customer's id and the address"

func (p *program) contactAdd() *cobra.Command {
	return &cobra.Command{
		Use: "add CUSTOMER ADDRESS", Short: "add an address and have a code mailed to it", Args: between(2, 2, contactArgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			out, err := call[desk.ContactNamed, desk.ContactAdded](cmd.Context(), p, "customer.contact.add", desk.ContactNamed{Customer: args[0], Address: args[1]})
			if err != nil {
				return err
			}
			return p.show(out, func(w io.Writer) {
				pairs(w, [2]string{"added", out.Address})
				flags := p.again()
				if out.Mails {
					fmt.Fprintf(w, "\nA code is being mailed to it:\n  chancery%s customer contact verify %s %s CODE\n", flags, args[0], out.Address)
					return
				}
				fmt.Fprintf(w, "\nThis server sends no mail. If you know that it is the customer's:\n  chancery%s customer contact vouch %s %s\n", flags, args[0], out.Address)
			})
		},
	}
}

func (p *program) contactVerify() *cobra.Command {
	return &cobra.Command{
		Use: "verify CUSTOMER ADDRESS CODE", Short: "verify an address by the code that was mailed to it", Args: between(3, 3, contactArgs+" and the code"),
		RunE: func(cmd *cobra.Command, args []string) error {
			in := desk.ContactNamed{Customer: args[0], Address: args[1], Code: args[2]}
			return do(cmd.Context(), p, deed[desk.ContactNamed]{"customer.contact.verify", in, [2]string{"verified", args[1]}})
		},
	}
}

func (p *program) contactOne(verb, participle, short string) *cobra.Command {
	return &cobra.Command{
		Use: verb + " CUSTOMER ADDRESS", Short: short, Args: between(2, 2, contactArgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			in := desk.ContactNamed{Customer: args[0], Address: args[1]}
			return do(cmd.Context(), p, deed[desk.ContactNamed]{"customer.contact." + verb, in, [2]string{participle, args[1]}})
		},
	}
}

func (p *program) customerPassphrase() *cobra.Command {
	var stdin bool
	cmd := &cobra.Command{
		Use: "passphrase CUSTOMER [--stdin]", Short: "set what a customer signs in with, to confirm a binding",
		Long: `Asks twice for a passphrase and sets it. It is never an argument: others could read it in
the list of processes.`,
		Args: between(1, 1, customerID),
		RunE: func(cmd *cobra.Command, args []string) error {
			passphrase, err := p.newPassphrase(stdin)
			if err != nil {
				return err
			}
			return do(cmd.Context(), p, deed[desk.Passphrase]{"customer.passphrase", desk.Passphrase{Customer: args[0], Passphrase: passphrase}, [2]string{"passphrase set", args[0]}})
		},
	}
	cmd.Flags().BoolVar(&stdin, "stdin", false, "read it from the first line of standard input")
	return cmd
}

// newPassphrase reads one from the terminal, twice and unseen, or from standard input.
func (p *program) newPassphrase(stdin bool) (string, error) {
	if stdin {
		line, err := bufio.NewReader(io.LimitReader(p.in, 4096)).ReadString('\n')
		if err != nil && err != io.EOF {
			return "", badInput("reading the passphrase: %v", err)
		}
		return strings.TrimRight(line, "\r\n"), nil
	}
	file, ok := p.in.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return "", badInput("there is no terminal to ask for the passphrase: give --stdin and write it there")
	}
	ask := func(prompt string) (string, error) {
		fmt.Fprint(p.err, prompt)
		text, err := term.ReadPassword(int(file.Fd()))
		fmt.Fprintln(p.err)
		return string(text), err
	}
	first, err := ask("New passphrase (at least 12 characters): ")
	if err != nil {
		return "", badInput("reading the passphrase: %v", err)
	}
	second, err := ask("Once more: ")
	if err != nil || first != second {
		return "", badInput("the two passphrases differ; nothing was changed")
	}
	return first, nil
}

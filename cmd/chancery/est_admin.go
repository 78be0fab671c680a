package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"chancery/internal/admin"
	"chancery/internal/config"
	"chancery/internal/estserver"

	"github.com/spf13/cobra"
)

// estAdminCommands are the commands of "est" by which administrators see to the EST
// server; the others are the client's.
func (p *program) estAdminCommands() []*cobra.Command {
	return []*cobra.Command{p.estLabel(), p.estUser(), p.estOneTime(), p.estRequests(),
		p.estDecide("approve", "approve a request: when it is repeated, it gets its certificate"),
		p.estDecide("refuse", "refuse a request: when it is repeated, it gets the reason"),
		p.estKey(), p.estArchive(), p.estSRPUser()}
}

func (p *program) estLabel() *cobra.Command {
	cmd := group("label", "the EST server's labels", "The labels, each a profile and what it takes to get a certificate of it, are in the\nconfiguration: [[est.label]]; see chancery config show --effective.")
	cmd.AddCommand(&cobra.Command{
		Use: "list", Short: "list the labels, and what some clients will stumble over", Args: between(0, 0, "list takes no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			out, err := call[struct{}, estserver.LabelsShown](cmd.Context(), p, "est.label.list", struct{}{})
			if err != nil {
				return err
			}
			if !p.json {
				for _, text := range out.Warnings {
					p.warn("%s", text)
				}
			}
			return p.show(out, func(w io.Writer) {
				fmt.Fprintln(w, "PATH\tPROFILE\tAUTHENTICATION\tNAMES\tAPPROVAL\tOPERATIONS")
				for _, l := range out.Labels {
					operations := make([]string, len(l.Operations))
					for i, op := range l.Operations {
						operations[i] = string(op)
					}
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", l.Path, l.Profile, strings.Join(l.Accept, " "), orDash(strings.Join(l.Names, " ")),
						map[bool]string{true: "yes", false: "no"}[l.Manual], strings.Join(operations, " "))
				}
			})
		},
	})
	return cmd
}

// grantFlags are the flags of what a password is good for.
func grantFlags(cmd *cobra.Command, in *estserver.Grant, expires *string) {
	flags := cmd.Flags()
	flags.StringArrayVar(&in.Labels, "label", nil, "count under this `LABEL` only, and others that are named so; \"\" is no label (default everywhere)")
	flags.StringArrayVar(&in.Names, "name", nil, "what it may enrol, instead of what its label says: a `PATTERN` as in est.label's names, *.iot.example, CN=*, …; may be repeated (default what its label says)")
	flags.StringVar(expires, "expires", "", "good until this `TIME`: 2027-01-31, an RFC 3339 time, or 30d (default for ever)")
}

func (p *program) estUser() *cobra.Command {
	cmd := group("user", "users of the EST server, who log in by a password", `Users have a standing password: it is good for any number of certificates. Prefer
one-time passwords (chancery est otp) for devices.`)
	cmd.AddCommand(p.estUserAdd(), p.estUserList(), &cobra.Command{
		Use: "remove NAME", Short: "remove a user; his certificates stay", Args: between(1, 1, "the user's name; see: chancery est user list"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return do(cmd.Context(), p, deed[estserver.UserNamed]{"est.user.remove", estserver.UserNamed{User: args[0]}, [2]string{"removed", args[0]}})
		},
	})
	return cmd
}

func (p *program) estUserAdd() *cobra.Command {
	var in estserver.UserWanted
	var expires string
	var ask, stdin bool
	cmd := &cobra.Command{
		Use: "add NAME [--name PATTERN]... [--label LABEL]... [--expires TIME] [--replace] [--cmc] [--ask | --stdin]", Short: "make a user, or give one another password",
		Long: `Makes a user with a password that is made up and shown this once, or with one of your own:
--ask asks for it, --stdin reads it. It is never an argument: others could read it in the
list of processes. The name may be "", for devices that send a password alone.`,
		Args: apart(between(1, 1, "the user's name"), "ask", "stdin"),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			in.User = args[0]
			if in.Expires, err = parseWhen(expires, time.Now()); err != nil {
				return err
			}
			if ask || stdin {
				if in.Password, err = p.newPassphrase(stdin); err != nil {
					return err
				}
				if in.Password == "" { // which would have one made
					return badInput("the password is empty")
				}
			}
			made, err := call[estserver.UserWanted, estserver.CredentialMade](cmd.Context(), p, "est.user.add", in)
			if err != nil {
				return err
			}
			return p.show(made, func(w io.Writer) {
				pairs(w, [2]string{"user", made.User}, [2]string{"password", made.Password}, [2]string{"expires", moment(made.Expires)})
				if made.Password != "" {
					fmt.Fprintln(w, "\nThe password is not shown again.")
				}
			})
		},
	}
	grantFlags(cmd, &in.Grant, &expires)
	cmd.Flags().BoolVar(&in.Replace, "replace", false, "give a user who is there another password; what no other flag says stays as it was")
	cmd.Flags().BoolVar(&in.CMC, "cmc", false, "let it also be a shared secret of fullcmc (RFC 5272), for which the server keeps it, sealed")
	cmd.Flags().BoolVar(&ask, "ask", false, "ask for the password at the terminal")
	cmd.Flags().BoolVar(&stdin, "stdin", false, "read the password from the first line of standard input")
	return cmd
}

// pages calls a list's operation until it has no more.
func pages(next func(cursor string) (string, error)) error {
	for cursor := ""; ; {
		var err error
		if cursor, err = next(cursor); err != nil || cursor == "" {
			return err
		}
	}
}

func (p *program) estUserList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "list the users, newest first", Args: between(0, 0, "list takes no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			all := estserver.UsersShown{Users: []estserver.UserShown{}}
			err := pages(func(cursor string) (string, error) {
				page, err := call[estserver.Page, estserver.UsersShown](cmd.Context(), p, "est.user.list", estserver.Page{Cursor: cursor, Limit: 1000})
				all.Users = append(all.Users, page.Users...)
				return page.Cursor, err
			})
			if err != nil {
				return err
			}
			return p.show(all, func(w io.Writer) {
				if len(all.Users) == 0 {
					fmt.Fprintf(w, "There are no users; make one: chancery%s est user add NAME\n", p.again())
					return
				}
				fmt.Fprintln(w, "USER\tCREATED\tEXPIRES\tLABELS\tNAMES\tDIGEST")
				for _, u := range all.Users {
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", orDash(u.User), day(u.Created), orDash(day(u.Expires)), labelsOf(u.Labels),
						mayShown(u.Names, u.May), orDash(strings.Join(u.Digest, " ")))
				}
			})
		},
	}
}

// mayShown writes what a password may enrol: its own patterns, or those of its labels,
// with the label before them where they are not the same everywhere.
func mayShown(own []string, may estserver.May) string {
	if len(own) > 0 {
		return strings.Join(own, " ")
	}
	var parts, texts []string
	for _, label := range slices.Sorted(maps.Keys(may)) {
		text := strings.Join(may[label], " ")
		if text == "" {
			text = "what an approver lets pass"
		}
		parts, texts = append(parts, labelsOf([]string{label})+": "+text), append(texts, text)
	}
	if texts = slices.Compact(texts); len(texts) == 1 {
		return texts[0]
	}
	return orDash(strings.Join(parts, "; "))
}

// labelsOf writes where a password counts.
func labelsOf(labels []string) string {
	if len(labels) == 0 {
		return "all"
	}
	words := make([]string, len(labels))
	for i, l := range labels {
		words[i] = l
		if l == "" {
			words[i] = "(none)"
		}
	}
	return strings.Join(words, " ")
}

func (p *program) estOneTime() *cobra.Command {
	cmd := group("otp", "passwords that are good for one certificate", `A one-time password is spent by the certificate that it gets, not by an attempt. It is 128
random bits, and shown when it is made and never again.`)
	cmd.AddCommand(p.estOneTimeAdd(), p.estOneTimeList(), &cobra.Command{
		Use: "remove ID", Short: "remove a one-time password", Args: between(1, 1, "the password's id; see: chancery est otp list"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return do(cmd.Context(), p, deed[estserver.Named]{"est.otp.remove", estserver.Named{ID: args[0]}, [2]string{"removed", args[0]}})
		},
	})
	return cmd
}

func (p *program) estOneTimeAdd() *cobra.Command {
	var in estserver.OneTimeWanted
	var expires string
	cmd := &cobra.Command{
		Use: "add [NAME] [--name PATTERN]... [--label LABEL]... [--expires TIME] [--cmc]", Short: "make a one-time password",
		Long: `Makes a password for one certificate and shows it this once. With the NAME of a user it is
good with that name alone; without, with any and with none. For CMC (RFC 5272 section 6.2) the
password itself has to be kept, sealed with a key from the key store: only --cmc does that.`,
		Args: between(0, 1, "the name of a user, or nothing"),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if len(args) > 0 {
				in.User = args[0]
			}
			if in.Expires, err = parseWhen(expires, time.Now()); err != nil {
				return err
			}
			made, err := call[estserver.OneTimeWanted, estserver.CredentialMade](cmd.Context(), p, "est.otp.add", in)
			if err != nil {
				return err
			}
			shown := oneTimeMade{made, in.Names, in.Labels}
			shown.Expires = in.Expires
			if !p.json && len(in.Names) == 0 {
				p.warn("it may enrol what its label's names say, and a label that says none lets nothing pass: give --name PATTERN, or see chancery%s est label list", p.again())
			}
			return p.show(shown, func(w io.Writer) {
				pairs(w, [2]string{"id", made.ID}, [2]string{"user", made.User}, [2]string{"password", made.Password}, [2]string{"names", strings.Join(in.Names, " ")},
					[2]string{"expires", moment(in.Expires)})
				fmt.Fprintln(w, "\nThe password is not shown again.")
			})
		},
	}
	grantFlags(cmd, &in.Grant, &expires)
	cmd.Flags().BoolVar(&in.CMC, "cmc", false, "keep it, sealed, as a shared secret of CMC")
	return cmd
}

// oneTimeMade is a password with what it is good for.
type oneTimeMade struct {
	estserver.CredentialMade
	Names  []string `json:"names,omitempty"`
	Labels []string `json:"labels,omitempty"`
}

func (p *program) estOneTimeList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "list the one-time passwords and what became of them, newest first", Args: between(0, 0, "list takes no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			all := estserver.OneTimesShown{Passwords: []estserver.OneTimeShown{}}
			err := pages(func(cursor string) (string, error) {
				page, err := call[estserver.Page, estserver.OneTimesShown](cmd.Context(), p, "est.otp.list", estserver.Page{Cursor: cursor, Limit: 1000})
				all.Passwords = append(all.Passwords, page.Passwords...)
				return page.Cursor, err
			})
			if err != nil {
				return err
			}
			return p.show(all, func(w io.Writer) {
				if len(all.Passwords) == 0 {
					fmt.Fprintf(w, "There are no one-time passwords; make one: chancery%s est otp add\n", p.again())
					return
				}
				fmt.Fprintln(w, "ID\tSTATE\tUSER\tCREATED\tEXPIRES\tLABELS\tNAMES\tDIGEST\tCERTIFICATE")
				for _, c := range all.Passwords {
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", c.ID, c.State, orDash(c.User), moment(c.Created), orDash(moment(c.Expires)), labelsOf(c.Labels),
						mayShown(c.Names, c.May), orDash(strings.Join(c.Digest, " ")), orDash(c.Serial))
				}
			})
		},
	}
}

// estWarnings are what the EST server that runs, if one does, says of its labels: how
// large its answers are is known to it alone.
func (p *program) estWarnings(ctx context.Context, c *config.Config) (list []config.Warning) {
	if _, err := os.Stat(admin.SocketPath(c.Data)); err != nil {
		return nil
	}
	// That none answers, or not to this caller, is nothing to tell of a configuration.
	out, err := call[struct{}, estserver.LabelsShown](ctx, p, "est.label.list", struct{}{})
	if err != nil {
		return nil
	}
	for _, text := range out.Warnings {
		list = append(list, config.Warning{Key: "est", Text: text})
	}
	return list
}

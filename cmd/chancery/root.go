package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"chancery/internal/admin"

	"github.com/spf13/cobra"
)

// streams are what a process is born with.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// program is one run of the command line.
type program struct {
	streams
	data   string // --data
	config string // --config
	json   bool   // --json

	foreign func(*admin.ForeignError) error // judges another user's server; nil = its owner is named
	owner   int                             // of the server that was named last
}

const rootLong = `chancery is a certification authority and its client in one program. The authority is
an ACME server that certbot, lego and every other client can use, with CRL and OCSP. The
client finds out from a domain's CAA records which CA to ask, and keeps certificates.

  chancery demo            shows all of it in a few seconds, in a directory of its own
  chancery discover NAME   which CA would certify this name, and why
  chancery get NAME        a certificate from it;  chancery agent  keeps it renewed
  chancery serve           an authority of your own; the first start makes all it needs

The client's settings are in client.toml (chancery config client), its accounts, keys and
certificates in its data directory. Commands that need the running server find it by its
data directory: --data, or data in the --config file, or $CHANCERY_DATA, or
./chancery-data. They work for the user that it runs as, and for root.

Exit status: 0 done; 1 failed; 2 wrong command, flag, input or configuration;
3 what was named does not exist; 4 no server is running; 5 refused, by policy or
as things stand; 6 not possible now, try again. discover, get, renew and agent end
otherwise: 0 issued, 1 not due, 2 failed but what is there is still good, 3 failed.
With --json an error is one line on standard error: {"error": {"kind": …, "message": …}}`

// run does one command line and gives the exit status.
func run(args []string, s streams) int {
	p := &program{streams: s}
	root := p.root()
	root.SetArgs(args)
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	err := root.ExecuteContext(context.Background())
	if _, unread := errors.AsType[*usageError](err); unread {
		p.json = p.json || asksJSON(args)
	}
	return p.report(err)
}

func (p *program) root() *cobra.Command {
	root := group("chancery", "a certification authority, and the client that finds its CA", rootLong)
	root.SilenceErrors, root.SilenceUsage = true, true
	flags := root.PersistentFlags()
	flags.StringVar(&p.data, "data", "", "data `DIR`: keys, database, admin socket")
	flags.StringVar(&p.config, "config", "", "configuration `FILE` (TOML)")
	flags.BoolVar(&p.json, "json", false, "answer in JSON")
	// A group's own line says that a command is wanted; cobra's second one says it again.
	root.SetUsageTemplate(strings.Replace(root.UsageTemplate(), "{{if .HasAvailableSubCommands}}\n  {{.CommandPath}} [command]{{end}}", "", 1))
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return &usageError{cmd: cmd, text: flagText(err)} })
	root.AddGroup(&cobra.Group{ID: "client", Title: "The client:"}, &cobra.Group{ID: "server", Title: "The authority:"})
	for id, commands := range map[string][]*cobra.Command{
		"client": {p.discover(), p.get(), p.renew(), p.agent(), p.account(), p.revoke(), p.forget()},
		"server": {p.serve(), p.init(), p.ca(), p.cert(), p.profile(), p.acme(), p.directory(), p.eab(), p.customer(), p.binding(), p.keys(), p.trust()},
		"":       {p.est(), p.conform(), p.demo(), p.settings(), p.version()},
	} {
		for _, cmd := range commands {
			cmd.GroupID = id
			root.AddCommand(cmd)
		}
	}
	return root
}

// group is a command that only has others below it. With nothing more it shows
// them; a word that it does not know is a mistake.
func group(use, short, long string) *cobra.Command {
	cmd := &cobra.Command{Use: use + " COMMAND", Short: short, Long: long, SuggestionsMinimumDistance: 2, DisableFlagsInUseLine: true}
	cmd.Args = cobra.ArbitraryArgs
	cmd.Flags().SetInterspersed(false) // what follows a word that is no command is not for the group to judge
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		text := fmt.Sprintf("there is no command %q", cmd.CommandPath()+" "+args[0])
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			text += `; did you mean "` + cmd.CommandPath() + " " + strings.Join(near, `" or "`+cmd.CommandPath()+" ") + `"?`
		}
		return &usageError{cmd: cmd, text: text}
	}
	return cmd
}

// apart is args for a command of whose flags only one of these may be given.
func apart(args cobra.PositionalArgs, flags ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, given []string) error {
		var both []string
		for _, name := range flags {
			if cmd.Flags().Changed(name) {
				both = append(both, "--"+name)
			}
		}
		if len(both) > 1 {
			return &usageError{cmd: cmd, text: strings.Join(both, " and ") + " contradict each other: give one"}
		}
		return args(cmd, given)
	}
}

// between checks the number of arguments; what says what they are.
func between(least, most int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return &usageError{cmd: cmd, text: "something is missing: " + what}
		case len(args) > most:
			return &usageError{cmd: cmd, text: fmt.Sprintf("%q is one too many: %s", args[most], what)}
		}
		return nil
	}
}

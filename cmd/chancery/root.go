package main

import (
	"context"
	"fmt"
	"io"
	"strings"

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
}

const rootLong = `chancery is a certification authority for your own names: an ACME server that
certbot, lego and every other client can use, with CRL and OCSP, in one program.

  chancery demo      shows all of it in a few seconds, in a directory of its own
  chancery serve     starts it; the first start makes root, issuer and database
  chancery ca root   prints the root certificate of the running server

Commands that need the running server find it by its data directory: --data, or
data in the --config file, or $CHANCERY_DATA, or ./chancery-data. They work for
the user that it runs as, and for root.

Exit status: 0 done; 1 failed; 2 wrong command, flag, input or configuration;
3 what was named does not exist; 4 no server is running; 5 refused, by policy or
as things stand; 6 not possible now, try again.`

// run does one command line and gives the exit status.
func run(args []string, s streams) int {
	p := &program{streams: s}
	root := p.root()
	root.SetArgs(args)
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	return p.report(root.ExecuteContext(context.Background()))
}

func (p *program) root() *cobra.Command {
	root := group("chancery", "a certification authority and ACME server", rootLong)
	root.SilenceErrors, root.SilenceUsage = true, true
	flags := root.PersistentFlags()
	flags.StringVar(&p.data, "data", "", "data `DIR`: keys, database, admin socket")
	flags.StringVar(&p.config, "config", "", "configuration `FILE` (TOML)")
	flags.BoolVar(&p.json, "json", false, "answer in JSON")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return &usageError{cmd: cmd, text: err.Error()} })
	root.AddCommand(p.serve(), p.init(), p.demo(), p.discover(), p.get(), p.renew(), p.agent(), p.ca(), p.cert(), p.customer(), p.binding(), p.eab(), p.acme(), p.account(), p.revoke(), p.forget(), p.directory(),
		p.profile(), p.keys(), p.settings(), p.trust(), p.version())
	return root
}

// group is a command that only has others below it. With nothing more it shows
// them; a word that it does not know is a mistake.
func group(use, short, long string) *cobra.Command {
	cmd := &cobra.Command{Use: use + " COMMAND", Short: short, Long: long, SuggestionsMinimumDistance: 2, DisableFlagsInUseLine: true}
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		text := fmt.Sprintf("there is no command %q", cmd.CommandPath()+" "+args[0])
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			text += fmt.Sprintf("; did you mean %q?", cmd.CommandPath()+" "+strings.Join(near, `" or "`+cmd.CommandPath()+" "))
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

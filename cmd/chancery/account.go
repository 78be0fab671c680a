package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"chancery/internal/client"
	"chancery/internal/enroll"
	"chancery/internal/enroll/guard"

	"github.com/spf13/cobra"
)

const accountLong = `This machine's accounts at CAs, with which "chancery get" obtains certificates. It makes
them itself where a CA lets it; here they are looked at, made, changed and ended by hand,
and the external account bindings are entered that some CAs ask for.

A CA is named by its label in the settings, by its issuer name as in CAA records
(ca.example), or by the URL of its directory.

"chancery acme account" is about the accounts at a server of your own.`

func (p *program) account() *cobra.Command {
	cmd := group("account", "this machine's accounts at CAs, and their bindings", accountLong)
	cmd.AddCommand(p.accountList(), p.accountShow(), p.accountRegister(), p.accountUpdate(), p.accountRollover(), p.accountDeactivate(),
		p.accountImport(), p.accountRemove(), p.accountEAB(), p.accountIncidents())
	return cmd
}

const accountCA = "which CA: its label in the settings, its issuer name, or the URL of its directory"

// addWay defines the flags that say by which ways a CA may be reached; those of
// clientFlags that concern an account.
func (f *clientFlags) addWay(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.identities, "caa-identities", "", "must a CA name itself in its directory: prefer (default), require or ignore")
	flags.BoolVar(&f.private, "allow-private", false, "let a CA that is not in the settings be on a private address")
	flags.StringSliceVar(&f.allow, "allow", nil, "let it be on this `NETWORK` too, as 127.0.0.0/8")
	flags.StringVar(&f.roots, "roots", "", "PEM `FILE` with the roots that CAs which are not in the settings must chain to")
}

// atCA does something at the CA that was named.
type atCA func(cmd *cobra.Command, c *client.Client, at enroll.Place) error

// withCA opens the client and finds the CA.
func (p *program) withCA(f *clientFlags, do atCA) func(*cobra.Command, []string) error {
	return interruptible(func(cmd *cobra.Command, args []string) error {
		c, err := p.openClient(cmd, f, p.telling())
		if err != nil {
			return err
		}
		defer p.closeClient(cmd.Context(), c)
		at, err := c.Engine.Place(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return do(cmd, c, at)
	})
}

// telling shows the terms of service as they come up (D12), and what is wrong without
// harm; what else happens the answer says.
func (p *program) telling() func(enroll.Event) {
	return func(ev enroll.Event) {
		switch ev.Kind {
		case enroll.EventTerms:
			basis := "nobody agreed to them"
			if ev.Basis != "" {
				basis = "agreed to by " + ev.Basis
			}
			p.note("%s (%s)", guard.Shown(ev.Message), basis)
		case enroll.EventWarning:
			p.warn("%s", guard.Shown(ev.Message))
		}
	}
}

func (p *program) accountList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "list the CAs that are known, and the accounts there", Args: between(0, 0, "list takes no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := p.openClient(cmd, &clientFlags{}, nil)
			if err != nil {
				return err
			}
			defer p.closeClient(cmd.Context(), c)
			all, err := c.Engine.Accounts(cmd.Context())
			if err != nil {
				return err
			}
			return p.show(all, func(w io.Writer) { accountTable(w, all) })
		},
	}
}

func accountTable(w io.Writer, all []enroll.AccountReport) {
	if len(all) == 0 {
		fmt.Fprintln(w, "No CA is known yet: none is in the settings, and no certificate was obtained.")
		return
	}
	fmt.Fprintln(w, "CA\tACCOUNT\tBINDING\tTERMS\tSTATE\tDIRECTORY")
	for _, a := range all {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", guard.Shown(a.Name), accountStatus(a), entered(a), termsWord(a), accountState(a), guard.Shown(a.Directory))
	}
	for _, a := range all {
		if told := incidentLine(a); told != "" {
			fmt.Fprintf(w, "\n%s\n", told)
		}
	}
}

func accountStatus(a enroll.AccountReport) string {
	switch {
	case a.Unfinished:
		return "unfinished"
	case a.Account == nil:
		return "-"
	}
	return guard.Shown(a.Account.Status)
}

func entered(a enroll.AccountReport) string {
	if a.EABKeyID == "" {
		return "-"
	}
	return "entered"
}

func termsWord(a enroll.AccountReport) string {
	switch n := len(a.Terms); {
	case n == 0:
		return "-"
	case a.Terms[n-1].Agreed.IsZero():
		return "not agreed"
	default:
		return "agreed (" + a.Terms[n-1].Basis + ")"
	}
}

// accountState says how the CA is; the incident says more.
func accountState(a enroll.AccountReport) string {
	switch {
	case a.SetBack:
		return "set back until " + moment(a.Circuit.OpenUntil)
	case a.Incident != nil:
		return fmt.Sprintf("failed %d times", a.Incident.Count)
	}
	return "well"
}

// incidentLine tells of a row of failures (D16); "" if there is none.
func incidentLine(a enroll.AccountReport) string {
	i := a.Incident
	if i == nil {
		return ""
	}
	told := "nobody was told yet"
	if i.Told {
		told = "a message was handed over"
	}
	return fmt.Sprintf("%s failed %d times in a row since %s (%s): %s", guard.Shown(a.Name), i.Count, moment(i.Since), told, guard.Shown(i.Cause))
}

func (p *program) accountShow() *cobra.Command {
	return &cobra.Command{
		Use: "show CA", Short: "show all that is known of one CA and the account there", Args: between(1, 1, accountCA),
		RunE: p.withCA(&clientFlags{}, p.showAccount),
	}
}

// showAccount shows what is known; it is the answer of the commands that change it, too.
func (p *program) showAccount(cmd *cobra.Command, c *client.Client, at enroll.Place) error {
	a, err := c.Engine.Account(cmd.Context(), at)
	if err != nil {
		return err
	}
	return p.show(a, func(w io.Writer) { accountPairs(w, a) })
}

func accountPairs(w io.Writer, a enroll.AccountReport) {
	pairs(w, [2]string{"CA", guard.Shown(a.Name)}, [2]string{"issuer names", guard.Shown(strings.Join(a.Issuers, ", "))}, [2]string{"directory", guard.Shown(a.Directory)})
	switch {
	case a.Unfinished:
		pairs(w, [2]string{"account", "unfinished: the next use of it asks the CA which key it has"})
	case a.Account == nil:
		pairs(w, [2]string{"account", "none"})
	}
	if acct := a.Account; acct != nil {
		pairs(w, [2]string{"account", guard.Shown(acct.URL)}, [2]string{"status", guard.Shown(acct.Status)}, [2]string{"contacts", guard.Shown(strings.Join(acct.Contacts, ", "))},
			[2]string{"key", acct.KeyType}, [2]string{"bound by", guard.Shown(acct.EABKeyID)}, [2]string{"since", moment(acct.Created)})
	}
	pairs(w, [2]string{"binding entered", guard.Shown(a.EABKeyID)})
	for _, t := range a.Terms {
		agreed := "nobody agreed"
		if !t.Agreed.IsZero() {
			agreed = fmt.Sprintf("agreed %s by %s", moment(t.Agreed), t.Basis)
		}
		pairs(w, [2]string{"terms", fmt.Sprintf("%s, seen %s, %s", guard.Shown(t.URL), moment(t.Seen), agreed)})
	}
	if c := a.Circuit; c.Failures > 0 {
		pairs(w, [2]string{"not reached", fmt.Sprintf("%d times in a row, last %s: %s", c.Failures, moment(c.Last), guard.Shown(c.Cause))})
	}
	if a.SetBack {
		pairs(w, [2]string{"set back until", moment(a.Circuit.OpenUntil)})
	}
	pairs(w, [2]string{"incident", incidentLine(a)})
}

func (p *program) accountIncidents() *cobra.Command {
	var clear string
	cmd := &cobra.Command{
		Use: "incidents [--clear CA]", Short: "which CAs fail, since when, and whether anybody was told",
		Long: `Lists the CAs that failed and have not issued since, and those that are set back because
they could not be reached. --clear says that you have seen it: the CA starts afresh.`,
		Args: between(0, 0, "incidents takes flags only"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := p.openClient(cmd, &clientFlags{}, nil)
			if err != nil {
				return err
			}
			defer p.closeClient(cmd.Context(), c)
			if clear != "" {
				at, err := c.Engine.Place(cmd.Context(), clear)
				if err == nil {
					err = c.Engine.ClearIncident(cmd.Context(), at)
				}
				if err != nil {
					return err
				}
			}
			return p.showIncidents(cmd, c)
		},
	}
	cmd.Flags().StringVar(&clear, "clear", "", "forget the failures of this `CA`")
	return cmd
}

func (p *program) showIncidents(cmd *cobra.Command, c *client.Client) error {
	all, err := c.Engine.Accounts(cmd.Context())
	if err != nil {
		return err
	}
	failing := []enroll.AccountReport{}
	for _, a := range all {
		if a.Incident != nil || a.SetBack {
			failing = append(failing, a)
		}
	}
	return p.show(failing, func(w io.Writer) {
		if len(failing) == 0 {
			fmt.Fprintln(w, "No CA is failing.")
			return
		}
		for _, a := range failing {
			if line := incidentLine(a); line != "" {
				fmt.Fprintln(w, line)
			}
			if a.SetBack {
				fmt.Fprintf(w, "%s is set back until %s: %s\n", guard.Shown(a.Name), moment(a.Circuit.OpenUntil), guard.Shown(a.Circuit.Cause))
			}
		}
	})
}

// errNotSure says that a question was not answered with yes.
var errNotSure = errors.New("nothing was done")

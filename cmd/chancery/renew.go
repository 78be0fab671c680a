package main

import (
	"errors"
	"fmt"

	"chancery/internal/enroll"
	"chancery/internal/enroll/guard"

	"github.com/spf13/cobra"
)

func (p *program) renew() *cobra.Command {
	var f clientFlags
	var options enroll.Options
	var list bool
	cmd := &cobra.Command{
		Use: "renew [NAME...] [flags]", Short: "renew what is due of the certificates that get obtained",
		Long: `Renews those certificates that are due, all or the named ones, as they were obtained: same
names, same files, same hooks; from the CA that issued last while its record still ranks
with the best, else as the owners' CAA records say by now. "chancery agent" does the
same at the right times by itself. With --list nothing is renewed: it lists them.

Exit status: 0 something was issued and nothing failed; 1 nothing was due; 2 something
failed, but every present certificate is still good, or one could not be put in its place
(that is tried again each time, until it works); 3 failed.`,
		Annotations: map[string]string{endsAsRun: "yes"},
		Args:        between(0, 10000, "the names of certificates, as they are called in the data directory"),
		RunE: interruptible(func(cmd *cobra.Command, args []string) error {
			if list {
				return p.listHeld(cmd, &f, args)
			}
			return p.renewAll(cmd, &f, renewal{args, options})
		}),
	}
	f.add(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&list, "list", false, "only list the certificates, and when they are renewed")
	flags.BoolVar(&options.Force, "force", false, "renew what is not due, too")
	flags.BoolVar(&options.AllowCAChange, "allow-ca-change", false, "a certificate of another kind may take its place")
	flags.BoolVar(&options.PinCA, "pin-ca", false, "only by the CA that issued last")
	flags.BoolVar(&options.AgreeTerms, "agree-tos", false, "agree to the terms of service of whichever CA serves")
	flags.BoolVar(&options.Unattended, "unattended", false, "nobody is watching: send a message if a certificate cannot be had")
	return cmd
}

type renewal struct {
	names   []string
	options enroll.Options
}

func (p *program) renewAll(cmd *cobra.Command, f *clientFlags, what renewal) error {
	progress := &progress{out: p.out, json: p.json}
	c, err := p.openClient(cmd, f, progress.observe)
	if err != nil {
		return &enrolError{enroll.Failed, err}
	}
	defer p.closeClient(cmd.Context(), c)
	p.sweep(cmd.Context(), c)
	if len(what.names) == 0 {
		if what.names, err = c.Vault.Names(); err != nil {
			return &enrolError{enroll.Failed, err}
		}
	}
	if len(what.names) == 0 {
		return &enrolError{enroll.NotDue, errors.New("there is nothing to renew; get a certificate first: chancery get NAME")}
	}
	issued, failed := 0, []error{}
	worst := enroll.NotDue
	for _, name := range what.names {
		outcome, err := c.Engine.Renew(cmd.Context(), name, what.options)
		progress.finish(outcome, err)
		switch err = errors.Join(err, outcome.Err()); {
		case err != nil:
			failed = append(failed, fmt.Errorf("%s: %w", guard.Shown(name), err))
			if outcome.Result.ExitCode() > worst.ExitCode() {
				worst = outcome.Result
			}
		case outcome.Result == enroll.Issued:
			issued++
		}
		if cmd.Context().Err() != nil {
			break
		}
	}
	if len(failed) > 0 {
		return &enrolError{worst, errors.Join(failed...)}
	}
	if issued > 0 {
		return nil
	}
	return &enrolError{result: enroll.NotDue}
}

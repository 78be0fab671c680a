package main

import (
	"fmt"
	"io"
	"strings"

	"chancery/internal/estserver"

	"github.com/spf13/cobra"
)

func (p *program) estRequests() *cobra.Command {
	var in estserver.RequestsWanted
	var label string
	var all bool
	cmd := &cobra.Command{
		Use: "requests [ID] [--all | --state STATE] [--label LABEL]", Short: "list the requests that wait for approval, or show one",
		Long: `Under a label with manual = true every request waits until somebody decides: chancery
est approve ID, or chancery est refuse ID --reason TEXT. Lists those that wait, newest first,
or shows one with the request, its secrets blanked.`,
		Args: apart(between(0, 1, "a request's id, or nothing"), "all", "state"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				r, err := call[estserver.Named, estserver.RequestShown](cmd.Context(), p, "est.requests.show", estserver.Named{ID: args[0]})
				if err != nil {
					return err
				}
				return p.showESTRequest(r)
			}
			if all {
				in.State = ""
			}
			if cmd.Flags().Changed("label") {
				in.Label = &label
			}
			out, err := call[estserver.RequestsWanted, estserver.RequestsShown](cmd.Context(), p, "est.requests.list", in)
			if err != nil {
				return err
			}
			return p.show(out, func(w io.Writer) { showESTRequests(w, out) })
		},
	}
	flags := cmd.Flags()
	flags.StringVar((*string)(&in.State), "state", string(estserver.Undecided), "those in this `STATE`: pending, approved, refused")
	flags.BoolVar(&all, "all", false, "those in any state")
	flags.StringVar(&label, "label", "", "those under this `LABEL`; \"\" is no label")
	paged(cmd, &in.Limit, &in.Cursor)
	return cmd
}

func showESTRequests(w io.Writer, out estserver.RequestsShown) {
	if len(out.Requests) == 0 {
		fmt.Fprintln(w, "There are no such requests.")
		return
	}
	fmt.Fprintln(w, "ID\tSTATE\tLABEL\tOPERATION\tASKED\tUNTIL\tWHO\tSUBJECT AND NAMES")
	for _, r := range out.Requests {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.ID, stateOf(r), orDash(r.Label), r.Operation, moment(r.Created), moment(r.Expires), r.Identity,
			strings.TrimSpace(r.Subject+" "+strings.Join(r.Names, " ")))
	}
	if out.Cursor != "" {
		fmt.Fprintf(w, "\nThere are more: --cursor %s\n", out.Cursor)
	}
}

func stateOf(r estserver.RequestShown) string {
	if r.Ended && r.State == estserver.Undecided {
		return "expired"
	}
	return string(r.State)
}

func (p *program) showESTRequest(r estserver.RequestShown) error {
	return p.show(r, func(w io.Writer) {
		pairs(w, [2]string{"id", r.ID}, [2]string{"state", stateOf(r)}, [2]string{"label", orDash(r.Label)}, [2]string{"operation", r.Operation},
			[2]string{"who asks", r.Identity}, [2]string{"address", r.Address}, [2]string{"subject", r.Subject}, [2]string{"names", strings.Join(r.Names, "\n")},
			[2]string{"key (SHA-256)", r.KeyHash}, [2]string{"asked", moment(r.Created)}, [2]string{"until", moment(r.Expires)},
			[2]string{"decided", moment(r.Decided)}, [2]string{"by", r.By}, [2]string{"reason", r.Reason}, [2]string{"certificate", r.Serial})
		if r.CSR != "" {
			fmt.Fprintf(w, "\n%s", r.CSR)
		}
	})
}

func (p *program) estDecide(verb, short string) *cobra.Command {
	var in estserver.RequestDecided
	use := " ID [--reason TEXT]"
	if verb == "refuse" {
		use = " ID --reason TEXT"
	}
	cmd := &cobra.Command{
		Use: verb + use, Short: short, Args: between(1, 1, "the request's id; see: chancery est requests"),
		RunE: func(cmd *cobra.Command, args []string) error {
			in.ID = args[0]
			if verb == "refuse" && in.Reason == "" {
				return &usageError{cmd: cmd, text: "say why, as whoever asked is told the reason: --reason TEXT"}
			}
			r, err := call[estserver.RequestDecided, estserver.RequestShown](cmd.Context(), p, "est.requests."+verb, in)
			if err != nil {
				return err
			}
			if err := p.showESTRequest(r); err != nil || p.json {
				return err
			}
			fmt.Fprintf(p.out, "\nThe device hears it when it repeats its request: by itself while chancery est enroll or\nest agent runs there, otherwise by the same command again. It does not ask before the time\nthat it was told, which is retry_after (5 minutes, unless the configuration says otherwise)\nafter it asked last, and says when that is.\n")
			return nil
		},
	}
	cmd.Flags().StringVar(&in.Reason, "reason", "", "why, as one line of `TEXT`")
	return cmd
}

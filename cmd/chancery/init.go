package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"chancery/internal/config"
	"chancery/internal/daemon"

	"github.com/spf13/cobra"
)

// founding is what init was told, each as section hierarchy has it.
type founding struct {
	domains                          []string
	organization, rootKey, issuerKey string
}

func (p *program) init() *cobra.Command {
	f := founding{}
	cmd := &cobra.Command{
		Use: "init [--domain DOMAIN]... [flags]", Short: "make keys, database, root and issuer, without starting the server",
		Long: `Makes what the first start would make, with more to say about it. With --domain the
root and the issuer can certify names below these domains only (name constraints), so
that who trusts the root trusts it for these and nothing else. That cannot be changed
later.`,
		Example: "  chancery init --domain corp.example --domain corp.internal --organization Corp",
		Args:    between(0, 0, "init takes flags only; did you mean --data DIR or --domain DOMAIN?"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := p.loadFounding(f)
			if err != nil {
				return err
			}
			made, err := daemon.Init(cmd.Context(), p.options(c))
			if err != nil {
				return err
			}
			return p.showFounded(made)
		},
	}
	cmd.Flags().StringSliceVar(&f.domains, "domain", nil, "certify names below this `DOMAIN` only; may be repeated")
	cmd.Flags().StringVar(&f.organization, "organization", "", "organisation in the names of root and issuer")
	cmd.Flags().StringVar(&f.rootKey, "root-key", "", "`KIND` of the root's key: ecdsa-p384, ecdsa-p256, ed25519, rsa-4096, …")
	cmd.Flags().StringVar(&f.issuerKey, "issuer-key", "", "`KIND` of the issuer's key")
	return cmd
}

// loadFounding lets the flags win over file and environment by the same checks;
// mistakes are told of the flag.
func (p *program) loadFounding(f founding) (*config.Config, error) {
	var extra []string
	flags := map[string]string{}
	for _, told := range []struct{ flag, key, value string }{
		{"--domain", "domains", strings.Join(f.domains, ",")}, {"--organization", "organization", f.organization},
		{"--root-key", "root_key", f.rootKey}, {"--issuer-key", "issuer_key", f.issuerKey},
	} {
		if told.value != "" {
			extra = append(extra, "CHANCERY_HIERARCHY_"+strings.ToUpper(told.key)+"="+told.value)
			flags["hierarchy."+told.key] = told.flag
		}
	}
	c, err := p.loadLoudly(config.Overrides{}, extra...)
	problems, ok := errors.AsType[config.Problems](err)
	if !ok {
		return c, err
	}
	problems = slices.Clone(problems)
	for i, one := range problems {
		if flag := flags[one.Key]; flag != "" {
			problems[i].Source, problems[i].Key = "command line", flag
		}
	}
	return c, problems
}

// founded is what init says.
type founded struct {
	Data     string     `json:"data"`
	Database string     `json:"database"`
	Roots    []rootSeen `json:"roots"`
}

func (p *program) showFounded(made daemon.Made) error {
	out := founded{Data: made.Data, Database: made.Database, Roots: rootsSeen(made.Roots)}
	return p.show(out, func(w io.Writer) {
		fmt.Fprint(w, "chancery made a new certification authority.\n\n")
		pairs(w, [2]string{"  data directory", absolute(out.Data) + "  (keys: keep it safe, back it up)"}, [2]string{"  database", out.Database})
		for _, r := range out.Roots {
			p.rootLines(w, r)
		}
		if len(out.Roots) > 0 && len(out.Roots[0].Domains) == 0 {
			fmt.Fprintf(w, constrain, p.again())
		}
		fmt.Fprintf(w, "\nNext: chancery%s serve\n", p.again())
	})
}

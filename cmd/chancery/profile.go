package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"chancery/internal/ca"
	"chancery/internal/desk"

	"github.com/spf13/cobra"
)

func (p *program) profile() *cobra.Command {
	cmd := group("profile", "certificate profiles: list, show, check", `Profiles are the rules for certificates: names, keys, usages, life, evidence. Your own
are TOML files in the directory "profiles" inside the data directory.`)
	cmd.AddCommand(p.profileList(), p.profileShow(), p.profileCheck())
	return cmd
}

func (p *program) profileList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "list the profiles", Args: between(0, 0, "list takes no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			out, err := call[struct{}, desk.Profiles](cmd.Context(), p, "profile.list", struct{}{})
			if err != nil {
				return err
			}
			return p.show(out, func(w io.Writer) {
				fmt.Fprintln(w, "NAME\tFOR\tASKED BY\tLIFE\tSOURCE")
				for _, r := range out.Profiles {
					source := "built in"
					if r.Own {
						source = "your own"
					}
					life := r.Life
					if r.MaxLife != r.Life {
						life += " (up to " + r.MaxLife + ")"
					}
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", r.Name, r.Summary, strings.Join(r.Rooms, ", "), life, source)
				}
			})
		},
	}
}

func (p *program) profileShow() *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Short: "show a profile's rules", Args: between(1, 1, "the profile's name; see: chancery profile list"),
		RunE: func(cmd *cobra.Command, args []string) error {
			out, err := call[desk.Named, desk.ProfileRules](cmd.Context(), p, "profile.show", desk.Named{Name: args[0]})
			if err != nil {
				return err
			}
			return p.show(out, func(w io.Writer) {
				if out.Text != "" {
					fmt.Fprint(w, out.Text)
					return
				}
				pairs(w, [2]string{"name", out.Name}, [2]string{"for", out.Summary}, [2]string{"asked by", strings.Join(out.Rooms, ", ")},
					[2]string{"names", strings.Join(out.Identifiers, ", ")}, [2]string{"life", out.Life}, [2]string{"at most", out.MaxLife})
			})
		},
	}
}

// checked is what profile check says.
type checked struct {
	Name string `json:"name"`
	Good bool   `json:"good"`
}

func (p *program) profileCheck() *cobra.Command {
	return &cobra.Command{
		Use: "check FILE...", Short: "check profile files, without a server", Args: between(1, 100, "the profile files (TOML)"),
		RunE: func(_ *cobra.Command, args []string) error {
			var all []checked
			for _, file := range args {
				text, err := p.readInput(file)
				if err != nil {
					return err
				}
				name := strings.TrimSuffix(filepath.Base(file), ".toml")
				if _, err := ca.ParseProfile(name, text); err != nil {
					return err
				}
				all = append(all, checked{Name: name, Good: true})
			}
			return p.show(all, func(w io.Writer) {
				for _, c := range all {
					fmt.Fprintf(w, "%s\tgood\n", c.Name)
				}
			})
		},
	}
}

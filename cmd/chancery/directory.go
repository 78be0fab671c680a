package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"chancery/internal/acmeserver"

	"github.com/spf13/cobra"
)

func (p *program) directory() *cobra.Command {
	cmd := group("directory", "ACME directories: list, export", `The ACME directories of the running server. The first is at /acme/directory; sections
[[acme.directory]] of the configuration make more, at /acme/d/NAME/directory.`)
	cmd.AddCommand(p.directoryList(), p.directoryExport())
	return cmd
}

func (p *program) directoryList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "list the directories", Args: between(0, 0, "list takes no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			out, err := call[struct{}, acmeserver.DirectoriesShown](cmd.Context(), p, "acme.directory.list", struct{}{})
			if err != nil {
				return err
			}
			return p.show(out, func(w io.Writer) {
				fmt.Fprintln(w, "NAME\tURL\tHOSTS\tPROFILES\tCAA IDENTITIES\tEAB")
				for _, d := range out.Directories {
					eab := "-"
					if d.RequireEAB {
						eab = "required"
					}
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", orDash(d.Name), d.URL, orDash(strings.Join(d.Hosts, ", ")),
						strings.Join(d.Profiles, ", "), orDash(strings.Join(d.CAAIdentities, ", ")), eab)
				}
			})
		},
	}
}

func (p *program) directoryExport() *cobra.Command {
	var name, out string
	cmd := &cobra.Command{
		Use: "export [--name NAME] [--out FILE]", Short: "write a directory for another web server",
		Long: `Writes an ACME directory, octet for octet as this server gives it. Another web server
that answers for the CA's domain can serve the file at /.well-known/acme, with status
200 and the Content-Type application/json, so that clients that know the CA by the name
in a CAA record find this server. Write it again when the configuration changes.`,
		Args: between(0, 0, "export takes no arguments; see --name"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, err := call[acmeserver.DirectoryNamed, acmeserver.DirectoryExported](cmd.Context(), p, "acme.directory.export", acmeserver.DirectoryNamed{Name: name})
			if err != nil {
				return err
			}
			if out == "" {
				_, err = p.out.Write(d.Object)
				return err
			}
			if err := os.WriteFile(out, d.Object, 0o644); err != nil {
				return fmt.Errorf("the directory cannot be written: %w", err)
			}
			return p.show(map[string]string{"url": d.URL, "file": out}, func(w io.Writer) {
				pairs(w, [2]string{"directory", d.URL}, [2]string{"file", out})
			})
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "the `NAME` of a further directory (default the first)")
	cmd.Flags().StringVar(&out, "out", "", "write to `FILE` (default standard output)")
	return cmd
}

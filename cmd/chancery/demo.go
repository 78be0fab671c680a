package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"
)

func (p *program) demo() *cobra.Command {
	var directory string
	cmd := &cobra.Command{
		Use: "demo [--dir DIR]", Short: "show all of it in a few seconds, in a directory of its own",
		Long: `Plays a certification authority and its customer on this machine's loopback: a DNS
server, the authority, certificates obtained by ACME (http-01, and dns-01 for a
wildcard), verified, asked about by OCSP, revoked. Then two more authorities, and a
client that knows neither: it finds them by the CAA records of the domains' owners, goes
to the second when the first is down, tells its user, and gets an EV certificate where
the owner wants one. Last a device that knows its maker alone, and enrols over EST.
Nothing outside of the directory is touched; it stays, to look at.
The exit status is 0 only if every step was verified.`,
		Args: between(0, 0, "demo takes flags only"),
		RunE: func(cmd *cobra.Command, _ []string) error { return p.play(cmd.Context(), directory) },
	}
	cmd.Flags().StringVar(&directory, "dir", "", "put everything into `DIR` (new or empty; default a new one for temporary files)")
	return cmd
}

// demoTime is far more than the demo takes; it must not hang.
const demoTime = time.Minute

// act is one thing that the demo shows; show gives the line beside it.
type act struct {
	title string
	show  func(context.Context) (string, error)
}

// shown is what became of an act.
type shown struct {
	Step   string `json:"step"`
	Result string `json:"result"`
	Millis int64  `json:"ms"`
}

func (p *program) play(ctx context.Context, directory string) error {
	directory, err := demoDirectory(directory)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, demoTime)
	defer cancel()
	s := &scene{directory: directory, program: p}
	defer s.close()
	m := &market{scene: s}
	defer m.close()
	y := &yard{scene: s}
	defer y.close()
	if !p.json {
		fmt.Fprintf(p.out, "A certification authority and its customer, on this machine only.\nEverything is in %s\n\n", directory)
	}
	start := time.Now()
	var all []shown
	for n, a := range slices.Concat(s.acts(), m.acts(), y.acts()) {
		began := time.Now()
		result, err := a.show(ctx)
		took := time.Since(began)
		if err != nil {
			return fmt.Errorf("the demo failed at step %d, %s: %w\nWhat there is by now, the server's log too, is in %s", n+1, a.title, err, directory)
		}
		all = append(all, shown{a.title, result, took.Milliseconds()})
		if !p.json {
			fmt.Fprintf(p.out, "%2d  %s\n    %-70s %5d ms\n", n+1, a.title, result, took.Milliseconds())
		}
	}
	if p.json {
		return p.showJSON(map[string]any{"directory": directory, "steps": all, "ms": time.Since(start).Milliseconds(), "verified": true})
	}
	fmt.Fprintf(p.out, afterDemo, time.Since(start).Seconds(), directory)
	return nil
}

const afterDemo = `
All of it was verified, in %.1f s. To look at, in %[2]s:

  root.pem             what a relying party trusts
  shop.pem, .key       the certificate with those above it, and its key; revoked by now
  wildcard.pem, .key   the other one
  chancery.toml        the server's whole configuration; data/ its keys and database
  server.log           what the servers and the client had to say
  client.toml, client/ the settings of the client that found its CAs, and what it keeps
  messages.txt         what its user was told
  idevid.pem, .key     what the maker gave the device; maker.pem is its authority
  device/current/      what the device has now: certificate, key, chain
  plant.demo.test.toml the configuration of the EST server that gave it

Next:

  openssl x509 -in %[2]s/wildcard.pem -noout -text
  openssl x509 -in %[2]s/idevid.pem -noout -text
  chancery serve --config %[2]s/chancery.toml      (Ctrl-C stops it)
  chancery cert list --config %[2]s/chancery.toml  (while it runs)
  chancery discover example.com                    which CA would certify a name of yours
  chancery serve                                   an authority to keep
`

// demoDirectory makes the directory, or takes an empty one.
func demoDirectory(directory string) (string, error) {
	if directory == "" {
		return os.MkdirTemp("", "chancery-demo-")
	}
	if err := os.MkdirAll(directory, 0o700); err != nil {
		return "", err
	}
	entries, err := os.ReadDir(directory)
	if err != nil {
		return "", err
	}
	if len(entries) > 0 {
		return "", badInput("%s is not empty; the demo wants a directory of its own", directory)
	}
	return filepath.Abs(directory)
}

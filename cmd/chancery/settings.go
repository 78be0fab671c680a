package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"chancery/internal/config"
	"chancery/internal/daemon"

	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/cobra"
)

// settings is the command "config"; the field of that name is the flag.
func (p *program) settings() *cobra.Command {
	cmd := group("config", "the configuration: check, show", `The configuration comes from the --config file (TOML), then the environment
(CHANCERY_LISTEN_PUBLIC sets listen.public), then flags; each later one wins. A running
server reads it again on SIGHUP.`)
	cmd.AddCommand(p.configCheck(), p.configShow(), p.configClient())
	return cmd
}

// verdict is what config check says.
type verdict struct {
	Good     bool      `json:"good"`
	Problems []mistake `json:"problems"`
	Warnings []mistake `json:"warnings"`
	// Secrets are the keys whose secrets could be read.
	Secrets []string `json:"secrets"`
}

type mistake struct {
	Source string `json:"source,omitempty"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
	Key    string `json:"key,omitempty"`
	Text   string `json:"text"`
}

func (p *program) configCheck() *cobra.Command {
	return &cobra.Command{
		Use: "check [FILE]", Short: "say whether the configuration is good",
		Long: `Reads the configuration as a start would, with the files that it names. Each secret that
it names is opened and forgotten: it must be readable for whoever runs this, so run it
as the server's user. Whether a passphrase fits its keys is seen when the server starts.`,
		Args: between(0, 1, "the configuration file, unless --config names it"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				p.config = args[0]
			}
			c, warnings, err := p.load(config.Overrides{})
			var secrets []string
			if err == nil {
				var more []config.Warning
				secrets, more, err = p.checkMore(cmd.Context(), c)
				warnings = append(warnings, more...)
			}
			problems, ok := errors.AsType[config.Problems](err)
			if err != nil && !ok {
				return err
			}
			if p.json {
				return errors.Join(p.showJSON(judged(problems, warnings, secrets)), err)
			}
			for _, w := range warnings {
				p.warn("%s", w)
			}
			if err != nil {
				return err
			}
			name := p.config
			if name == "" {
				name = "the configuration (defaults and environment, no file)"
			}
			fmt.Fprintf(p.out, "%s is good\n", name)
			if len(secrets) > 0 {
				fmt.Fprintf(p.out, "its secrets can be read: %s\n", strings.Join(secrets, ", "))
			}
			return nil
		},
	}
}

// checkMore looks at what the configuration names. Secrets are the keys of those that can
// be read; the error is [config.Problems] if it is about the configuration.
func (p *program) checkMore(ctx context.Context, c *config.Config) (secrets []string, warnings []config.Warning, err error) {
	secrets, problems, warnings := daemon.Secrets(c)
	err = daemon.Check(c)
	if more, ok := errors.AsType[config.Problems](err); ok || err == nil {
		problems = append(problems, more...)
		err = nil
		if len(problems) > 0 {
			err = problems
		}
	}
	return secrets, append(warnings, p.estConcerns(ctx, c)...), err
}

// estConcerns is what EST clients will stumble over: by what the files say, and by what
// the running server knows, which may be the same.
func (p *program) estConcerns(ctx context.Context, c *config.Config) (list []config.Warning) {
	list = daemon.Warnings(c, time.Now())
	for _, w := range p.estWarnings(ctx, c) {
		if !slices.ContainsFunc(list, func(known config.Warning) bool { return known.Text == w.Text }) {
			list = append(list, w)
		}
	}
	return list
}

func judged(problems config.Problems, warnings []config.Warning, secrets []string) verdict {
	v := verdict{Good: len(problems) == 0, Problems: []mistake{}, Warnings: []mistake{}, Secrets: append([]string{}, secrets...)}
	for _, one := range problems {
		v.Problems = append(v.Problems, mistake(one))
	}
	for _, w := range warnings {
		v.Warnings = append(v.Warnings, mistake{Key: w.Key, Text: w.Text})
	}
	return v
}

func (p *program) configShow() *cobra.Command {
	var effective bool
	cmd := &cobra.Command{
		Use: "show [--effective]", Short: "print the configuration as a file",
		Long: `Prints the whole configuration as it takes effect, defaults included and with who set
a value that is none, as a file that --config reads. With --effective each value stands
below its manual: a good start for a file of your own.`,
		Args: between(0, 0, "show takes no arguments"),
		RunE: func(*cobra.Command, []string) error {
			c, err := p.loadLoudly(config.Overrides{})
			if err != nil {
				return err
			}
			var text bytes.Buffer
			if err := c.Effective(&text); err != nil {
				return err
			}
			if p.json {
				return p.configJSON(text.Bytes())
			}
			if effective {
				_, err = io.Copy(p.out, &text)
				return err
			}
			for line := range strings.Lines(text.String()) {
				if start := strings.TrimSpace(line); start != "" && !strings.HasPrefix(start, "#") {
					fmt.Fprint(p.out, line)
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&effective, "effective", false, "with the manual")
	return cmd
}

func (p *program) configJSON(text []byte) error {
	var tree map[string]any
	if err := toml.Unmarshal(text, &tree); err != nil {
		return err
	}
	return p.showJSON(tree)
}

// configClient shows the client's settings, which are in a file of their own.
func (p *program) configClient() *cobra.Command {
	return &cobra.Command{
		Use: "client", Short: "the client's settings (client.toml) with their manual, as they are now",
		Long: `Writes the settings of discover, get, renew, agent and account, each below what it means,
as a file that --config takes: a good start for client.toml. The file is looked for at
/etc/chancery/client.toml for root, and ~/.config/chancery/client.toml for others.`,
		Args: between(0, 0, "client takes no arguments; --config names the file"),
		RunE: func(*cobra.Command, []string) error {
			s, err := p.clientSettings()
			if err != nil {
				return err
			}
			return s.Explain(p.out)
		},
	}
}

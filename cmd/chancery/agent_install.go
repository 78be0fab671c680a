package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"chancery/internal/enroll"
	"chancery/internal/enroll/agent"
	"chancery/internal/enroll/settings"
	"chancery/internal/enroll/vault"

	"github.com/spf13/cobra"
)

type agentUnits struct{ user, timer, print bool }

func (p *program) agentInstall() *cobra.Command {
	var f agentUnits
	cmd := &cobra.Command{
		Use: "install [--user] [--timer] [--print]", Short: "make a systemd service of the agent",
		Long: `Writes hardened systemd units for the agent with the settings and data directory of this
command line, and says what to type next. It starts nothing.

The service may write to its data directory and to the directories into which
certificates are installed; the units are written anew when you run this again after
such a directory was added. --timer makes a timer that runs one pass an hour in place of
a process that stays: enough where certificates live for a week or more.`,
		Annotations: map[string]string{endsAsRun: "yes"}, Args: between(0, 0, "install takes flags only"),
		RunE: func(*cobra.Command, []string) error {
			if err := p.installAgent(f); err != nil {
				return &enrolError{enroll.Failed, err}
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&f.user, "user", false, "for this user's own service manager, without root")
	flags.BoolVar(&f.timer, "timer", false, "a timer in place of a process that stays")
	flags.BoolVar(&f.print, "print", false, "print the units and write nothing")
	return cmd
}

func (p *program) installAgent(f agentUnits) error {
	s, err := p.clientSettings()
	if err != nil {
		return err
	}
	u := agent.Units{User: f.user, Timer: f.timer}
	if u.Binary, err = os.Executable(); err != nil {
		return err
	}
	if u.Data, err = filepath.Abs(s.Data); err != nil {
		return err
	}
	if s.File() != "" {
		if u.Config, err = filepath.Abs(s.File()); err != nil {
			return err
		}
	}
	if u.Write, err = installedTo(s, u.Data); err != nil {
		return err
	}
	files, err := u.Files()
	if err != nil {
		return err
	}
	if f.print {
		for i, file := range files {
			if len(files) > 1 {
				fmt.Fprintf(p.out, "%s# %s\n", []string{"", "\n"}[min(i, 1)], file.Name)
			}
			fmt.Fprint(p.out, file.Text)
		}
		return nil
	}
	dir := agent.UnitDirectory
	if f.user {
		config, err := os.UserConfigDir()
		if err != nil {
			return err
		}
		dir = filepath.Join(config, "systemd", "user")
	}
	return p.writeUnits(dir, files, f)
}

func (p *program) writeUnits(dir string, files []agent.Unit, f agentUnits) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("%w: run this as root, or with --user", err)
	}
	for _, file := range files {
		path := filepath.Join(dir, file.Name)
		if err := os.WriteFile(path, []byte(file.Text), 0o644); err != nil {
			return fmt.Errorf("%w: run this as root, or with --user; --print shows what would be written", err)
		}
		fmt.Fprintf(p.out, "wrote %s\n", path)
	}
	control := "systemctl"
	if f.user {
		control += " --user"
	}
	start := files[len(files)-1].Name
	fmt.Fprintf(p.out, "\nNow:\n  %s daemon-reload\n  %s enable --now %s\n  chancery agent status\n", control, control, start)
	if f.user {
		fmt.Fprintf(p.out, "and, so that it runs while you are not logged in:\n  loginctl enable-linger\n")
	}
	return nil
}

// installedTo lists the directories of the files that certificates are installed to, by
// the settings and by what was asked for by hand.
func installedTo(s *settings.Settings, data string) (dirs []string, err error) {
	for _, c := range s.Certificates {
		for _, path := range c.Target().Paths() {
			dirs = append(dirs, filepath.Dir(path))
		}
		if c.Webroot != "" {
			dirs = append(dirs, c.Webroot)
		}
	}
	if s.Challenge.Webroot != "" {
		dirs = append(dirs, s.Challenge.Webroot)
	}
	if _, err := os.Stat(data); err == nil {
		v, err := vault.Open(data)
		if err != nil {
			return nil, err
		}
		for rec, err := range v.Records() {
			if err != nil {
				continue // status tells
			}
			for _, path := range rec.Sheet.Install.Paths() {
				dirs = append(dirs, filepath.Dir(path))
			}
			if rec.Sheet.Challenge.Webroot != "" {
				dirs = append(dirs, rec.Sheet.Challenge.Webroot)
			}
		}
	}
	slices.Sort(dirs)
	return slices.Compact(dirs), nil
}

package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"chancery/internal/owned"
	"chancery/internal/spelling"
)

// Overrides are what the command line says; "" = nothing.
type Overrides struct {
	Data   string // --data: the data directory
	Listen string // --listen: the public HTTPS address
}

// ErrNone says that the file that was named is not there.
var ErrNone = errors.New("no configuration")

// Load reads the file at path ("" = none), then the environment (as os.Environ
// gives it; CHANCERY_LISTEN_PUBLIC sets listen.public), then overrides, and
// checks the whole. The error is Problems with everything found, [ErrNone], an [owned.Refusal]
// of a file that others may change, or what the file system says. A Config is returned only without error.
func Load(path string, overrides Overrides, environ []string) (*Config, []Warning, error) {
	if path == "" {
		return load(input{overrides: overrides, environ: environ})
	}
	text, err := owned.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil, fmt.Errorf("%w at %s: write one (\"chancery config show --effective\" prints a start), or leave --config away: %w", ErrNone, path, err)
	case err != nil:
		return nil, nil, fmt.Errorf("configuration: %w", err)
	}
	return load(input{name: path, text: text, overrides: overrides, environ: environ})
}

// input is all that a configuration comes from.
type input struct {
	name      string // "" = no file
	text      []byte
	overrides Overrides
	environ   []string
}

func load(in input) (*Config, []Warning, error) {
	c := Default()
	c.origins = map[string]origin{}
	environment := map[string]string{}
	for _, entry := range in.environ {
		name, value, _ := strings.Cut(entry, "=")
		environment[name] = value
	}
	// systemd joins several StateDirectory= by colons; the first is ours.
	if state, _, _ := strings.Cut(environment["STATE_DIRECTORY"], ":"); state != "" {
		c.Data = state
		c.origins["data"] = origin{source: "environment variable STATE_DIRECTORY"}
	}
	var problems Problems
	if in.name != "" {
		d, err := read(in.name, in.text)
		if err != nil {
			return nil, nil, err
		}
		problems = d.apply(c)
		c.anchor(filepath.Dir(in.name))
	}
	warnings, wrong := c.applyEnvironment(environment)
	problems = append(problems, wrong...)
	c.applyOverrides(in.overrides)
	if len(problems) == 0 {
		c.derive()
		problems = c.validate()
	}
	if len(problems) > 0 {
		problems.Sort()
		return nil, warnings, problems
	}
	return c, append(warnings, c.oddities()...), nil
}

// anchor makes the paths that a file wrote relative to the file, not to where
// somebody stood when starting the server.
func (c *Config) anchor(directory string) {
	c.anchorEST(directory)
	for key, path := range map[string]*string{"data": &c.Data, "profiles": &c.Profiles} {
		if o := c.origins[key]; o.line > 0 && *path != "" && !filepath.IsAbs(*path) {
			*path = filepath.Join(directory, *path)
		}
	}
	for key, r := range map[string]*Reference{"database.password": &c.Database.Password, "keys.unlock": &c.Keys.Unlock, "mail.password": &c.Mail.Password} {
		scheme, place, _ := strings.Cut(string(*r), ":")
		if c.origins[key].line > 0 && strings.HasSuffix(scheme, "file") && !filepath.IsAbs(place) {
			*r = Reference(scheme + ":" + filepath.Join(directory, place))
		}
	}
}

// variable is the environment's name of a key: acme.max_names is
// CHANCERY_ACME_MAX_NAMES.
func variable(key string) string {
	return "CHANCERY_" + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

// foreign are prefixes of variables that speak to the project's own tests.
var foreign = []string{"CHANCERY_CRASH", "CHANCERY_TEST", "CHANCERY_PEERS"}

func (c *Config) applyEnvironment(environment map[string]string) (warnings []Warning, problems Problems) {
	byVariable := map[string]field{}
	for key, f := range fieldsOf(c) {
		byVariable[variable(key)] = f
	}
	known := slices.Sorted(maps.Keys(byVariable))
	for _, name := range slices.Sorted(maps.Keys(environment)) {
		ours := strings.HasPrefix(name, "CHANCERY_") &&
			!slices.ContainsFunc(foreign, func(p string) bool { return strings.HasPrefix(name, p) })
		f, ok := byVariable[name]
		switch {
		case !ours:
		case !ok:
			text := "this environment variable is unknown and does nothing"
			if meant := spelling.Nearest(name, known); meant != "" {
				text += ": did you mean " + meant + "?"
			}
			warnings = append(warnings, Warning{Key: name, Text: text})
		default:
			o := origin{source: "environment variable " + name}
			c.origins[f.key] = o
			if err := f.setText(environment[name]); err != nil {
				problems = append(problems, o.problem(f.key, err.Error()))
			}
		}
	}
	return warnings, problems
}

func (c *Config) applyOverrides(overrides Overrides) {
	if overrides.Data != "" {
		c.Data, c.origins["data"] = overrides.Data, origin{source: "command line"}
	}
	if overrides.Listen != "" {
		c.Listen.Public, c.origins["listen.public"] = overrides.Listen, origin{source: "command line"}
	}
}

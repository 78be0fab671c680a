package settings

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"

	"chancery/internal/enroll/install"
)

// Values are kept as they were written and judged afterwards, so that everything
// wrong is found in one go and each with its line.

// flawed is a value whose form can be wrong; the text says how, "" = it is right.
type flawed interface{ flaw() string }

// Duration is a length of time, written as "48h", "1h30m", "90d" or "1d12h". A
// day has 24 hours. It is never negative and at most 100 years. "" = not set.
type Duration string

const longest = 36525 * 24 * time.Hour

func (d Duration) parse() (time.Duration, error) {
	bad := fmt.Errorf("%.40q is no duration: write it as \"90d\", \"48h\" or \"1h30m\"", string(d))
	days, rest, hasDays := strings.Cut(string(d), "d")
	var total time.Duration
	if hasDays {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return 0, bad
		}
		total = time.Duration(n) * 24 * time.Hour
	} else {
		rest = string(d)
	}
	if rest != "" {
		more, err := time.ParseDuration(rest)
		if err != nil || more < 0 || more > longest {
			return 0, bad
		}
		total += more
	}
	if total > longest {
		return 0, bad
	}
	return total, nil
}

func (d Duration) flaw() string {
	if _, err := d.parse(); err != nil {
		return err.Error()
	}
	return ""
}

// Std gives the standard library's form; 0 if not set.
func (d Duration) Std() time.Duration {
	length, _ := d.parse()
	return length
}

// Mode is a file's permissions, written "0640". "" = not set.
type Mode string

func (m Mode) parse() (mode install.Mode, err error) {
	err = mode.UnmarshalText([]byte(m))
	return mode, err
}

func (m Mode) flaw() string {
	if _, err := m.parse(); err != nil {
		return err.Error()
	}
	return ""
}

// Reference says where a secret is, and is none itself: "file:PATH" or
// "credential:NAME" (systemd's LoadCredential). "" = not set.
type Reference string

// flaw does not repeat the text: it may be the secret, written where the
// reference belongs.
func (r Reference) flaw() string {
	scheme, place, _ := strings.Cut(string(r), ":")
	switch {
	case r == "":
	case scheme != "file" && scheme != "credential":
		return "secrets are not written here: put it into a file and write \"file:PATH\", or \"credential:NAME\" for one that systemd loads"
	case place == "":
		return strconv.Quote(scheme+":") + " needs a name after it"
	case scheme == "credential" && (strings.Contains(place, "/") || place == "." || place == ".."):
		return "\"credential:\" takes a name without slashes, as in systemd's LoadCredential=NAME:PATH"
	}
	return ""
}

// Command is a hook's: a list of program and arguments, or a line for the shell.
type Command struct {
	List  []string
	Line  string
	wrong string
}

func (c Command) flaw() string { return c.wrong }

// Empty tells whether there is none.
func (c Command) Empty() bool { return len(c.List) == 0 && c.Line == "" }

// hook gives it to the installer, nil if there is none.
func (c Command) hook(limit Duration) []install.Hook {
	if c.Empty() {
		return nil
	}
	return []install.Hook{{Command: c.List, Shell: c.Line, Timeout: install.Duration(limit.Std())}}
}

// UnmarshalTOML reads text in quotes or a list of texts.
func (c *Command) UnmarshalTOML(data []byte) error {
	*c = Command{}
	if err := c.read(data); err != nil {
		*c = Command{wrong: err.Error()}
	}
	return nil
}

func (c *Command) read(data []byte) error {
	bad := errors.New("a command is a list of program and arguments, as [\"systemctl\", \"reload\", \"nginx\"], or text for the shell")
	var line struct{ Value any }
	if err := toml.Unmarshal(append([]byte("Value = "), data...), &line); err != nil {
		return bad
	}
	switch value := line.Value.(type) {
	case string:
		c.Line = value
		return nil
	case []any:
		for _, one := range value {
			text, ok := one.(string)
			if !ok {
				return bad
			}
			c.List = append(c.List, text)
		}
		return nil
	}
	return bad
}

// flaws finds every value whose form is wrong. What is not set is right; most of
// ten thousand certificates is not set.
func (j *judge) flaws(key string, v reflect.Value) {
	if v.IsZero() {
		return
	}
	if one, ok := v.Interface().(flawed); ok {
		if text := one.flaw(); text != "" {
			j.add(key, "%s", text)
		}
		return
	}
	switch {
	case v.Kind() == reflect.Struct && v.Type().PkgPath() == reflect.TypeFor[judge]().PkgPath():
		for i := range v.NumField() {
			if v.Field(i).IsZero() {
				continue
			}
			if name, tagged := v.Type().Field(i).Tag.Lookup("toml"); tagged {
				j.flaws(strings.TrimPrefix(key+"."+name, "."), v.Field(i))
			}
		}
	case v.Kind() == reflect.Map:
		for iterator := v.MapRange(); iterator.Next(); {
			j.flaws(key+"."+iterator.Key().String(), iterator.Value())
		}
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct:
		for i := range v.Len() {
			j.flaws(key+nth(i), v.Index(i))
		}
	}
}

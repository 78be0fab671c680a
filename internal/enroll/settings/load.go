package settings

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"

	"github.com/pelletier/go-toml/v2"

	"chancery/internal/owned"
	"chancery/internal/spelling"
)

// Default gives the settings of a machine that has no client.toml. environ is as
// os.Environ gives it.
func Default(environ []string) *Settings {
	return &Settings{
		Data: dataDir(environ), AccountKey: "ecdsa-p256",
		DNS: DNS{DNSSEC: "prefer"},
		Discovery: Discovery{
			Enabled: true, Rules: "seed", Default: true, CAAIdentities: "prefer", AgreeTerms: "caa",
		},
		Challenge: Challenge{HTTP: ":80"},
		Renew:     Renew{Before: 1.0 / 3, ARI: true, Jitter: "1h", Workers: 4},
		Retry: Retry{
			// Total apart, these are the engine's own; a test holds them together.
			Attempts: 4, Pause: "2s", Longest: "1m",
			PerCA: "5m", Total: "1h",
		},
		Breaker: Breaker{Failures: 3, Pause: "15m"},
		Notify: Notify{
			After: 2, Mail: Mail{Security: "starttls"}, Exec: Exec{Timeout: "1m"},
		},
	}
}

// lookup finds a variable; "" = not set.
func lookup(environ []string, name string) string {
	for _, entry := range environ {
		if value, ok := strings.CutPrefix(entry, name+"="); ok {
			return value
		}
	}
	return ""
}

// userDir is a directory of the XDG base directory specification, which ignores
// relative ones; "" for somebody without a home.
func userDir(environ []string, variable, below string) string {
	if dir := lookup(environ, variable); filepath.IsAbs(dir) {
		return dir
	}
	if home := lookup(environ, "HOME"); home != "" {
		return filepath.Join(home, below)
	}
	return ""
}

func dataDir(environ []string) string {
	// systemd joins several StateDirectory= by colons; the first is ours.
	if state, _, _ := strings.Cut(lookup(environ, "STATE_DIRECTORY"), ":"); state != "" {
		return state
	}
	if dir := userDir(environ, "XDG_STATE_HOME", ".local/state"); os.Geteuid() != 0 && dir != "" {
		return filepath.Join(dir, "chancery")
	}
	return "/var/lib/chancery-client"
}

// Place is where client.toml is if nobody says: /etc/chancery for root, else
// $XDG_CONFIG_HOME/chancery or ~/.config/chancery.
func Place(environ []string) string {
	if dir := userDir(environ, "XDG_CONFIG_HOME", ".config"); os.Geteuid() != 0 && dir != "" {
		return filepath.Join(dir, "chancery", "client.toml")
	}
	return "/etc/chancery/client.toml"
}

// ErrNone says that the file that was named is not there.
var ErrNone = errors.New("no settings")

// Load reads the file at path and checks the whole. "" is the one at Place, and
// the default settings if there is none there. The error is Problems with what
// was found, [ErrNone], an [owned.Refusal] of a file that others may change, as it names commands,
// or what the file system says.
func Load(path string, environ []string) (*Settings, error) {
	asked := path != ""
	if !asked {
		path = Place(environ)
	}
	text, err := owned.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !asked:
		return Default(environ), nil
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w at %s: write them, or leave --config away: %w", ErrNone, path, err)
	case err != nil:
		return nil, fmt.Errorf("settings: %w", err)
	}
	if path, err = filepath.Abs(path); err != nil {
		return nil, err
	}
	return Parse(path, text, environ)
}

// largest is far more than any settings and little enough to read at once.
const largest = 64 << 20

// Parse reads settings from a text; name is its file's, for messages and for
// relative paths in it.
func Parse(name string, text []byte, environ []string) (*Settings, error) {
	if len(text) > largest {
		return nil, Problems{{Source: name, Text: "larger than 64 MiB: these are no settings"}}
	}
	s := Default(environ)
	s.file = name
	decoder := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields().EnableUnmarshalerInterface()
	if err := decoder.Decode(s); err != nil {
		return nil, decoding(name, err)
	}
	s.anchor(filepath.Dir(name))
	s.fill()
	if wrong := s.validate(); len(wrong) > 0 {
		return nil, locate(name, text, wrong)
	}
	return s, nil
}

// decoding words what the decoder found wrong.
func decoding(name string, err error) error {
	if missing, ok := errors.AsType[*toml.StrictMissingError](err); ok {
		var all Problems
		for _, one := range missing.Errors {
			line, column := one.Position()
			key := strings.Join(one.Key(), ".")
			all = append(all, Problem{Source: name, Line: line, Column: column, Key: key, Text: unknown(key)})
		}
		return all
	}
	p := Problem{Source: name, Text: strings.TrimPrefix(err.Error(), "toml: ")}
	if wrong, ok := errors.AsType[*toml.DecodeError](err); ok {
		p.Line, p.Column = wrong.Position()
		p.Key = strings.Join(wrong.Key(), ".")
	}
	return Problems{p}
}

// known are all keys, "certificate.install.key" for one in an array of tables.
var known = sync.OnceValue(func() []string {
	var keys []string
	var walk func(prefix string, t reflect.Type)
	walk = func(prefix string, t reflect.Type) {
		for f := range t.Fields() {
			name, tagged := f.Tag.Lookup("toml")
			if !tagged {
				continue
			}
			keys = append(keys, prefix+name)
			inner := f.Type
			if inner.Kind() == reflect.Slice {
				inner = inner.Elem()
			}
			if inner.Kind() == reflect.Struct && inner.PkgPath() == t.PkgPath() && inner != reflect.TypeFor[Command]() {
				walk(prefix+name+".", inner)
			}
		}
	}
	walk("", reflect.TypeFor[Settings]())
	return keys
})

// unknown says so, and what was perhaps meant.
func unknown(key string) string {
	if meant := spelling.Nearest(key, known()); meant != "" {
		return "unknown key: did you mean " + meant + "?"
	}
	return "unknown key: no setting has a name like it"
}

// anchor makes relative paths relative to the file, not to where somebody stood.
func (s *Settings) anchor(dir string) {
	paths := []*string{&s.Data, &s.Discovery.Roots, &s.Challenge.Webroot}
	references := []*Reference{&s.Notify.Mail.Password, &s.Notify.Webhook.URLFrom, &s.Notify.Webhook.Token, &s.Notify.Webhook.Secret}
	for i := range s.CAs {
		paths, references = append(paths, &s.CAs[i].Roots), append(references, &s.CAs[i].EAB.Key)
	}
	for i := range s.Certificates {
		c := &s.Certificates[i]
		paths, references = append(paths, &c.Webroot), append(references, &c.Install.PKCS12Password)
	}
	for i := range s.Challenge.DNS {
		p := &s.Challenge.DNS[i]
		paths, references = append(paths, &p.KeyFile), append(references, &p.Key)
		for name, secret := range p.Secrets {
			p.Secrets[name] = secret.below(dir)
		}
	}
	for _, p := range paths {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
	for _, r := range references {
		*r = r.below(dir)
	}
}

func (r Reference) below(dir string) Reference {
	if path, ok := strings.CutPrefix(string(r), "file:"); ok && !filepath.IsAbs(path) {
		return Reference("file:" + filepath.Join(dir, path))
	}
	return r
}

// fill sets what is left to a default inside arrays of tables.
func (s *Settings) fill() {
	for i := range s.Challenge.DNS {
		p := &s.Challenge.DNS[i]
		if p.Propagation == "" {
			p.Propagation = "2m"
		}
	}
	for i := range s.CAs {
		if s.CAs[i].AccountKey == "" {
			s.CAs[i].AccountKey = s.AccountKey
		}
		if len(s.CAs[i].Contacts) == 0 {
			s.CAs[i].Contacts = s.Contacts
		}
	}
}

package solve

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/miekg/dns"

	"chancery/internal/keys"
)

// TSIG is a key that signs DNS messages (RFC 8945).
type TSIG struct {
	Name      string      // with the final dot, in lower case
	Algorithm string      // "hmac-sha256." or another of RFC 8945 §6, in lower case
	Secret    keys.Secret // the key itself, not its base64
}

// TSIGConfig says where a key is: in a key file of BIND's tools (tsig-keygen, ddns-confgen,
// "key { … };"), or its parts, of which the secret is by reference: base64, or such a file.
type TSIGConfig struct {
	KeyFile string `toml:"key_file"` // path; excludes the others, but for Name if the file has several keys
	Name    string `toml:"name"`
	// Algorithm is hmac-sha1, -sha224, -sha256 (also when empty), -sha384 or -sha512.
	Algorithm string `toml:"algorithm"`
	// Secret is file:PATH or credential:NAME, with base64 or the text of a key file.
	Secret string `toml:"secret"`
}

// Load reads the key; nil if none is configured.
func (c TSIGConfig) Load() (*TSIG, error) {
	if c == (TSIGConfig{}) {
		return nil, nil
	}
	if c.KeyFile != "" {
		if c.Algorithm != "" || c.Secret != "" {
			return nil, errors.New("a TSIG key_file has the algorithm and the secret: leave those out")
		}
		text, err := readSecret("file:" + c.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("the TSIG key file: %w", err)
		}
		return c.find(text, "the TSIG key file "+c.KeyFile)
	}
	if c.Secret == "" {
		return nil, errors.New("a TSIG key needs a name and a secret, or a key_file")
	}
	text, err := readSecret(c.Secret)
	if err != nil {
		return nil, fmt.Errorf("the TSIG key's secret: %w", err)
	}
	if strings.Contains(text, "{") { // which no base64 has: it is a whole file of tsig-keygen
		if c.Algorithm != "" {
			return nil, fmt.Errorf("%s is a file of tsig-keygen and has the algorithm: leave that out", c.Secret)
		}
		return c.find(text, c.Secret)
	}
	if c.Name == "" {
		return nil, fmt.Errorf("the TSIG key needs its name, as the server knows it: %s has the bare secret alone", c.Secret)
	}
	key, err := newTSIG(c.Name, c.Algorithm, text)
	if err != nil {
		return nil, fmt.Errorf("the TSIG key in %s: %w", c.Secret, err)
	}
	return key, nil
}

// find gives the key of that name, or the only one, of a key file's text.
func (c TSIGConfig) find(text, where string) (*TSIG, error) {
	all, err := ParseKeyFile(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; write it with: tsig-keygen NAME", where, err)
	}
	name := dns.CanonicalName(c.Name)
	for _, k := range all {
		if c.Name == "" && len(all) == 1 || k.Name == name {
			return k, nil
		}
	}
	if c.Name == "" {
		return nil, fmt.Errorf("%s has %d keys: say which by name", where, len(all))
	}
	return nil, fmt.Errorf("%s has no key named %s", where, quote(c.Name))
}

// readSecret reads what a reference refers to, without whitespace around it.
func readSecret(reference string) (string, error) {
	secret, err := keys.ReadSecret(reference)
	if err != nil {
		return "", err
	}
	text := strings.TrimSpace(secret.Reveal())
	if text == "" {
		return "", errors.New("there is nothing but whitespace in " + reference)
	}
	return text, nil
}

// algorithms are those of RFC 8945 §6 that are neither broken (MD5) nor cut short.
var algorithms = map[string]string{
	"hmac-sha1": dns.HmacSHA1, "hmac-sha224": dns.HmacSHA224, "hmac-sha256": dns.HmacSHA256,
	"hmac-sha384": dns.HmacSHA384, "hmac-sha512": dns.HmacSHA512,
}

func newTSIG(name, algorithm, secret string) (*TSIG, error) {
	if algorithm == "" {
		algorithm = "hmac-sha256"
	}
	full, ok := algorithms[strings.ToLower(strings.TrimSuffix(algorithm, "."))]
	if !ok {
		return nil, fmt.Errorf("the algorithm %s is none of hmac-sha1, hmac-sha224, hmac-sha256, hmac-sha384 and hmac-sha512", quote(algorithm))
	}
	if !hostName(strings.TrimSuffix(name, ".")) {
		return nil, fmt.Errorf("%s is no name for a key: take letters, digits, hyphens, underscores and dots", quote(name))
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(secret)
	if err != nil || len(raw) == 0 {
		return nil, errors.New("the secret is neither base64 nor a file of tsig-keygen")
	}
	return &TSIG{Name: dns.CanonicalName(name), Algorithm: full, Secret: keys.NewSecret(raw)}, nil
}

// ParseKeyFile reads the key statements of a BIND configuration file, and nothing but
// those: key NAME { algorithm ALGORITHM; secret BASE64; }; with strings quoted or not and
// comments in all three styles. There is at least one, and no name twice. Errors never
// repeat what may be a secret.
func ParseKeyFile(text string) ([]*TSIG, error) {
	s := &keyScanner{rest: text, line: 1}
	var all []*TSIG
	for {
		word, err := s.next()
		if err != nil {
			return nil, err
		}
		if word == "" {
			break
		}
		if word != "key" {
			return nil, fmt.Errorf("line %d: a statement that is not key { … }; in a key file", s.line)
		}
		k, err := s.key()
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", s.line, err)
		}
		for _, other := range all {
			if other.Name == k.Name {
				return nil, fmt.Errorf("line %d: a second key named %s", s.line, quote(k.Name))
			}
		}
		all = append(all, k)
	}
	if len(all) == 0 {
		return nil, errors.New("there is no key in it")
	}
	return all, nil
}

// keyScanner splits a file into words, strings and the marks { } ;.
type keyScanner struct {
	rest string
	line int
}

func (s *keyScanner) key() (*TSIG, error) {
	name, err := s.value()
	if err != nil {
		return nil, err
	}
	if err := s.expect("{"); err != nil {
		return nil, err
	}
	given := map[string]string{}
	for {
		word, err := s.next()
		if err != nil {
			return nil, err
		}
		if word == "}" {
			break
		}
		if _, twice := given[word]; twice || word != "algorithm" && word != "secret" {
			return nil, errors.New("a key has one algorithm and one secret and nothing else")
		}
		if given[word], err = s.value(); err != nil {
			return nil, err
		}
		if err := s.expect(";"); err != nil {
			return nil, err
		}
	}
	if err := s.expect(";"); err != nil {
		return nil, err
	}
	if given["algorithm"] == "" || given["secret"] == "" {
		return nil, errors.New("a key needs an algorithm and a secret")
	}
	return newTSIG(name, given["algorithm"], given["secret"])
}

func (s *keyScanner) expect(mark string) error {
	word, err := s.next()
	if err == nil && word != mark {
		err = fmt.Errorf("a %s is missing", mark)
	}
	return err
}

// value is a word that is no mark.
func (s *keyScanner) value() (string, error) {
	word, err := s.next()
	if err == nil && (word == "" || strings.ContainsAny(word, "{};")) {
		err = errors.New("a value is missing")
	}
	return word, err
}

// next gives the next word or mark, a string without its quotes; "" at the end.
func (s *keyScanner) next() (string, error) {
	if err := s.skip(); err != nil || s.rest == "" {
		return "", err
	}
	switch c := s.rest[0]; c {
	case '{', '}', ';':
		s.rest = s.rest[1:]
		return string(c), nil
	case '"':
		end := strings.IndexAny(s.rest[1:], "\"\n\\")
		if end < 1 || s.rest[1+end] != '"' {
			return "", fmt.Errorf("line %d: a string that is empty, has a backslash or does not end", s.line)
		}
		word := s.rest[1 : 1+end]
		s.rest = s.rest[end+2:]
		if strings.ContainsAny(word, "{};") {
			return "", fmt.Errorf("line %d: a string with one of { } ; in it", s.line)
		}
		return word, nil
	}
	end := strings.IndexAny(s.rest, " \t\r\n{};\"")
	if end < 0 {
		end = len(s.rest)
	}
	word := s.rest[:end]
	s.rest = s.rest[end:]
	return word, nil
}

// skip drops blanks and comments.
func (s *keyScanner) skip() error {
	for s.rest != "" {
		n := 0
		switch {
		case strings.ContainsRune(" \t\r\n", rune(s.rest[0])):
			n = 1
		case s.rest[0] == '#' || strings.HasPrefix(s.rest, "//"):
			if n = strings.IndexByte(s.rest, '\n'); n < 0 {
				n = len(s.rest)
			}
		case strings.HasPrefix(s.rest, "/*"):
			end := strings.Index(s.rest[2:], "*/")
			if end < 0 {
				return fmt.Errorf("line %d: a comment that does not end", s.line)
			}
			n = end + 4
		default:
			return nil
		}
		s.line += strings.Count(s.rest[:n], "\n")
		s.rest = s.rest[n:]
	}
	return nil
}

package solve_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"chancery/internal/enroll/solve"
	"chancery/internal/keys"
)

const secret = "c2VjcmV0c2VjcmV0c2VjcmV0"

var keyFiles = []struct {
	label, text string
	names       []string // nil: refused
}{
	{"tsig-keygen", "key \"Ddns-Key\" {\n\talgorithm hmac-sha256;\n\tsecret \"" + secret + "\";\n};\n", []string{"ddns-key."}},
	{"bare words", "key k.example. { secret " + secret + "; algorithm HMAC-SHA512; };", []string{"k.example."}},
	{"comments", "# one\n// two\n/* three\n { */ key a { algorithm hmac-sha1; # x\n secret " + secret + "; /**/ }; //", []string{"a."}},
	{"two", "key a{algorithm hmac-sha224;secret " + secret + ";};key b{algorithm hmac-sha384;secret " + secret + ";};", []string{"a.", "b."}},
	{"empty", "", nil},
	{"comment only", "# key", nil},
	{"same name", "key a{algorithm hmac-sha224;secret " + secret + ";};key A{algorithm hmac-sha384;secret " + secret + ";};", nil},
	{"md5", "key a { algorithm hmac-md5; secret " + secret + "; };", nil},
	{"cut short", "key a { algorithm hmac-sha256-128; secret " + secret + "; };", nil},
	{"no secret", "key a { algorithm hmac-sha256; };", nil},
	{"no algorithm", "key a { secret " + secret + "; };", nil},
	{"twice", "key a { algorithm hmac-sha256; secret " + secret + "; secret " + secret + "; };", nil},
	{"no base64", "key a { algorithm hmac-sha256; secret \"hunter2!\"; };", nil},
	{"empty secret", "key a { algorithm hmac-sha256; secret \"\"; };", nil},
	{"no end", "key a { algorithm hmac-sha256; secret " + secret + "; }", nil},
	{"no brace", "key a { algorithm hmac-sha256; secret " + secret + ";", nil},
	{"open comment", "/* key a", nil},
	{"open string", "key \"a", nil},
	{"another statement", "options { directory \"/\"; };", nil},
	{"name of blanks", "key \"a b\" { algorithm hmac-sha256; secret " + secret + "; };", nil},
	{"semicolon in a string", "key \"a;b\" { algorithm hmac-sha256; secret " + secret + "; };", nil},
	{"a mark for a name", "key { { algorithm hmac-sha256; secret " + secret + "; };", nil},
}

func TestParseKeyFile(t *testing.T) {
	for _, test := range keyFiles {
		all, err := solve.ParseKeyFile(test.text)
		if (err == nil) != (test.names != nil) || len(all) != len(test.names) {
			t.Errorf("%s: %d keys, %v", test.label, len(all), err)
			continue
		}
		if err != nil && (strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "hunter2")) {
			t.Errorf("%s: the secret is told: %v", test.label, err)
		}
		for i, k := range all {
			if k.Name != test.names[i] || base64.StdEncoding.EncodeToString([]byte(k.Secret.Reveal())) != secret {
				t.Errorf("%s: %s", test.label, k.Name)
			}
		}
	}
}

// What is read can be written and read again the same, and no error repeats a secret.
func FuzzParseKeyFile(f *testing.F) {
	for _, test := range keyFiles {
		f.Add(test.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		all, err := solve.ParseKeyFile(text)
		if err != nil {
			return
		}
		var again strings.Builder
		for _, k := range all {
			fmt.Fprintf(&again, "key %q { algorithm %s; secret %q; };\n", k.Name, strings.TrimSuffix(k.Algorithm, "."), base64.StdEncoding.EncodeToString([]byte(k.Secret.Reveal())))
		}
		twice, err := solve.ParseKeyFile(again.String())
		if err != nil || len(twice) != len(all) {
			t.Fatalf("%q is read, but not as %q: %v", text, again.String(), err)
		}
		for i, k := range twice {
			if k.Name != all[i].Name || k.Algorithm != all[i].Algorithm || k.Secret.Reveal() != all[i].Secret.Reveal() {
				t.Fatalf("%q became %q", text, again.String())
			}
		}
	})
}

func TestTSIGConfig(t *testing.T) {
	dir := t.TempDir()
	one := write(t, dir, "one", keyFiles[0].text)
	two := write(t, dir, "two", keyFiles[3].text)
	plain := write(t, dir, "plain", "\n"+secret+"\n")
	public := write(t, dir, "public", secret)
	must(t, os.Chmod(public, 0o644))
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	for _, test := range []struct {
		config solve.TSIGConfig
		name   string // "": refused
	}{
		{solve.TSIGConfig{KeyFile: one}, "ddns-key."},
		{solve.TSIGConfig{KeyFile: one, Name: "DDNS-key"}, "ddns-key."},
		{solve.TSIGConfig{KeyFile: two, Name: "b"}, "b."},
		{solve.TSIGConfig{Name: "k", Secret: "file:" + plain}, "k."},
		{solve.TSIGConfig{Name: "k", Algorithm: "hmac-sha384", Secret: "credential:plain"}, "k."},
		{solve.TSIGConfig{KeyFile: two}, ""},
		{solve.TSIGConfig{KeyFile: one, Name: "other"}, ""},
		{solve.TSIGConfig{KeyFile: one, Algorithm: "hmac-sha256"}, ""},
		{solve.TSIGConfig{KeyFile: filepath.Join(dir, "none")}, ""},
		{solve.TSIGConfig{Name: "k", Secret: "file:" + public}, ""},
		{solve.TSIGConfig{Name: "k", Secret: secret}, ""},
		{solve.TSIGConfig{Name: "k", Secret: "credential:../" + filepath.Base(dir) + "/plain"}, ""},
		{solve.TSIGConfig{Name: "k"}, ""},
		{solve.TSIGConfig{Secret: "file:" + plain}, ""},
		{solve.TSIGConfig{Name: "k/../x", Secret: "file:" + plain}, ""},
	} {
		k, err := test.config.Load()
		if (err == nil) != (test.name != "") || err == nil && k.Name != test.name {
			t.Errorf("%+v: %v, %v", test.config, k, err)
		}
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("the secret is told: %v", err)
		}
	}
	if k, err := (solve.TSIGConfig{}).Load(); k != nil || err != nil {
		t.Errorf("no key: %v, %v", k, err)
	}
}

func TestSecretIsHidden(t *testing.T) {
	s := keys.NewSecret([]byte("hunter2"))
	k := solve.TSIG{Name: "k.", Secret: s}
	text, err := json.Marshal(k)
	must(t, err)
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "key", k, "secret", s, "pointer", &k)
	all := string(text) + log.String()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		all += fmt.Sprintf(verb, s) + fmt.Sprintf(verb, k) + fmt.Sprintf(verb, &k)
	}
	for _, shown := range []string{"hunter2", "68756e74657232", "104 117 110", "aHVudGVyMg"} {
		if strings.Contains(all, shown) {
			t.Errorf("%q is in %s", shown, all)
		}
	}
}

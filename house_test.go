// Package chancery_test holds the house to its plan (docs/architecture.md): who
// imports whom, and how large things may grow. It reads the source only, so it
// finds faults in files that the present machine does not compile, too.
package chancery_test

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "chancery"

// mayImport is the plan: each room and what of ours it may import. It is not
// edited to fix a build. Directories below a room belong to it. Only non-test
// files are bound by it.
var mayImport = map[string][]string{
	// They know nothing of ours.
	"acme": {}, "caa": {}, "cms": {},
	"internal/translog": {}, "internal/nonce": {}, "internal/limit": {}, "internal/sqldb": {}, "internal/srpfront": {},
	"internal/spelling": {}, "internal/manual": {}, "internal/address": {}, "internal/durable": {}, "internal/plain": {}, "internal/owned": {},

	"internal/lint":   {"internal/spelling"},
	"internal/config": {"internal/spelling", "internal/manual", "internal/owned"},
	"internal/keys":   {"internal/durable", "internal/owned"},
	"internal/notify": {"internal/durable", "internal/plain"},

	// Keys that never leave what holds them. Its helper alone loads foreign libraries.
	"internal/token":        {"internal/durable", "internal/owned", "internal/token/pkcs11", "internal/token/tpm", "internal/token/fault", "internal/token/pin"},
	"internal/token/pkcs11": {"internal/owned", "internal/token/wire", "internal/token/fault", "internal/token/pin"},
	"internal/token/tpm":    {"internal/token/fault", "internal/token/pin"},
	"internal/token/fault":  {},
	"internal/token/pin":    {},
	"internal/token/wire":   {},
	"internal/token/loader": {"internal/token/wire"},

	"est":                {"cms"},
	"sipcert":            {"cms"},
	"internal/resolver":  {"caa"},
	"internal/challenge": {"acme", "internal/resolver", "internal/address"},
	"internal/anchors":   {"internal/address"},

	"internal/ca":       {"caa", "internal/lint", "internal/translog"},
	"internal/registry": {"internal/ca"},
	"internal/admin":    {"internal/ca", "internal/registry"},
	"internal/console":  {"internal/admin"},

	// The rooms: the core's side, and their own protocol. Never one another.
	"internal/acmeserver": room("acme", "internal/challenge"),
	"internal/estserver":  room("est", "cms"),
	"internal/factory":    room("est", "cms"),
	"internal/persons":    room("sipcert", "cms"),
	"internal/status":     room(),
	"internal/desk":       room(),
	"internal/confirm":    room(),
	"internal/timestamp":  room("cms"),

	// Rooms never know SQL; SQL knows the rooms.
	"internal/sqlstore": {
		"internal/sqldb", "internal/ca", "internal/registry", "internal/acmeserver", "internal/estserver",
		"internal/factory", "internal/persons", "internal/status", "internal/timestamp",
	},

	// The client must fit a device: never ca or sqlstore.
	"internal/enroll": {
		"acme", "est", "cms", "caa", "sipcert", "internal/resolver", "internal/keys",
		"internal/spelling", "internal/manual", "internal/address", "internal/durable", "internal/plain", "internal/owned",
		"internal/enroll/guard", "internal/enroll/directory", "internal/enroll/install", "internal/enroll/vault", "internal/enroll/solve",
	},
	// Its parts, from below. Who may import the client may import them.
	"internal/enroll/guard":     {"internal/address", "internal/plain"},
	"internal/enroll/directory": {"acme", "internal/enroll/guard"},
	"internal/enroll/install":   {"internal/durable", "internal/owned", "internal/keys", "internal/plain"},
	"internal/enroll/vault":     {"acme", "caa", "internal/durable", "internal/owned", "internal/enroll/install"},
	"internal/enroll/solve":     {"acme", "caa", "internal/resolver", "internal/owned", "internal/keys"},
	"internal/enroll/settings": {
		"acme", "caa", "internal/keys", "internal/manual", "internal/owned", "internal/spelling", "internal/enroll/install", "internal/enroll/vault",
	},
	"internal/enroll/agent": {"acme", "caa", "internal/durable", "internal/plain", "internal/enroll", "internal/enroll/guard", "internal/enroll/vault"},
	"internal/enroll/device": {
		"est", "cms", "internal/durable", "internal/owned", "internal/plain", "internal/keys", "internal/enroll/install", "internal/spelling", "internal/manual",
		"internal/token", "internal/token/fault",
	},
	// What daemon is to the server: it wires, and the command alone imports it.
	"internal/client":   {"acme", "caa", "internal/resolver", "internal/enroll", "internal/notify", "internal/owned", "internal/keys"},
	"internal/station":  {"internal/sqldb", "est", "internal/keys"},
	"internal/ceremony": {"internal/ca", "internal/keys"},
	"internal/conform":  {"acme", "est"},

	// What tests need stands below daemon, but for testca, which is a daemon.
	"internal/dnstest":   {"* below internal/daemon"},
	"internal/porttest":  {"* below internal/daemon"},
	"internal/certtest":  {},
	"internal/storetest": {"* below internal/daemon"},
	"internal/peertest":  {"* below internal/daemon"},
	"internal/daemon":    {"* below internal/daemon"},
	"testca":             {"internal/daemon", "* below internal/daemon"},
	"cmd/chancery":       {"internal/daemon", "testca", "* below internal/daemon"},

	"cmd/chancery-pkcs11": {"internal/token/loader"},
}

func room(protocol ...string) []string {
	return append(protocol, "internal/admin", "internal/ca", "internal/registry", "internal/nonce", "internal/limit")
}

// aboveDaemon is not meant by "* below internal/daemon".
var aboveDaemon = []string{"internal/daemon", "testca", "cmd/chancery"}

// mustNotImport keeps the core from the world: it decides, others go out.
var mustNotImport = map[string][]string{
	"internal/ca":   {"net/http", "os", "database/sql"},
	"internal/lint": {"net/http", "os", "database/sql"},
}

const (
	fileLines, fileMedian        = 500, 200
	functionLines, functionNinth = 80, 40 // at most; nine in ten
	interfaceMethods             = 6
	parameters                   = 3 // besides receiver, context and testing
)

// source is one Go file, parsed.
type source struct {
	name   string // slashed, from the root
	text   string
	syntax *ast.File
	files  *token.FileSet
}

func (s source) test() bool { return strings.HasSuffix(s.name, "_test.go") }

func (s source) line(p token.Pos) int { return s.files.Position(p).Line }

func (s source) at(p token.Pos) string { return fmt.Sprintf("%s:%d", s.name, s.line(p)) }

// house reads every Go file of the main module.
func house(t *testing.T) []source {
	t.Helper()
	var all []source
	files := token.NewFileSet()
	err := filepath.WalkDir(".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			_, noModule := os.Stat(filepath.Join(name, "go.mod"))
			if name != "." && (noModule == nil || strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata") {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(name) != ".go" {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		syntax, err := parser.ParseFile(files, name, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		all = append(all, source{name: filepath.ToSlash(name), text: string(text), syntax: syntax, files: files})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 2 {
		t.Fatalf("only %d files found: the walk is broken", len(all))
	}
	return all
}

// product is the house without its tests.
func product(t *testing.T) []source {
	t.Helper()
	all := slices.DeleteFunc(house(t), source.test)
	if len(all) == 0 {
		t.Fatal("no files found: the walk is broken")
	}
	return all
}

// roomOf finds the room in the plan that a directory belongs to.
func roomOf(directory string) (string, bool) {
	for d := directory; d != "."; d = path.Dir(d) {
		if _, planned := mayImport[d]; planned {
			return d, true
		}
	}
	return directory, false
}

func TestImports(t *testing.T) {
	for _, s := range product(t) {
		here, planned := roomOf(path.Dir(s.name))
		if !planned {
			t.Errorf("%s: %s has no place in the plan: decide in docs/architecture.md whom it may import", s.name, here)
			continue
		}
		for _, spec := range s.syntax.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Errorf("%s: %v", s.at(spec.Pos()), err)
				continue
			}
			if imported == "C" || slices.Contains(mustNotImport[here], imported) {
				t.Errorf("%s: %s must not import %s", s.at(spec.Pos()), here, imported)
			}
			if ours, ok := strings.CutPrefix(imported, module+"/"); ok && !allowed(here, ours) {
				t.Errorf("%s: %s must not import %s", s.at(spec.Pos()), here, ours)
			}
		}
	}
}

func allowed(here, imported string) bool {
	there, planned := roomOf(imported)
	whole := path.Dir(there)
	_, isPart := mayImport[whole]
	switch {
	case !planned || strings.HasPrefix(there, "cmd/") && there != here:
		return false
	case there == here || slices.Contains(mayImport[here], there):
		return true
	case isPart && (here == whole || strings.HasPrefix(here, whole+"/")): // among the parts of one room each is named
		return false
	case isPart && slices.Contains(mayImport[here], whole):
		return true
	}
	return slices.Contains(mayImport[here], "* below internal/daemon") && !slices.Contains(aboveDaemon, there)
}

// The plan may only name rooms that it places, and must be read as it is meant.
func TestPlan(t *testing.T) {
	for here, list := range mayImport {
		for _, there := range list {
			if _, planned := mayImport[there]; !planned && !strings.HasPrefix(there, "*") {
				t.Errorf("%s may import %s, which the plan does not know", here, there)
			}
		}
	}
	for _, test := range []struct {
		here, there string
		want        bool
	}{
		{"internal/acmeserver", "acme", true}, {"internal/acmeserver", "internal/estserver", false},
		{"internal/ca", "internal/sqlstore", false}, {"internal/daemon", "internal/ca", true},
		{"internal/daemon", "testca", false}, {"internal/storetest", "internal/daemon", false},
		{"testca", "internal/daemon", true}, {"internal/daemon", "cmd/chancery", false},
		{"internal/client", "internal/enroll/agent", true}, {"internal/enroll", "internal/enroll/agent", false},
		{"internal/enroll/vault", "internal/enroll", false}, {"internal/enroll/agent", "internal/enroll/solve", false},
		{"internal/enroll/guard", "internal/enroll/install", false}, {"internal/enroll/agent", "internal/enroll", true},
		{"cmd/chancery", "internal/enroll/vault", true}, {"internal/enroll", "internal/enroll/settings", false},
		{"internal/sqldb", "internal/config", false}, {"internal/ca", "internal/lint/rules", true},
	} {
		if got := allowed(test.here, test.there); got != test.want {
			t.Errorf("%s imports %s: allowed %t, want %t", test.here, test.there, got, test.want)
		}
	}
}

// measure is something with a size and a place.
type measure struct {
	lines int
	place string
}

func atMost(t *testing.T, what string, all []measure, most int) {
	t.Helper()
	for _, m := range all {
		if m.lines > most {
			t.Errorf("%s: %s of %d lines, at most %d", m.place, what, m.lines, most)
		}
	}
}

// share gives the size that this share of all does not pass.
func share(all []measure, percent int) int {
	sorted := slices.SortedFunc(slices.Values(all), func(a, b measure) int { return cmp.Compare(a.lines, b.lines) })
	return sorted[(len(sorted)-1)*percent/100].lines
}

func TestSizes(t *testing.T) {
	var files, functions []measure
	for _, s := range product(t) {
		files = append(files, measure{strings.Count(s.text, "\n"), s.name + ":1"})
		for _, declaration := range s.syntax.Decls {
			if f, ok := declaration.(*ast.FuncDecl); ok {
				functions = append(functions, measure{s.line(f.End()) - s.line(f.Pos()) + 1, s.at(f.Pos()) + ": " + f.Name.Name})
			}
		}
	}
	atMost(t, "file", files, fileLines)
	atMost(t, "function", functions, functionLines)
	if got := share(files, 50); got > fileMedian {
		t.Errorf("the median file has %d lines, at most %d", got, fileMedian)
	}
	if len(functions) == 0 {
		t.Fatal("no functions found")
	}
	if got := share(functions, 90); got > functionNinth {
		t.Errorf("nine in ten functions have up to %d lines, at most %d", got, functionNinth)
	}
}

func TestInterfacesAndParameters(t *testing.T) {
	for _, s := range product(t) {
		ast.Inspect(s.syntax, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				checkParameters(t, s, n.Name, n.Type)
			case *ast.InterfaceType:
				if count := n.Methods.NumFields(); count > interfaceMethods {
					t.Errorf("%s: interface of %d methods, at most %d", s.at(n.Pos()), count, interfaceMethods)
				}
				for _, method := range n.Methods.List {
					if f, ok := method.Type.(*ast.FuncType); ok {
						checkParameters(t, s, method.Names[0], f)
					}
				}
			}
			return true
		})
	}
}

var uncounted = regexp.MustCompile(`^(context\.Context|\*?testing\.\w+)$`)

func checkParameters(t *testing.T, s source, name *ast.Ident, f *ast.FuncType) {
	t.Helper()
	count := 0
	for _, field := range f.Params.List {
		start, end := s.files.Position(field.Type.Pos()).Offset, s.files.Position(field.Type.End()).Offset
		if !uncounted.MatchString(s.text[start:end]) {
			count += max(1, len(field.Names))
		}
	}
	if count > parameters {
		t.Errorf("%s: %s takes %d parameters, at most %d and then a struct", s.at(name.Pos()), name.Name, count, parameters)
	}
}

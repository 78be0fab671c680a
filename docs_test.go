package chancery_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// document is one Markdown file of the repository.
type document struct {
	name string // slashed, from the root
	text string
}

// documents reads every Markdown file.
func documents(t *testing.T) []document {
	t.Helper()
	var all []document
	err := filepath.WalkDir(".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && name != "." && strings.HasPrefix(entry.Name(), "."):
			return filepath.SkipDir
		case entry.IsDir() || filepath.Ext(name) != ".md":
			return nil
		}
		text, err := os.ReadFile(name)
		all = append(all, document{filepath.ToSlash(name), string(text)})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

var (
	// fence is a block of code; what is in it is no reference.
	fence = regexp.MustCompile("(?ms)^ *```.*?^ *```")
	// linked is the target of [words](target); pictures are linked likewise.
	linked = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	// heading is a line that can be linked to.
	heading = regexp.MustCompile(`(?m)^#+ +(.+)$`)
)

// anchor gives a heading's name as the hosting sites make it.
func anchor(words string) string {
	drop := regexp.MustCompile(`[^\pL\pN _-]`)
	return strings.ReplaceAll(strings.ToLower(drop.ReplaceAllString(words, "")), " ", "-")
}

// anchors lists what of a document can be linked to.
func anchors(text string) map[string]bool {
	all := map[string]bool{}
	for _, h := range heading.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		all[anchor(h[1])] = true
	}
	return all
}

// TestLinksOfDocuments: each relative link leads to a file that is there, and to
// a heading of it if it names one.
func TestLinksOfDocuments(t *testing.T) {
	seen := 0
	for _, d := range documents(t) {
		for _, m := range linked.FindAllStringSubmatch(fence.ReplaceAllString(d.text, ""), -1) {
			u, err := url.Parse(m[1])
			if err != nil {
				t.Errorf("%s: the link %s cannot be read: %v", d.name, m[1], err)
				continue
			}
			if u.IsAbs() || u.Host != "" {
				continue
			}
			seen++
			to := d.name
			if u.Path != "" {
				to = path.Join(path.Dir(d.name), u.Path)
			}
			text, err := os.ReadFile(to)
			if info, missing := os.Stat(to); missing != nil || err != nil && !info.IsDir() {
				t.Errorf("%s: the link %s leads nowhere", d.name, m[1])
			} else if u.Fragment != "" && !anchors(string(text))[u.Fragment] {
				t.Errorf("%s: %s has no heading #%s", d.name, to, u.Fragment)
			}
		}
	}
	if seen == 0 {
		t.Error("no relative links found: has their form changed?")
	}
}

var (
	// place is `file.go` or `file.go:Name`, with directories in front or not.
	place = regexp.MustCompile(`\b((?:[\w.-]+/)*[\w-]+\.go)\b(?::([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)?))?`)
	// story is the name of a test, fuzz target or benchmark; its part after the
	// slash is a subtest and is not looked for.
	story = regexp.MustCompile(`\b((?:Test|Fuzz|Benchmark)[A-Z]\w*)\b`)
	// qualified is package.Name or package.Type.member, in code.
	qualified = regexp.MustCompile("`([a-z]+)\\.([A-Z]\\w*(?:\\.\\w+)?)")
	// elsewhere is a module's path or a host's, which may look like a file's name.
	elsewhere = regexp.MustCompile(`\b[\w-]+\.(?:com|org|io|dev)/[\w./-]+`)
)

// declarations are the names that the tree declares.
type declarations struct {
	files    map[string]map[string]bool // by file: "Name", "Type.Method" and "Method"
	packages map[string]map[string]bool // by package name: the same of all its files
	tests    map[string]bool
}

// declared reads every Go file, those of the modules beside the main one too.
func declared(t *testing.T) declarations {
	t.Helper()
	all := declarations{map[string]map[string]bool{}, map[string]map[string]bool{}, map[string]bool{}}
	err := filepath.WalkDir(".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && name != "." && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata") {
			return filepath.SkipDir
		}
		if entry.IsDir() || filepath.Ext(name) != ".go" {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		names := namesOf(file)
		all.files[filepath.ToSlash(name)] = names
		if strings.HasSuffix(name, "_test.go") {
			maps.Copy(all.tests, names)
			return nil
		}
		if all.packages[file.Name.Name] == nil {
			all.packages[file.Name.Name] = map[string]bool{}
		}
		maps.Copy(all.packages[file.Name.Name], names)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// namesOf lists what a file declares at its top, with methods and fields.
func namesOf(file *ast.File) map[string]bool {
	names := map[string]bool{}
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			names[d.Name.Name] = true
			if d.Recv != nil {
				names[receiver(d.Recv.List[0].Type)+"."+d.Name.Name] = true
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					names[spec.Name.Name] = true
					for _, member := range members(spec.Type) {
						names[spec.Name.Name+"."+member] = true
					}
				case *ast.ValueSpec:
					for _, n := range spec.Names {
						names[n.Name] = true
					}
				}
			}
		}
	}
	return names
}

// members lists a struct's fields or an interface's methods.
func members(e ast.Expr) (list []string) {
	var fields *ast.FieldList
	switch e := e.(type) {
	case *ast.StructType:
		fields = e.Fields
	case *ast.InterfaceType:
		fields = e.Methods
	default:
		return nil
	}
	for _, field := range fields.List {
		for _, n := range field.Names {
			list = append(list, n.Name)
		}
	}
	return list
}

// TestNamesInDocuments: each file, function and test that a document names is
// there, so that a document cannot outlive what it speaks of.
func TestNamesInDocuments(t *testing.T) {
	tree := declared(t)
	seen := 0
	for _, d := range documents(t) {
		text := elsewhere.ReplaceAllString(fence.ReplaceAllString(d.text, ""), "")
		for _, m := range place.FindAllStringSubmatch(text, -1) {
			seen++
			if why := tree.absent(m[1], m[2]); why != "" {
				t.Errorf("%s: %s: %s", d.name, m[0], why)
			}
		}
		for _, m := range story.FindAllStringSubmatch(text, -1) {
			seen++
			if !tree.tests[m[1]] {
				t.Errorf("%s: there is no test %s", d.name, m[1])
			}
		}
		for _, m := range qualified.FindAllStringSubmatch(text, -1) {
			if names := tree.packages[m[1]]; names != nil && !names[m[2]] {
				t.Errorf("%s: package %s declares no %s", d.name, m[1], m[2])
			}
		}
	}
	if seen == 0 {
		t.Error("the documents name nothing: has the form of names changed?")
	}
}

// absent tells what of file.go:Name is not there; a file may be named by the end
// of its path if one of those that end so has the name.
func (d declarations) absent(file, name string) string {
	var ends []string
	for known := range d.files {
		if known == file || strings.HasSuffix(known, "/"+file) {
			ends = append(ends, known)
		}
	}
	switch {
	case len(ends) == 0:
		return "there is no such file"
	case name != "" && !slices.ContainsFunc(ends, func(f string) bool { return d.files[f][name] }):
		return "it declares no " + name
	}
	return ""
}

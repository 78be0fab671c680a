package chancery_test

import (
	"go/ast"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestPackagesAreDocumented(t *testing.T) {
	documented := map[string]bool{}
	for _, s := range product(t) {
		documented[path.Dir(s.name)] = documented[path.Dir(s.name)] || s.syntax.Doc.Text() != ""
	}
	for directory, ok := range documented {
		if !ok {
			t.Errorf("%s: no file has a package comment: say what the room is for and what it must not know", directory)
		}
	}
}

func TestExportedIsDocumented(t *testing.T) {
	seen := 0
	for _, s := range product(t) {
		if s.syntax.Name.Name == "main" {
			continue
		}
		for _, name := range exported(s.syntax) {
			seen++
			if !name.documented {
				t.Errorf("%s: %s has no comment", s.at(name.Pos()), name.Name)
			}
		}
	}
	if seen == 0 {
		t.Error("no exported names found")
	}
}

// exportedName is one that other packages can use.
type exportedName struct {
	*ast.Ident
	documented bool
}

// exported lists a file's exported names. In a group of constants or variables
// the group's comment speaks for each.
func exported(file *ast.File) (list []exportedName) {
	add := func(name *ast.Ident, comments ...*ast.CommentGroup) {
		if name.IsExported() {
			list = append(list, exportedName{name, slices.ContainsFunc(comments, func(c *ast.CommentGroup) bool { return c.Text() != "" })})
		}
	}
	for _, declaration := range file.Decls {
		switch d := declaration.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil || ast.IsExported(receiver(d.Recv.List[0].Type)) {
				add(d.Name, d.Doc)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					add(spec.Name, d.Doc, spec.Doc, spec.Comment)
				case *ast.ValueSpec:
					for _, name := range spec.Names {
						add(name, d.Doc, spec.Doc, spec.Comment)
					}
				}
			}
		}
	}
	return list
}

// receiver is the type's name behind pointers and type parameters.
func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	}
	return ""
}

// A name that says nothing hides a thing that is not thought through.
var emptyName = regexp.MustCompile(`(Impl|Manager|Util|Utils|Helper|Helpers)$`)

func TestPlainNouns(t *testing.T) {
	for _, s := range house(t) {
		ast.Inspect(s.syntax, func(n ast.Node) bool {
			if spec, ok := n.(*ast.TypeSpec); ok && emptyName.MatchString(spec.Name.Name) {
				t.Errorf("%s: %s is no plain noun", s.at(spec.Pos()), spec.Name.Name)
			}
			return true
		})
		if base := path.Base(path.Dir(s.name)); slices.Contains([]string{"util", "utils", "helper", "helpers", "common", "misc"}, base) {
			t.Errorf("%s: %s says nothing", s.name, base)
		}
	}
}

// Work that is put off is an issue, not a comment. Here the words are taken apart
// so that this file does not find itself.
var forbidden = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|X` + `XX)\b`)

func TestForbiddenWords(t *testing.T) {
	texts := 0
	err := filepath.WalkDir(".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == ".git" || entry.Name() == "testdata"):
			return filepath.SkipDir
		case entry.IsDir() || !isText(name):
			return nil
		}
		content, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		texts++
		number := 0
		for line := range strings.Lines(string(content)) {
			number++
			if word := forbidden.FindString(line); word != "" {
				t.Errorf("%s:%d: %s", name, number, word)
			}
		}
		return nil
	})
	if err != nil || texts == 0 {
		t.Fatalf("%d texts read, error %v", texts, err)
	}
}

func isText(name string) bool {
	return slices.Contains([]string{".go", ".md", ".toml", ".sql", ".sh", ".txtar"}, filepath.Ext(name)) ||
		strings.HasPrefix(filepath.ToSlash(name), "script/")
}

package config

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"

	"chancery/internal/manual"
)

// comments are the manual's texts by owner, as "ACME.MaxNames".
var comments = sync.OnceValue(func() map[string]string {
	all := manual.Comments(source)
	maps.Copy(all, manual.Comments(estSource))
	return all
})

// Effective writes the configuration as TOML that Load reads to the same
// values, each below its manual and who set it. Secrets are only references,
// and a password that got into a URL nevertheless is blotted out.
func (c *Config) Effective(w io.Writer) error {
	var out bytes.Buffer
	for _, s := range sections(c) {
		if s.name != "" {
			fmt.Fprintln(&out)
			manual.Remark(&out, "", comments()[s.owner])
			fmt.Fprintf(&out, "[%s]\n", s.name)
		}
		for _, f := range s.fields {
			if err := c.print(&out, f, ""); err != nil {
				return err
			}
		}
		for _, f := range s.lists {
			if err := c.printList(&out, f); err != nil {
				return err
			}
		}
	}
	_, err := w.Write(out.Bytes())
	return err
}

// print writes one value below its manual, each line after margin.
func (c *Config) print(out *bytes.Buffer, f field, margin string) error {
	text, err := f.literal()
	if err != nil {
		return fmt.Errorf("configuration key %s: %w", f.key, err)
	}
	var own bytes.Buffer
	manual.Remark(&own, "", comments()[f.owner])
	fmt.Fprintf(&own, "%s = %s", f.key[strings.LastIndexByte(f.key, '.')+1:], text)
	if o, set := c.origins[f.key]; set {
		fmt.Fprintf(&own, " # set by %s", strings.Map(printable, o.String()))
	}
	for line := range strings.Lines(own.String()) {
		out.WriteString(margin + line)
	}
	out.WriteByte('\n')
	return nil
}

// printList writes a list of tables; an empty one as a remark, so that the manual
// of its keys is there.
func (c *Config) printList(out *bytes.Buffer, f field) error {
	fmt.Fprintln(out)
	manual.Remark(out, "", comments()[f.owner])
	tables, margin := f.value, ""
	if tables.Len() == 0 {
		tables, margin = blank(tables.Type(), 1), "# "
	}
	for i := range tables.Len() {
		fmt.Fprintf(out, "%s[[%s]]\n", margin, f.key)
		for _, leaf := range leaves(element(f.key, i+1), tables.Index(i)) {
			if err := c.print(out, leaf, margin); err != nil {
				return err
			}
		}
	}
	return nil
}

// printable keeps a file's odd name from ending its comment.
func printable(r rune) rune {
	if r < ' ' || r == 0x7f {
		return '?'
	}
	return r
}

// literal is the field's value in TOML.
func (f field) literal() (string, error) {
	if f.key == "database.url" {
		if u, err := url.Parse(f.value.String()); err == nil {
			return manual.Literal(u.Redacted())
		}
	}
	return manual.Literal(f.value.Interface())
}

// Differences says which keys differ from old to new: those that a reload puts
// into effect, and those that need a restart. Section hierarchy is in neither:
// it speaks to the first start only.
func Differences(old, new *Config) (live, restart []string) {
	before := fieldsOf(old)
	maps.Copy(before, listsOf(old))
	for _, s := range sections(new) {
		for _, f := range slices.Concat(s.fields, s.lists) {
			switch {
			case s.name == "hierarchy" || reflect.DeepEqual(before[f.key].value.Interface(), f.value.Interface()):
			case f.live:
				live = append(live, f.key)
			default:
				restart = append(restart, f.key)
			}
		}
	}
	return live, restart
}

package vault

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What another user prepared is not used: neither a record with commands, nor a link
// along which keys would be written.
func TestPreparedByAnother(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to give files to another user")
	}
	const uid = 54321
	for name, plant := range map[string]func(dir string) (planted string){
		"the directory":   func(dir string) string { return dir },
		"a shelf":         func(dir string) string { return filepath.Join(dir, "certificates") },
		"a certificate's": func(dir string) string { return filepath.Join(dir, "certificates", "www.corp.example") },
		"a link": func(dir string) string {
			link := filepath.Join(dir, "cas")
			check(t, os.RemoveAll(link))
			check(t, os.Symlink(t.TempDir(), link))
			return link
		},
		"a binding": func(dir string) string {
			file := filepath.Join(dir, "eab", "x.json")
			check(t, os.WriteFile(file, nil, 0o600))
			return file
		},
	} {
		v := open(t)
		fill(t, v)
		check(t, os.Lchown(plant(v.Dir()), uid, uid))
		_, err := Open(v.Dir())
		if broken, ok := errors.AsType[*FileError](err); !ok || !strings.Contains(broken.Reason, "user 54321") || !strings.Contains(broken.Reason, "chown") {
			t.Errorf("%s: %v", name, err)
		}
	}
	v := open(t)
	fill(t, v)
	record := filepath.Join(v.Dir(), "certificates", "www.corp.example", "record.json")
	check(t, os.Chown(record, uid, uid))
	if _, err := v.Record("www.corp.example"); err == nil || !strings.Contains(err.Error(), "user 54321") {
		t.Errorf("another's record: %v", err)
	}
}

// Files that are read are files, and not links to others.
func TestRecordIsNoLink(t *testing.T) {
	v := open(t)
	fill(t, v)
	record := filepath.Join(v.Dir(), "certificates", "www.corp.example", "record.json")
	check(t, os.Rename(record, record+".old"))
	check(t, os.Symlink(record+".old", record))
	if _, err := v.Record("www.corp.example"); err == nil || !strings.Contains(err.Error(), "symbolic link") {
		t.Errorf("%v", err)
	}
	check(t, os.Remove(record))
	check(t, os.Rename(record+".old", record))
	check(t, os.Chmod(record, 0o666))
	if _, err := v.Record("www.corp.example"); err == nil || !strings.Contains(err.Error(), "chmod") {
		t.Errorf("%v", err)
	}
}

package peertest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// jars maps a library of Java's to the Debian package that brings it.
var jars = map[string]string{
	"bcprov": "libbcprov-java",
	"bcutil": "libbcutil-java",
	"bcpkix": "libbcpkix-java",
	"bctls":  "libbctls-java",
}

// Jars returns the class path of these libraries where Debian keeps them. If one is
// missing the test is skipped with the name of its package, or fails if
// CHANCERY_PEERS=required.
func Jars(t testing.TB, names ...string) string {
	t.Helper()
	var list []string
	for _, name := range names {
		path := filepath.Join("/usr/share/java", name+".jar")
		if _, err := os.Stat(path); err != nil {
			Missing(t, path+" is not installed: apt-get install "+jars[name])
		}
		list = append(list, path)
	}
	return strings.Join(list, string(os.PathListSeparator))
}

// Package peertest finds and starts the foreign programs that tests talk to:
// other people's clients, tools and servers. Only tests import it. It must not
// know anything of the application; what it starts ends with the test process,
// however that ends.
package peertest

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// Required reports whether a missing peer is a failure (CHANCERY_PEERS=required,
// as in the release's checks) instead of a reason to skip.
func Required() bool { return os.Getenv("CHANCERY_PEERS") == "required" }

// packages maps a program to the Debian package that brings it, where the names differ.
var packages = map[string]string{
	"acme.sh":         "acme.sh",
	"dig":             "bind9-dnsutils",
	"dnssec-keygen":   "bind9-utils",
	"dnssec-signzone": "bind9-utils",
	"faketime":        "faketime",
	"initdb":          "postgresql",
	"ip":              "iproute2",
	"named":           "bind9",
	"pg_ctl":          "postgresql",
	"pkcs11-tool":     "opensc",
	"pki":             "strongswan-pki",
	"postgres":        "postgresql",
	"psql":            "postgresql-client",
	"softhsm2-util":   "softhsm2",
	"certtool":        "gnutls-bin",
	"gnutls-cli":      "gnutls-bin",
	"certutil":        "libnss3-tools",
	"ts":              "moreutils",
	"unbound":         "unbound",
	"swtpm":           "swtpm",
	"swtpm_setup":     "swtpm-tools",
	"tpm2_createek":   "tpm2-tools",
	"java":            "default-jre-headless",
	"javac":           "default-jdk-headless",
	"python3":         "python3",
	"xmllint":         "libxml2-utils",
	"nginx":           "nginx-light",
	"apache2":         "apache2",
	"httpd":           "apache2",
	"ocsptool":        "gnutls-bin",
	"chromium":        "chromium",
	"google-chrome":   "chromium",
	"wpa_supplicant":  "wpasupplicant",
}

// Package returns the Debian package that brings the program.
func Package(program string) string {
	if p, ok := packages[program]; ok {
		return p
	}
	return program
}

// Need returns the path of a program from PATH or from where Debian keeps
// daemons. If it is missing the test is skipped with the name of the package to
// install, or fails if CHANCERY_PEERS=required.
func Need(t testing.TB, program string) string {
	t.Helper()
	path := find(program)
	if path == "" {
		Missing(t, program+" is not installed: apt-get install "+Package(program))
	}
	return path
}

// Missing skips the test for the reason, or fails it if CHANCERY_PEERS=required.
func Missing(t testing.TB, reason string) {
	t.Helper()
	if Required() {
		t.Fatalf("%s (CHANCERY_PEERS=required)", reason)
	}
	t.Skip(reason)
}

// find returns "" if there is no such program.
func find(program string) string {
	if path, err := exec.LookPath(program); err == nil {
		return path
	}
	places := []string{"/usr/local/sbin", "/usr/sbin", "/sbin"}
	// PostgreSQL's server programs live in a directory per version; the newest
	// comes first. Versions are compared as numbers of equal length (two digits
	// since 2017).
	versions, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	slices.Sort(versions)
	slices.Reverse(versions)
	for _, place := range append(versions, places...) {
		path := filepath.Join(place, program)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path
		}
	}
	return ""
}

package main

import (
	"bytes"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestSRPVerifier computes the vector of RFC 5054, appendix B, but for its group, which
// is too small for us and is put in for the test.
func TestSRPVerifier(t *testing.T) {
	const n = "EEAF0AB9ADB38DD69C33F80AFA8FC5E86072618775FF3C0B9EA2314C9C256576D674DF7496EA81D3383B4813D692C6E0E0D5D8E250B98BE48E495C1D6089DAD1" +
		"5DC7D7B46154D6B6CE8EF4AD69B15D4982559B297BCF1885C529F566660E57EC68EDBC3C05726CC02FD4CBF4976EAA9AFD5138FE8376435B9FC61D2FC0EB06E3"
	const want = "7e273de8696ffc4f4e337d05b4b375beb0dde1569e8fa00a9886d8129bada1f1822223ca1a605b530e379ba4729fdc59f105b4787e5186f5c671085a1447b52a" +
		"48cf1970b4fb6f8400bbf4cebfbb168152e08ab5ea53d15c1aff87b2b9da6e04e058ad51cc72bfc9033b564e26480d78e955a5e29e7ab245db2be315e2099afb"
	srpGroups["1024"] = srpGroup{prime(n), srpGroups["2048"].g}
	t.Cleanup(func() { delete(srpGroups, "1024") })
	salt, _ := hex.DecodeString("BEB25379D1A8581EB5A727673A2441EE")
	if got := hex.EncodeToString(srpVerifier(srpSecret{"alice", "password123", "1024", salt})); got != want {
		t.Errorf("v is %s", got)
	}
}

func TestSRPText(t *testing.T) {
	for in, want := range map[string]string{"": "", "00": "00", "01": "01", "3f": "0/", "40": "10", "0102": "042", "ffff": "F//", "010203": "0G83", "ffffff": "////"} {
		b, err := hex.DecodeString(in)
		if err != nil {
			t.Fatal(err)
		}
		if got := srpText(b); got != want {
			t.Errorf("%s is written %q; want %q", in, got, want)
		}
	}
}

func TestSRPSalt(t *testing.T) {
	for range 1000 {
		if salt := newSRPSalt(); len(salt) != 20 || salt[0] == 0 {
			t.Fatalf("%x", salt)
		}
	}
}

// TestSRPWithOpenSSL takes users' salts from lines that OpenSSL wrote, and writes the
// same lines.
func TestSRPWithOpenSSL(t *testing.T) {
	openssl := needOpenSSL(t)
	file := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, group := range []string{"2048", "3072", "4096"} {
		// Several, as the length of a verifier is left to chance.
		for _, user := range []string{"a" + group, "b" + group, "c" + group, "d" + group} {
			out, err := exec.Command(openssl, "srp", "-add", "-srpvfile", file, "-gn", group, "-passout", "pass:correct horse", user).CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if len(lines) != 12 {
		t.Fatalf("%d lines of 12", len(lines))
	}
	for _, line := range lines {
		fields := strings.Split(line, "\t")
		salt := fields[2]
		salt = strings.Repeat("0", (4-len(salt)%4)%4) + salt
		octets, err := srpAlphabet.DecodeString(salt)
		if err != nil {
			t.Fatal(err)
		}
		octets = octets[len(octets)-20:]
		if got := srpText(octets); got != fields[2] {
			t.Errorf("OpenSSL wrote the salt %q\nand we                  %q", fields[2], got)
		}
		if octets[0] == 0 { // seldom, and then hashed without; we make no such salts
			continue
		}
		got := srpLine(srpSecret{fields[3], "correct horse", fields[4], octets})
		if strings.TrimSpace(got) != strings.TrimSpace(line) {
			t.Errorf("OpenSSL wrote %q\nand we         %q", line, got)
		}
	}
}

func needOpenSSL(t *testing.T) string {
	path, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not here")
	}
	if out, err := exec.Command(path, "list", "-disabled").Output(); err != nil || bytes.Contains(out, []byte("SRP")) {
		t.Skip("this OpenSSL has no SRP")
	}
	return path
}

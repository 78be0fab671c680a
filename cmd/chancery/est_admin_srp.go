package main

import (
	"bytes"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"os"
	"slices"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"

	"chancery/internal/durable"
	"chancery/internal/owned"

	"github.com/spf13/cobra"
)

// srpUser is one line of a verifier file.
type srpUser struct {
	User  string `json:"user"`
	Group string `json:"group"`
	File  string `json:"file,omitempty"`
}

func (p *program) estSRPUser() *cobra.Command {
	var out, group string
	var stdin bool
	cmd := &cobra.Command{
		Use: "srp-user NAME [--out FILE] [--group BITS] [--stdin]", Short: "make a user for TLS-SRP, in the file of a TLS terminator",
		Long: `Asks for a password and writes what a TLS terminator needs to verify it by SRP (RFC 5054):
a line of the verifier file that Apache (SSLSRPVerifierFile) and openssl s_server
(-srpvfile) read. A user who is in the file already gets the new password; without --out the
line is printed. The terminator reads the file when it starts. Who has the file can try out
passwords: keep it as a secret.

TLS-SRP is going away: TLS 1.3 has none. It is for devices that know nothing else.`,
		Args: between(1, 1, "the user's name"),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := checkSRPName(args[0]); err != nil {
				return err
			}
			if _, ok := srpGroups[group]; !ok {
				return badInput("--group %q is not one of 2048, 3072, 4096", group)
			}
			password, err := p.newPassphrase(stdin)
			if err != nil {
				return err
			}
			if utf8.RuneCountInString(password) < 12 || !utf8.ValidString(password) {
				return badInput("the password is too short: 12 characters at least, as a handshake that is recorded lets nobody try it out, but the file does")
			}
			line := srpLine(srpSecret{user: args[0], password: password, group: group, salt: newSRPSalt()})
			if out == "" {
				if p.json {
					return p.showJSON(map[string]string{"user": args[0], "group": group, "line": line})
				}
				_, err := fmt.Fprintln(p.out, line)
				return err
			}
			if err := enterSRP(out, args[0], line); err != nil {
				return err
			}
			return p.show(srpUser{args[0], group, out}, func(w io.Writer) {
				pairs(w, [2]string{"user", args[0]}, [2]string{"group", group + " bits"}, [2]string{"file", out})
				fmt.Fprintln(w, "\nThe terminator reads the file when it starts: restart it now.")
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&out, "out", "", "the verifier `FILE`; it is made if there is none")
	flags.StringVar(&group, "group", "3072", "`BITS` of the group: 2048, 3072, 4096")
	flags.BoolVar(&stdin, "stdin", false, "read the password from the first line of standard input")
	return cmd
}

// newSRPSalt gives 160 random bits but one: OpenSSL handles salts as numbers, and drops
// octets of zero in front.
func newSRPSalt() []byte {
	salt := make([]byte, 20)
	rand.Read(salt) // never fails since Go 1.24
	salt[0] |= 0x80
	return salt
}

// checkSRPName wants a name that can stand in a line of fields and in a header.
func checkSRPName(name string) error {
	if name == "" || len(name) > 255 || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) || strings.ContainsAny(name, `\"`) {
		return badInput("%q is no user name: 1 to 255 octets without control characters, quotes and backslashes", name)
	}
	return nil
}

// srpSecret is what a verifier is made of.
type srpSecret struct {
	user, password, group string
	salt                  []byte
}

// srpVerifier is v of RFC 5054 §2.4: g to the power of SHA1(s | SHA1(I | ":" | P)).
func srpVerifier(s srpSecret) []byte {
	inner := sha1.Sum([]byte(s.user + ":" + s.password))
	outer := sha1.Sum(append(bytes.Clone(s.salt), inner[:]...))
	g := srpGroups[s.group]
	return new(big.Int).Exp(g.g, new(big.Int).SetBytes(outer[:]), g.n).Bytes()
}

// srpLine is the line of a user: type V, verifier, salt, name, group, remark, with tabs.
func srpLine(s srpSecret) string {
	return strings.Join([]string{"V", srpText(srpVerifier(s)), srpText(s.salt), s.user, s.group, ""}, "\t")
}

var srpAlphabet = base64.NewEncoding("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz./").WithPadding(base64.NoPadding)

// srpText writes octets as these files do: as a number of base 64, so that what fills
// up the first group stands in front and is left away.
func srpText(b []byte) string {
	fill := (3 - len(b)%3) % 3
	return srpAlphabet.EncodeToString(append(make([]byte, fill), b...))[fill:]
}

// enterSRP puts a user's line into a verifier file, in the place of the one before. The
// file keeps its mode and owner; a new one is its owner's alone.
func enterSRP(path, user, line string) error {
	file := durable.File{Path: path, Mode: 0o600, Owner: durable.Nobody}
	text, err := owned.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("the verifier file: %w", err)
	default:
		info, err := os.Stat(path)
		if err != nil {
			return fmt.Errorf("the verifier file: %w", err)
		}
		file.Mode = info.Mode().Perm()
		if status, ok := info.Sys().(*syscall.Stat_t); ok {
			file.Owner = durable.Owner{UID: int(status.Uid), GID: int(status.Gid)}
		}
	}
	lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	lines = slices.DeleteFunc(lines, func(l string) bool {
		fields := strings.Split(l, "\t")
		return l == "" || len(fields) > 3 && fields[0] != "I" && fields[3] == user
	})
	file.Data = []byte(strings.Join(append(lines, line), "\n") + "\n")
	if err := durable.Write(file); err != nil {
		return fmt.Errorf("the verifier file: %w", err)
	}
	return nil
}

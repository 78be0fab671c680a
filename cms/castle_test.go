package cms_test

import (
	"bufio"
	"bytes"
	"crypto"
	"crypto/x509"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"chancery/cms"
	"chancery/internal/peertest"
)

// castle is a running Bouncy Castle, which knows of CMS what openssl does not: Ed25519,
// AuthenticatedData, CMSAlgorithmProtection, authenticated attributes under GCM.
type castle struct {
	dir string
	in  io.WriteCloser
	out *bufio.Scanner
	log *bytes.Buffer
}

func newCastle(t *testing.T) *castle {
	t.Helper()
	jars := peertest.Jars(t, "bcpkix", "bcprov", "bcutil")
	peertest.Need(t, "javac") // java compiles what it is given, if it can
	c := &castle{dir: t.TempDir(), log: &bytes.Buffer{}}
	for name, p := range parties() {
		key, err := x509.MarshalPKCS8PrivateKey(p.key)
		if err != nil {
			t.Fatal(err)
		}
		c.put(t, name+".p8", key)
		c.put(t, name+".crt", p.cert.Raw)
	}
	c.put(t, "content", content)
	cmd := exec.Command(peertest.Need(t, "java"), "-cp", jars, "testdata/Castle.java", c.dir)
	cmd.Stderr = c.log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if c.in, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c.out = bufio.NewScanner(out)
	t.Cleanup(func() {
		c.in.Close() // which ends it
		cmd.Wait()
	})
	return c
}

func (c *castle) put(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(c.dir, name), content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// do asks for one thing; it gives the file that was made, if there is one.
func (c *castle) do(t *testing.T, words ...string) []byte {
	t.Helper()
	if _, err := io.WriteString(c.in, strings.Join(words, " ")+"\n"); err != nil {
		t.Fatalf("%v\n%s", err, c.log)
	}
	if !c.out.Scan() {
		t.Fatalf("Bouncy Castle ended\n%s", c.log)
	}
	if answer := c.out.Text(); answer != "ok" {
		t.Fatalf("%q: %s\n%s", words, answer, c.log)
	}
	made, err := os.ReadFile(filepath.Join(c.dir, words[1]))
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestBouncyCastle(t *testing.T) {
	c := newCastle(t)
	t.Run("verifies ours", func(t *testing.T) {
		for _, name := range []string{"rsa", "p256", "p384", "p521", "ed25519"} {
			for _, by := range []cms.Signing{{}, {PSS: true}, {KeyID: who(t, name).cert.SubjectKeyId}} {
				c.put(t, "ours", sign(t, cms.SignedContent{Type: cms.OIDPKIData, Content: content}, by, name))
				c.do(t, "verify", "ours", name)
			}
		}
	})
	t.Run("signs", func(t *testing.T) {
		for _, by := range [][2]string{{"rsa", "SHA256withRSA"}, {"rsa", "SHA384withRSAandMGF1"}, {"p256", "SHA256withECDSA"}, {"p521", "SHA512withECDSA"}, {"ed25519", "Ed25519"}} {
			s, err := cms.ParseSignedData(c.do(t, "sign", "theirs", by[0], by[1]))
			if err != nil {
				t.Fatalf("%v: %v", by, err)
			}
			if cms.Find(s.Signers[0].Signed, []int{1, 2, 840, 113549, 1, 9, 52}) == nil {
				t.Errorf("%v: no CMSAlgorithmProtection: the test tests less than it should", by)
			}
			if err := s.Verify(0, who(t, by[0]).cert.PublicKey); err != nil {
				t.Errorf("%v: %v", by, err)
			}
		}
	})
	recipients := castleRecipients(t)
	t.Run("decrypts ours", func(t *testing.T) {
		for name, r := range recipients {
			for _, cipher := range []cms.Cipher{cms.AES256CBC, cms.AES256GCM} {
				if cipher.GCM() && r.reader != "rsa" {
					continue // 1.72 opens AuthEnvelopedData by key transport alone
				}
				der, err := cms.Encrypt(cms.Plain{Type: cms.OIDPKIData, Content: content, Cipher: cipher}, r.to)
				if err != nil {
					t.Fatal(err)
				}
				c.put(t, "ours", der)
				t.Run(name+cipher.String(), func(t *testing.T) { c.do(t, "decrypt", "ours", r.reader) })
			}
		}
	})
	t.Run("encrypts", func(t *testing.T) {
		for name, r := range recipients {
			for _, cipher := range []string{"cbc", "gcm"} {
				t.Run(name+cipher, func(t *testing.T) {
					e, err := cms.ParseEnveloped(c.do(t, "encrypt", "theirs", r.writer, cipher))
					if err != nil {
						t.Fatal(err)
					}
					if got, err := e.Decrypt(r.key, 0); err != nil || !bytes.Equal(got, content) {
						t.Errorf("%q, %v", got, err)
					}
				})
			}
		}
	})
	t.Run("checks ours", func(t *testing.T) {
		for name, r := range recipients {
			der, err := cms.Authenticate(cms.Authentic{Type: cms.OIDPKIData, Content: content}, r.to)
			if err != nil {
				t.Fatal(err)
			}
			c.put(t, "ours", der)
			t.Run(name, func(t *testing.T) { c.do(t, "check", "ours", r.reader) })
		}
	})
	t.Run("authenticates", func(t *testing.T) {
		for name, r := range recipients {
			t.Run(name, func(t *testing.T) {
				a, err := cms.ParseAuthenticated(c.do(t, "authenticate", "theirs", r.writer, "1.2.840.113549.2.9"))
				if err != nil {
					t.Fatal(err)
				}
				if err := a.Verify(r.key, 0); err != nil || !bytes.Equal(a.Content, content) {
					t.Errorf("%q, %v", a.Content, err)
				}
			})
		}
	})
}

// castleRecipient is one to whom both sides encrypt: as we name it, and as Castle.java does.
type castleRecipient struct {
	to             cms.Recipient
	key            any
	writer, reader string
}

func castleRecipients(t *testing.T) map[string]castleRecipient {
	secret := cms.Secret(bytes.Repeat([]byte{7}, 32))
	r, p := who(t, "rsa"), who(t, "p384")
	return map[string]castleRecipient{
		"v1.5":     {cms.KeyTransport{Certificate: r.cert}, r.key, "rsa", "rsa"},
		"OAEP":     {cms.KeyTransport{Certificate: r.cert, OAEP: crypto.SHA256}, r.key, "rsa-oaep", "rsa"},
		"P-384":    {cms.KeyAgreement{Certificate: p.cert}, p.key, "p384", "p384"},
		"kekri":    {cms.KeyEncryption{ID: []byte{2}, Key: secret}, secret, "kek", "kek"},
		"password": {cms.Password{Passphrase: cms.Passphrase("x"), Iterations: 2000}, cms.Passphrase("x"), "password", "password"},
	}
}

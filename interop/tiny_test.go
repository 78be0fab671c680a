package interop_test

import (
	"os"
	"testing"

	"chancery/internal/peertest"
	"chancery/testca"
)

// acme-tiny is two hundred lines of Python: one account key, one CSR, http-01.
func TestAcmeTiny(t *testing.T) {
	path := peertest.Need(t, "acme-tiny")
	w := start(t, testca.Terms("https://ca.example/terms"))
	w.serveWebroot()
	p := w.party()
	p.ssl("genrsa", "-out", "account.key", "2048")
	p.ssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", "leaf.key", "-subj", "/CN=a.example",
		"-addext", "subjectAltName=DNS:a.example,DNS:b.example", "-out", "leaf.csr")
	obtain := func(name string) split {
		// The chain goes to standard output, what it tells to standard error.
		w.run(command{
			env: []string{"SSL_CERT_FILE=" + w.root}, name: "/bin/sh",
			args: []string{"-c", `"$0" --account-key account.key --csr leaf.csr --acme-dir "$CHALLENGES" --directory-url "$1" --disable-check --contact "mailto:who@a.example" >"$2"`,
				path, w.Directory, name},
		})
		text, err := os.ReadFile(w.one(name))
		if err != nil {
			t.Fatal(err)
		}
		return w.splitPEM(text)
	}
	first := obtain("first.pem")
	p.good(first, "a.example", "b.example")
	second := obtain("second.pem")
	p.good(second, "a.example", "b.example")
	wantRenewed(t, first, second)
	wantKey(t, second, "RSA 2048")
}

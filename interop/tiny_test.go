package interop_test

import (
	"testing"

	"chancery/internal/peertest"
	"chancery/testca"
)

// tiny is acme-tiny, two hundred lines of Python: one account key, one CSR,
// http-01.
type tiny struct {
	party
	path string
}

func newTiny(t *testing.T, options ...testca.Option) tiny {
	path := peertest.Need(t, "acme-tiny")
	w := start(t, options...)
	w.serveWebroot()
	a := tiny{w.party(), path}
	a.ssl("genrsa", "-out", "account.key", "2048")
	a.ssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", "leaf.key", "-subj", "/CN=a.example",
		"-addext", "subjectAltName=DNS:a.example,DNS:b.example", "-out", "leaf.csr")
	return a
}

// obtain gives the chain, which acme-tiny writes to standard output.
func (a tiny) obtain(file string) split {
	a.t.Helper()
	a.run(command{
		env: []string{"SSL_CERT_FILE=" + a.root}, name: "/bin/sh",
		args: []string{"-c", `"$0" --account-key account.key --csr leaf.csr --acme-dir "$CHALLENGES" --directory-url "$1" --disable-check --contact mailto:who@a.example >"$2"`,
			a.path, a.Directory, file},
	})
	return a.split(a.one(file))
}

func TestAcmeTiny(t *testing.T) {
	a := newTiny(t, testca.Terms("https://ca.example/terms"))
	first := a.obtain("first.pem")
	a.good(first, "a.example", "b.example")
	wantKey(t, first, "RSA 2048")
	second := a.obtain("second.pem")
	a.good(second, "a.example", "b.example")
	wantRenewed(t, first, second)
}

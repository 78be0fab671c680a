package install

import (
	"bytes"
	"crypto/x509"
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"

	"chancery/internal/durable"
)

// Existing gives the certificate that is installed at the target now, nil if
// there is none: of the first of fullchain, cert, combined and PKCS#12 file that
// is there. A file that holds no certificate is a *TargetError: it is not ours
// to replace unasked.
func Existing(t Target) (*x509.Certificate, error) {
	for _, path := range []string{t.FullChain, t.Cert, t.Combined} {
		if path == "" {
			continue
		}
		text, err := read(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, durable.Explain(err, path)
		}
		chain, err := ParseCertificates(text)
		if err != nil {
			return nil, &TargetError{Path: path, Reason: "is there and holds no certificate: move it away if it may be replaced", Err: err}
		}
		return chain[0], nil
	}
	if t.PKCS12 == "" {
		return nil, nil
	}
	return t.pkcs12Leaf()
}

// Holds tells whether the target's files hold exactly this bundle already, with
// the modes wanted. A PKCS#12 file, which is salted, is compared by its key and
// certificates.
func (t Target) Holds(b Bundle) (bool, error) {
	if err := errors.Join(t.Validate(), b.Check()); err != nil {
		return false, err
	}
	plain := t
	plain.PKCS12 = "" // not encoded for nothing
	owner, err := t.owner()
	if err != nil {
		return false, err
	}
	wanted, err := plain.contents(b)
	if err != nil {
		return false, err
	}
	for _, p := range t.places() {
		info, err := os.Stat(p.path)
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		if err != nil {
			return false, durable.Explain(err, p.path)
		}
		data, err := read(p.path)
		if err != nil {
			return false, durable.Explain(err, p.path)
		}
		same := p.path == t.PKCS12 || bytes.Equal(data, wanted[p.field])
		if !same || info.Mode().Perm() != t.mode(p) || !belongs(info, owner) {
			return false, nil
		}
	}
	return t.PKCS12 == "" || t.pkcs12Holds(b), nil
}

// mostRead is more than any file that is installed.
const mostRead = 4 << 20

// read reads a file that may be another user's: no pipe holds it up, nothing endless
// fills the memory. Callers add the path to errors.
func read(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &TargetError{Reason: "is no file but " + kind(info) + ": name a file"}
	}
	data, err := io.ReadAll(io.LimitReader(f, mostRead+1))
	if err == nil && len(data) > mostRead {
		return nil, &TargetError{Reason: "is there and larger than what is installed can be: move it away if it may be replaced"}
	}
	return data, err
}

func belongs(info fs.FileInfo, o durable.Owner) bool {
	status, ok := info.Sys().(*syscall.Stat_t)
	return ok && (o.UID < 0 || int(status.Uid) == o.UID) && (o.GID < 0 || int(status.Gid) == o.GID)
}

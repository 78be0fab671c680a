package tpm

import (
	"crypto"
	"crypto/rand"
	"strings"
	"testing"

	"chancery/internal/peertest"
	"chancery/internal/token/fault"

	"github.com/google/go-tpm/tpm2"
)

// storage is a storage key for [persist].
func storage(noDA bool, password string) func(*tpm2.TPMTPublic, *tpm2.TPMSSensitiveCreate) {
	return func(p *tpm2.TPMTPublic, s *tpm2.TPMSSensitiveCreate) {
		*p = tpm2.ECCSRKTemplate
		p.ObjectAttributes.NoDA = noDA
		s.UserAuth = tpm2.TPM2BAuth{Buffer: []byte(password)}
	}
}

// evict makes room under a handle.
func evict(t *testing.T, a Address) {
	t.Helper()
	d, err := openDevice(a.Path())
	check(t, err)
	defer d.Close()
	found, err := tpm2.ReadPublic{ObjectHandle: tpm2.TPMHandle(a.Handle)}.Execute(d)
	check(t, err)
	_, err = tpm2.EvictControl{
		Auth: tpm2.TPMRHOwner, ObjectHandle: &tpm2.NamedHandle{Handle: tpm2.TPMHandle(a.Handle), Name: found.Name}, PersistentHandle: tpm2.TPMHandle(a.Handle),
	}.Execute(d)
	check(t, err)
}

// counter is how many wrong passwords the TPM has counted.
func counter(t *testing.T, at string) uint32 {
	t.Helper()
	d, err := openDevice(at)
	check(t, err)
	defer d.Close()
	n, err := d.property(tpm2.TPMPTLockoutCounter)
	check(t, err)
	return n
}

// A parent that has a password is said to be one, nothing of it is taken for the key's own,
// and none is used with which the TPM would count.
func TestParentsWithPasswords(t *testing.T) {
	at := peertest.TPM(t)
	const handle = 0x81000001
	good := persist(t, at, handle, storage(true, ""))
	g := &giver{secret: "right"}
	with := Options{PINs: g, Password: true}
	open, err := Make(t.Context(), good, MakeOptions{Options: Options{PINs: g}})
	check(t, err)
	locked, err := Make(t.Context(), good, MakeOptions{Options: with})
	check(t, err)
	keys := map[string]*Key{"without a password": open, "with one": locked}
	evict(t, good)

	for _, test := range []struct {
		name   string
		change func(*tpm2.TPMTPublic, *tpm2.TPMSSensitiveCreate)
		says   string
	}{
		{"a password that counts", storage(false, "parent"), "noDA"},
		{"what would count if it had one", storage(false, ""), "noDA"},
		{"a password that does not count", storage(true, "parent"), "has a password of its own"},
		{"a policy", func(p *tpm2.TPMTPublic, s *tpm2.TPMSSensitiveCreate) {
			storage(true, "")(p, s)
			p.ObjectAttributes.UserWithAuth = false
		}, "policy"},
		{"a key for signatures", nil, "no storage key"},
	} {
		parent := persist(t, at, handle, test.change)
		refused := func(what string, err error) {
			t.Helper()
			if !fault.Is(err, fault.Unfit) || !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), "0x81000001") || strings.Contains(err.Error(), "pin-source") {
				t.Errorf("%s: %s: %v", test.name, what, err)
			}
		}
		for _, o := range []Options{{PINs: g}, with} {
			_, err := Make(t.Context(), parent, MakeOptions{Options: o})
			refused("made", err)
		}
		for name, k := range keys {
			_, err := Open(t.Context(), Address{Device: at, Key: k.Address().Key}, Options{PINs: g})
			refused("opened "+name, err)
			_, err = k.Sign(rand.Reader, digest[:], crypto.SHA256)
			refused("signed "+name, err)
		}
		if n := counter(t, at); n != 0 || len(g.wrongs) != 0 {
			t.Errorf("%s: the TPM counted %d, told of %q", test.name, n, g.wrongs)
		}
		evict(t, parent)
	}

	persist(t, at, handle, storage(true, ""))
	for _, k := range keys {
		signs(t, k)
	}
	g.secret = "wrong" // and the key's own still is
	if _, err := locked.Sign(rand.Reader, digest[:], crypto.SHA256); !fault.Is(err, fault.WrongPIN) || len(g.wrongs) != 1 || counter(t, at) != 1 {
		t.Errorf("%v, told of %q", err, g.wrongs)
	}
	leftovers(t, at)
}

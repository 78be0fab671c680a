package tpm

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"chancery/internal/peertest"
	"chancery/internal/token/fault"
	"chancery/internal/token/pin"

	"github.com/google/go-tpm/tpm2"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// giver gives one password and keeps what it was asked.
type giver struct {
	mutex  sync.Mutex
	secret string
	asked  []pin.Question
	wrongs []string
}

func (g *giver) PIN(_ context.Context, q pin.Question) ([]byte, error) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	g.asked = append(g.asked, q)
	if q.Free && !slices.Contains(g.wrongs, "") {
		return nil, nil
	}
	if q.Free {
		return nil, &fault.Error{Kind: fault.NoPIN, Reason: "pin-source"}
	}
	if slices.Contains(g.wrongs, g.secret) {
		return nil, &fault.Error{Kind: fault.WrongPIN, Reason: "it was wrong before"}
	}
	return []byte(g.secret), nil
}

func (g *giver) Wrong(_ pin.Question, secret []byte) { g.wrongs = append(g.wrongs, string(secret)) }

var digest = sha256.Sum256([]byte("text"))

// signs tells whether a key's signature is its own.
func signs(t *testing.T, k crypto.Signer) {
	t.Helper()
	signature, err := k.Sign(rand.Reader, digest[:], crypto.SHA256)
	check(t, err)
	switch public := k.Public().(type) {
	case *ecdsa.PublicKey:
		if !ecdsa.VerifyASN1(public, digest[:], signature) {
			t.Error("wrong signature")
		}
	case *rsa.PublicKey:
		check(t, rsa.VerifyPKCS1v15(public, crypto.SHA256, digest[:], signature))
	}
}

func TestKeysSign(t *testing.T) {
	at, g := peertest.TPM(t), &giver{secret: "s3cret"}
	for _, kind := range []string{"", "ecdsa-p384", "rsa-2048"} {
		for _, password := range []bool{false, true} {
			made, err := Make(t.Context(), Address{Device: at}, MakeOptions{Options: Options{PINs: g, Password: password}, Kind: kind, Description: "test"})
			check(t, err)
			signs(t, made)
			opened, err := Open(t.Context(), Address{Device: at, Key: made.Address().Key}, Options{PINs: g})
			check(t, err)
			signs(t, opened)
			if opened.options.Password != password {
				t.Errorf("%s: password %t", kind, password)
			}
			if public, is := opened.Public().(*rsa.PublicKey); is {
				o := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
				signature, err := opened.Sign(rand.Reader, digest[:], o)
				if err != nil || rsa.VerifyPSS(public, crypto.SHA256, digest[:], signature, o) != nil {
					t.Errorf("PSS: %v", err)
				}
			}
			if _, err := opened.Sign(rand.Reader, digest[:16], crypto.MD5); !fault.Is(err, fault.Unfit) {
				t.Errorf("MD5: %v", err)
			}
		}
	}
	for kind, want := range map[string]fault.Kind{"ed25519": fault.Unfit, "rsa-4096": fault.Unfit} {
		if _, err := Make(t.Context(), Address{Device: at}, MakeOptions{Options: Options{PINs: g}, Kind: kind}); !fault.Is(err, want) {
			t.Errorf("%s: %v", kind, err)
		}
	}
	leftovers(t, at)
}

// leftovers tells whether something stayed in the TPM.
func leftovers(t *testing.T, at string) {
	t.Helper()
	d, err := openDevice(at)
	check(t, err)
	defer d.Close()
	for _, first := range []uint32{0x80000000, 0x02000000} {
		got, err := tpm2.GetCapability{Capability: tpm2.TPMCapHandles, Property: first, PropertyCount: 10}.Execute(d)
		check(t, err)
		list, err := got.CapabilityData.Data.Handles()
		check(t, err)
		if len(list.Handle) > 0 {
			t.Errorf("left behind: %x", list.Handle)
		}
	}
}

func TestKeysSignTogether(t *testing.T) {
	at := peertest.TPM(t)
	made, err := Make(t.Context(), Address{Device: at}, MakeOptions{})
	check(t, err)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() { signs(t, made) })
	}
	group.Wait()
}

// persist puts a key under a handle, as tpm2_evictcontrol does.
func persist(t *testing.T, at string, handle uint32, change func(*tpm2.TPMTPublic, *tpm2.TPMSSensitiveCreate)) Address {
	t.Helper()
	d, err := openDevice(at)
	check(t, err)
	defer d.Close()
	public, err := template("", false)
	check(t, err)
	sensitive := &tpm2.TPMSSensitiveCreate{}
	if change != nil {
		change(&public, sensitive)
	}
	made, err := tpm2.CreatePrimary{PrimaryHandle: tpm2.TPMRHOwner, InSensitive: tpm2.TPM2BSensitiveCreate{Sensitive: sensitive}, InPublic: tpm2.New2B(public)}.Execute(d)
	check(t, err)
	defer d.flush(made.ObjectHandle)
	_, err = tpm2.EvictControl{
		Auth: tpm2.TPMRHOwner, ObjectHandle: &tpm2.NamedHandle{Handle: made.ObjectHandle, Name: made.Name}, PersistentHandle: tpm2.TPMHandle(handle),
	}.Execute(d)
	check(t, err)
	return Address{Device: at, Handle: handle}
}

func TestPersistentKeys(t *testing.T) {
	at, g := peertest.TPM(t), &giver{secret: "s3cret"}
	k, err := Open(t.Context(), persist(t, at, 0x81000010, nil), Options{PINs: g})
	check(t, err)
	signs(t, k)
	locked := persist(t, at, 0x81000011, func(p *tpm2.TPMTPublic, s *tpm2.TPMSSensitiveCreate) {
		p.ObjectAttributes.NoDA = false
		s.UserAuth = tpm2.TPM2BAuth{Buffer: []byte("s3cret")}
	})
	k, err = Open(t.Context(), locked, Options{PINs: g, Password: true})
	check(t, err)
	signs(t, k)
	k, err = Open(t.Context(), locked, Options{PINs: g}) // that it has a password was not said
	check(t, err)
	for range 2 {
		if _, err := k.Sign(rand.Reader, digest[:], crypto.SHA256); !fault.Is(err, fault.NoPIN) || !strings.Contains(err.Error(), "pin-source") {
			t.Errorf("without its password: %v", err)
		}
	}
	if len(g.asked) != 3 || !g.asked[1].Free || len(g.wrongs) != 1 {
		t.Errorf("asked %+v", g.asked)
	}
	for name, change := range map[string]func(*tpm2.TPMTPublic, *tpm2.TPMSSensitiveCreate){
		"restricted": func(p *tpm2.TPMTPublic, _ *tpm2.TPMSSensitiveCreate) {
			p.ObjectAttributes.Restricted = true
			p.Parameters = tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{CurveID: tpm2.TPMECCNistP256, Scheme: tpm2.TPMTECCScheme{
				Scheme: tpm2.TPMAlgECDSA, Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgECDSA, &tpm2.TPMSSigSchemeECDSA{HashAlg: tpm2.TPMAlgSHA256}),
			}})
		},
		"not for signatures": func(p *tpm2.TPMTPublic, _ *tpm2.TPMSSensitiveCreate) {
			p.ObjectAttributes.SignEncrypt, p.ObjectAttributes.Decrypt = false, true
		},
		"policy only": func(p *tpm2.TPMTPublic, _ *tpm2.TPMSSensitiveCreate) { p.ObjectAttributes.UserWithAuth = false },
	} {
		a := persist(t, at, 0x81000100+uint32(len(name)), change)
		if _, err := Open(t.Context(), a, Options{PINs: g}); !fault.Is(err, fault.Unfit) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Open(t.Context(), Address{Device: at, Handle: 0x81ffffff}, Options{PINs: g}); !fault.Is(err, fault.Missing) {
		t.Errorf("no such key: %v", err)
	}
	// Under a storage key that is kept there, for TPMs whose owner has a password.
	parent := persist(t, at, 0x81000001, func(p *tpm2.TPMTPublic, _ *tpm2.TPMSSensitiveCreate) { *p = tpm2.ECCSRKTemplate })
	made, err := Make(t.Context(), parent, MakeOptions{Options: Options{PINs: g, Password: true}})
	check(t, err)
	signs(t, made)
	if f, err := ParseFile(made.Address().Key); err != nil || f.Parent != 0x81000001 || f.EmptyAuth {
		t.Errorf("%+v, %v", f, err)
	}
	leftovers(t, at)
}

// A wrong password is tried once; when one more would lock the TPM, whoever is asked is
// told.
func TestWrongPassword(t *testing.T) {
	at, g := peertest.TPM(t), &giver{secret: "right"}
	made, err := Make(t.Context(), Address{Device: at}, MakeOptions{Options: Options{PINs: g, Password: true}})
	check(t, err)
	d, err := openDevice(at)
	check(t, err)
	// TPM2_DictionaryAttackParameters, which go-tpm lacks: two tries.
	command, err := hex.DecodeString("8002" + "00000027" + "0000013a" + "4000000a" + "00000009" + "40000009" + "0000" + "00" + "0000" + "00000002" + "000003e8" + "000003e8")
	check(t, err)
	if answer, err := d.Send(command); err != nil || binary.BigEndian.Uint32(answer[6:]) != 0 {
		t.Fatalf("%x, %v", answer, err)
	}
	check(t, d.Close())
	g.asked = nil
	for n, want := range []fault.Kind{fault.WrongPIN, fault.WrongPIN, fault.Locked} {
		g.secret = "wrong" + strconv.Itoa(n)
		k, err := Open(t.Context(), Address{Device: at, Key: made.Address().Key}, Options{PINs: g})
		check(t, err)
		for range 2 { // the second time the TPM is not asked
			if _, err := k.Sign(rand.Reader, digest[:], crypto.SHA256); !fault.Is(err, want) || strings.Contains(err.Error(), "wrong0") {
				t.Errorf("try %d: %v", n, err)
			}
			if want == fault.Locked {
				break
			}
		}
	}
	if len(g.asked) != 5 || g.asked[0].Low || !g.asked[2].Low || !g.asked[2].Last || len(g.wrongs) != 2 {
		t.Errorf("asked %+v, told of %q", g.asked, g.wrongs)
	}
	leftovers(t, at)
}

// A key file is of use with the TPM that made it.
func TestKeyOfAnotherTPM(t *testing.T) {
	made, err := Make(t.Context(), Address{Device: peertest.TPM(t)}, MakeOptions{})
	check(t, err)
	other := peertest.TPM(t)
	if _, err := Open(t.Context(), Address{Device: other, Key: made.Address().Key}, Options{}); !fault.Is(err, fault.Missing) || !strings.Contains(err.Error(), "cleared") {
		t.Error(err)
	}
	leftovers(t, other)
}

func TestNoTPM(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	check(t, os.WriteFile(file, nil, 0o600))
	dead := filepath.Join(dir, "dead")
	l, err := net.Listen("unix", dead)
	check(t, err)
	go func() { // it takes connections and says nothing
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	defer l.Close()
	for path, kind := range map[string]fault.Kind{filepath.Join(dir, "none"): fault.Absent, file: fault.Absent, dead: fault.Gone} {
		if _, err := Make(t.Context(), Address{Device: path}, MakeOptions{}); !fault.Is(err, kind) {
			t.Errorf("%s: %v", path, err)
		}
		if _, err := Open(t.Context(), Address{Device: path, Handle: 0x81000001}, Options{}); !fault.Is(err, kind) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if (Address{}).Path() != "/dev/tpmrm0" {
		t.Error("another default")
	}
}

var files = []*File{
	{Parent: 0x40000001, Public: []byte{1, 2}, Private: []byte{3}},
	{Parent: 0x81000001, EmptyAuth: true, RSAParent: true, Description: "für mich", Public: []byte{1}, Private: []byte{2}},
}

func TestFiles(t *testing.T) {
	for _, want := range files {
		der, err := want.Encode()
		check(t, err)
		got, err := ParseFile(der)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, %v", got, err)
		}
		if _, err := ParseFile(append(der, 0)); err == nil {
			t.Error("with something behind it")
		}
		if _, err := ParseFile(der[:len(der)-1]); err == nil {
			t.Error("cut off")
		}
		text := pem.EncodeToMemory(&pem.Block{Type: PEMType, Bytes: der})
		if found, err := ParsePEM(append([]byte("# a line before\n"), text...)); err != nil || !bytes.Equal(found, der) {
			t.Errorf("%x, %v", found, err)
		}
	}
	if found, err := ParsePEM([]byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")); found != nil || err != nil {
		t.Errorf("%x, %v", found, err)
	}
	if _, err := ParsePEM([]byte("-----BEGIN TSS2 PRIVATE KEY-----\nAAAA\n-----END TSS2 PRIVATE KEY-----\n")); err == nil {
		t.Error("a key that is none")
	}
}

func FuzzParseFile(f *testing.F) {
	for _, file := range files {
		der, err := file.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(der)
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		file, err := ParseFile(der)
		if err != nil {
			return
		}
		again, err := file.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ParseFile(again); err != nil || !reflect.DeepEqual(got, file) {
			t.Errorf("%x is %+v, %v", again, got, err)
		}
		// Whatever is in it is an error, and no panic.
		if public, err := tpm2.Unmarshal[tpm2.TPM2BPublic](file.Public); err == nil {
			_ = (&Key{}).understand(*public)
		}
		_, _ = tpm2.Unmarshal[tpm2.TPM2BPrivate](file.Private)
	})
}

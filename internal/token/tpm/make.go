package tpm

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"

	"chancery/internal/token/fault"
	"chancery/internal/token/pin"

	"github.com/google/go-tpm/tpm2"
)

// parent is a key that others are wrapped by, ready for use.
type parent struct {
	handle tpm2.TPMHandle // 0: there is none
	name   tpm2.TPM2BName
	public *tpm2.TPMTPublic
}

func (p parent) auth() tpm2.AuthHandle {
	return tpm2.AuthHandle{Handle: p.handle, Name: p.name, Auth: tpm2.PasswordAuth(nil)}
}

// session is how a password is shown: never itself, but that it is known, and with a parent
// so that nobody who listens on the wires can try passwords.
func session(secret []byte, p parent) tpm2.Session {
	if len(secret) == 0 {
		return tpm2.PasswordAuth(nil)
	}
	options := []tpm2.AuthOption{tpm2.Auth(secret)}
	if p.handle != 0 {
		options = append(options, tpm2.Salted(p.handle, *p.public))
	}
	return tpm2.HMAC(tpm2.TPMAlgSHA256, 16, options...)
}

// flush makes room again.
func (d *device) flush(handle tpm2.TPMHandle) {
	_, _ = tpm2.FlushContext{FlushHandle: handle}.Execute(d)
}

// primaries are the storage primary keys of key files: both have an empty "unique" field in
// OpenSSL's providers and the format's text; the TCG's provisioning guidance fills it with
// zeros.
func primaries(rsaParent bool) []tpm2.TPMTPublic {
	plain, filled := tpm2.ECCSRKTemplate, tpm2.ECCSRKTemplate
	plain.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{})
	if rsaParent {
		plain, filled = tpm2.RSASRKTemplate, tpm2.RSASRKTemplate
		plain.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgRSA, &tpm2.TPM2BPublicKeyRSA{})
	}
	return []tpm2.TPMTPublic{plain, filled}
}

// The hierarchies whose primary key a parent can be.
var hierarchies = map[uint32]tpm2.TPMHandle{
	uint32(tpm2.TPMRHOwner): tpm2.TPMRHOwner, uint32(tpm2.TPMRHEndorsement): tpm2.TPMRHEndorsement, uint32(tpm2.TPMRHNull): tpm2.TPMRHNull,
}

// underParent does something with a key file's parent ready. A primary key is made anew,
// which gives the same one each time.
func (d *device) underParent(f *File, do func(parent) error) error {
	hierarchy, known := hierarchies[f.Parent]
	if !known {
		found, err := tpm2.ReadPublic{ObjectHandle: tpm2.TPMHandle(f.Parent)}.Execute(d)
		if err != nil {
			return d.explain(fmt.Sprintf("reading the parent 0x%08x", f.Parent), err)
		}
		public, err := found.OutPublic.Contents()
		if err != nil {
			return d.explain("reading the parent", err)
		}
		if err := d.fitParent(f.Parent, public.ObjectAttributes); err != nil {
			return err
		}
		return do(parent{tpm2.TPMHandle(f.Parent), found.Name, public})
	}
	var failed error
	for _, template := range primaries(f.RSAParent) {
		failed = d.underPrimary(hierarchy, template, do)
		if !fault.Is(failed, fault.Missing) { // of the other primary key it may be
			return failed
		}
	}
	return failed
}

// otherParent is what to do about a parent that is not used.
const otherParent = "make keys under one without a password that has noDA, or under the owner's storage primary key, which tpm: names"

// fitParent judges a parent that is kept in the TPM before it is used. It is used without a
// password; whether it has one cannot be asked. One that counts wrong passwords would so
// count each use if it has one, and lock all of the TPM after some.
func (d *device) fitParent(handle uint32, has tpm2.TPMAObject) error {
	why := ""
	switch {
	case !has.Restricted || !has.Decrypt:
		why = "is no storage key, and wraps no others"
	case !has.UserWithAuth:
		why = "may be used by its policy only, which is not known here"
	case !has.NoDA:
		why = "counts wrong passwords (it lacks the attribute noDA), and is not tried, as the TPM locks after some"
	default:
		return nil
	}
	return &fault.Error{Kind: fault.Unfit, Reason: fmt.Sprintf("0x%08x in the TPM %s %s: %s", handle, d.path, why, otherParent)}
}

// explainUnder is explain for what a parent's authorisation, and no other, is shown with:
// the password that was wrong is the parent's.
func (d *device) explainUnder(p parent, doing string, err error) error {
	err = d.explain(doing, err)
	if fault.Is(err, fault.WrongPIN) {
		return &fault.Error{Kind: fault.Unfit, Reason: fmt.Sprintf("the storage key 0x%08x in the TPM %s has a password of its own, which is not asked for here: %s", uint32(p.handle), d.path, otherParent), Err: errors.Unwrap(err)}
	}
	return err
}

func (d *device) underPrimary(hierarchy tpm2.TPMHandle, template tpm2.TPMTPublic, do func(parent) error) error {
	made, err := tpm2.CreatePrimary{PrimaryHandle: hierarchy, InPublic: tpm2.New2B(template)}.Execute(d)
	if err != nil {
		err = d.explain("making the storage primary key", err)
		if fault.Is(err, fault.WrongPIN) {
			return &fault.Error{Kind: fault.Unfit, Reason: "the TPM's owner has set a password for its hierarchy, which is not asked for here: name a storage key under a persistent handle as the parent, tpm:0x81000001", Err: err}
		}
		return err
	}
	defer d.flush(made.ObjectHandle)
	public, err := made.OutPublic.Contents()
	if err != nil {
		return d.explain("making the storage primary key", err)
	}
	return do(parent{made.ObjectHandle, made.Name, public})
}

// question is whose password is asked for, with how it stands with wrong ones. The TPM
// counts them for all its keys together.
func (d *device) question(named string, name []byte) (pin.Question, error) {
	q := pin.Question{Of: "the key " + named + " in the TPM " + d.path, ID: "tpm " + hex.EncodeToString(name)}
	tried, err := d.property(tpm2.TPMPTLockoutCounter)
	if err != nil {
		return q, err
	}
	most, err := d.property(tpm2.TPMPTMaxAuthFail)
	if err != nil {
		return q, err
	}
	q.Low, q.Last = tried > 0, most > 0 && tried+1 >= most
	return q, nil
}

func (d *device) property(p tpm2.TPMPT) (uint32, error) {
	got, err := tpm2.GetCapability{Capability: tpm2.TPMCapTPMProperties, Property: uint32(p), PropertyCount: 1}.Execute(d)
	if err != nil {
		return 0, d.explain("asking for its properties", err)
	}
	list, err := got.CapabilityData.Data.TPMProperties()
	if err != nil || len(list.TPMProperty) == 0 || list.TPMProperty[0].Property != p {
		return 0, nil // it has none such
	}
	return list.TPMProperty[0].Value, nil
}

// template is what a key of a kind is made by.
func template(kind string, password bool) (tpm2.TPMTPublic, error) {
	t := tpm2.TPMTPublic{
		NameAlg: tpm2.TPMAlgSHA256,
		ObjectAttributes: tpm2.TPMAObject{
			FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true, UserWithAuth: true, SignEncrypt: true, NoDA: !password,
		},
	}
	// The names are package est's (keyspec.go), which decides what a name leaves open.
	curves := map[string]tpm2.TPMECCCurve{"": tpm2.TPMECCNistP256, "ecdsa-p256": tpm2.TPMECCNistP256, "ecdsa-p384": tpm2.TPMECCNistP384, "ecdsa-p521": tpm2.TPMECCNistP521}
	lengths := map[string]tpm2.TPMKeyBits{"rsa-2048": 2048, "rsa-3072": 3072, "rsa-4096": 4096}
	if curve, is := curves[kind]; is {
		t.Type = tpm2.TPMAlgECC
		t.Parameters = tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{CurveID: curve})
		t.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{})
		return t, nil
	}
	bits, is := lengths[kind]
	if !is {
		return t, &fault.Error{Kind: fault.Unfit, Reason: fmt.Sprintf("keys of the kind %.40q are not made in TPMs: choose ecdsa-p256, ecdsa-p384 or rsa-2048, which most have", kind)}
	}
	t.Type = tpm2.TPMAlgRSA
	t.Parameters = tpm2.NewTPMUPublicParms(tpm2.TPMAlgRSA, &tpm2.TPMSRSAParms{KeyBits: bits})
	t.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgRSA, &tpm2.TPM2BPublicKeyRSA{})
	return t, nil
}

// Make makes a key of a kind ("ecdsa-p256", "rsa-2048") under the owner's storage primary
// key, or the one under the address's handle. Nothing of it stays in the TPM: it is in the
// key's address, to be kept in a file. Errors are *[fault.Error].
func Make(ctx context.Context, a Address, o MakeOptions) (*Key, error) {
	t, err := template(o.Kind, o.Password)
	if err != nil {
		return nil, err
	}
	d, err := openDevice(a.Path())
	if err != nil {
		return nil, err
	}
	defer d.Close()
	secret := []byte(nil)
	if o.Password {
		q := pin.Question{Of: "the new key in the TPM " + d.path, ID: "tpm new"}
		if secret, err = o.PINs.PIN(ctx, q); err != nil {
			return nil, err
		}
		defer clear(secret)
	}
	f := &File{EmptyAuth: len(secret) == 0, Description: o.Description, Parent: uint32(tpm2.TPMRHOwner)}
	if a.Handle != 0 {
		f.Parent = a.Handle
	}
	err = d.underParent(f, func(p parent) error {
		command := tpm2.Create{ParentHandle: p.auth(), InPublic: tpm2.New2B(t)}
		command.InSensitive.Sensitive = &tpm2.TPMSSensitiveCreate{UserAuth: tpm2.TPM2BAuth{Buffer: secret}}
		var hide []tpm2.Session
		if len(secret) > 0 { // the password goes over the wires once: not in the clear
			hide = append(hide, tpm2.HMAC(tpm2.TPMAlgSHA256, 16, tpm2.Salted(p.handle, *p.public), tpm2.AESEncryption(128, tpm2.EncryptIn)))
		}
		made, err := command.Execute(d, hide...)
		if err != nil {
			return d.explainUnder(p, "making a key", err)
		}
		f.Public, f.Private = tpm2.Marshal(made.OutPublic), tpm2.Marshal(made.OutPrivate)
		return nil
	})
	if err != nil {
		return nil, err
	}
	k := &Key{address: Address{Device: a.Device}, options: o.Options, file: f}
	k.options.Password = !f.EmptyAuth
	if k.address.Key, err = f.Encode(); err != nil {
		return nil, err
	}
	public, err := tpm2.Unmarshal[tpm2.TPM2BPublic](f.Public)
	if err != nil {
		return nil, err
	}
	return k, k.understand(*public)
}

// MakeOptions say what key to make.
type MakeOptions struct {
	Options
	Kind        string // "ecdsa-p256", "ecdsa-p384", "rsa-2048" and their like; "": the first
	Description string // for people, in the key's file
}

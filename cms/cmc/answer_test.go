package cmc

import (
	"bytes"
	"crypto"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"reflect"
	"slices"
	"testing"
)

func TestEcho(t *testing.T) {
	p := &PKIData{}
	if err := p.Add(TransactionID{big.NewInt(9)}, SenderNonce("n"), DataReturn("d"), Identification("x")); err != nil {
		t.Fatal(err)
	}
	list, err := Echo(p.Controls)
	if err != nil || len(list) != 4 || list[0].(TransactionID).Number.Int64() != 9 || string(list[1].(RecipientNonce)) != "n" || string(list[3].(DataReturn)) != "d" {
		t.Fatalf("%v, %v", list, err)
	}
	again, _ := Echo(p.Controls)
	if bytes.Equal(list[2].(SenderNonce), again[2].(SenderNonce)) || len(list[2].(SenderNonce)) != 16 {
		t.Error("the nonce is not new")
	}
	if list, err := Echo(nil); list != nil || err != nil {
		t.Errorf("%v, %v", list, err)
	}
	if err := p.Add(SenderNonce("m")); err != nil {
		t.Fatal(err)
	}
	_, err = Echo(p.Controls)
	fails(t, "two nonces", err, BadRequest)
}

func TestStatuses(t *testing.T) {
	p := &PKIResponse{}
	if err := p.Add(StatusInfo{Status: Failed, Bodies: []BodyPartID{3}, Fail: ptr(BadTime)}, SenderNonce("x"), StatusInfoV2{Bodies: []Reference{{Path: Path{1, 2}}}}); err != nil {
		t.Fatal(err)
	}
	list, err := Statuses(p.Controls)
	if err != nil || len(list) != 2 || list[0].Bodies[0].ID != 3 || *list[0].Fail != BadTime || list[1].Status != Success {
		t.Errorf("%+v, %v", list, err)
	}
	_, err = Statuses([]Control{{ID: 8, Type: OIDStatusInfo}})
	fails(t, "broken", err, BadRequest)
	if Status(1).String() != "1" || Partial.String() != "partial" || POPMissing.String() != "popRequired" || FailInfo(1000).String() != "1000" {
		t.Error("names of numbers")
	}
}

func TestIdentityOfMessages(t *testing.T) {
	secret := Secret("a secret")
	random := NewPOPLinkRandom()
	p := &PKIData{}
	fails(t, "none", p.VerifyIdentity(secret, Options{}), BadIdentity)
	fails(t, "no random value", p.VerifyLinks(secret, Options{}), POPFailed)
	if _, err := p.AddRequest(Request{PKCS10: aPKCS10(t, must(Attribute(must(Link(secret, random, crypto.SHA256)))))}); err != nil {
		t.Fatal(err)
	}
	old := must(ProveIdentityV1(Identity{secret, "me"}, must(p.RequestBytes())))
	if err := p.Add(Identification("me"), random, old); err != nil {
		t.Fatal(err)
	}
	if err := p.VerifyIdentity(secret, Options{SHA1: true}); err != nil {
		t.Error(err)
	}
	fails(t, "SHA-1", p.VerifyIdentity(secret, Options{}), BadAlg)
	if err := p.Add(must(ProveIdentity(Identity{secret, "me"}, crypto.SHA256, must(p.RequestBytes())))); err != nil {
		t.Fatal(err)
	}
	p = must(ParsePKIData(must(p.Marshal())))
	if err := p.VerifyIdentity(secret, Options{}); err != nil {
		t.Error(err)
	}
	if err := p.VerifyLinks(secret, Options{}); err != nil {
		t.Error(err)
	}
	var e *Error
	if err := p.VerifyIdentity(Secret("x"), Options{}); !errors.As(err, &e) || !slices.Equal(e.Parts, []BodyPartID{5}) {
		t.Errorf("%v", err)
	}
	if err := p.VerifyLinks(Secret("x"), Options{}); !errors.As(err, &e) || !slices.Equal(e.Parts, []BodyPartID{1}) {
		t.Errorf("%v", err)
	}
	p.Requests = append(p.Requests, Request{ID: 90, PKCS10: aPKCS10(t)})
	if err := p.VerifyLinks(secret, Options{}); !errors.As(err, &e) || !slices.Equal(e.Parts, []BodyPartID{90}) {
		t.Errorf("%v", err)
	}
	fails(t, "other requests", p.VerifyIdentity(secret, Options{}), BadIdentity)
}

func TestChangesOfTemplates(t *testing.T) {
	was, err := Request{ID: 4, PKCS10: aPKCS10(t)}.Template()
	if err != nil || !bytes.Equal(was.Subject, aName) || !bytes.Equal(was.PublicKey, aKeyInfo) {
		t.Fatalf("%+v, %v", was, err)
	}
	was.Extensions = extensions
	kept := slices.Clone(extensions)
	other := pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: []byte{0x30, 0}}
	replaced := pkix.Extension{Id: extensions[0].Id, Value: []byte{3, 2, 7, 0x80}}
	now, err := ModCertTemplate{Template: CertTemplate{Subject: otherName, Validity: &Validity{NotAfter: aTime}, Extensions: []pkix.Extension{replaced, other}}}.Apply(was)
	if err != nil || !bytes.Equal(now.Subject, otherName) || now.Validity == nil || !reflect.DeepEqual(now.Extensions, []pkix.Extension{replaced, extensions[1], other}) {
		t.Errorf("%+v, %v", now, err)
	}
	now, err = ModCertTemplate{Delete: true, Template: CertTemplate{Subject: otherName, Issuer: aName, Extensions: []pkix.Extension{replaced, other}}}.Apply(was)
	if err != nil || now.Subject != nil || !reflect.DeepEqual(now.Extensions, extensions[1:]) || !bytes.Equal(now.PublicKey, aKeyInfo) {
		t.Errorf("%+v, %v", now, err)
	}
	now, err = AddExtensions{Extensions: []pkix.Extension{other}}.Apply(was)
	if err != nil || len(now.Extensions) != 3 || !reflect.DeepEqual(extensions, kept) {
		t.Errorf("%+v, %v", now, err)
	}
	_, err = ModCertTemplate{Template: CertTemplate{PublicKey: aKeyInfo}}.Apply(was)
	fails(t, "another key", err, BadRequest)
	if of, err := (Request{CRMF: aCRMF()}).Template(); err != nil || !reflect.DeepEqual(of, aTemplate()) {
		t.Errorf("%+v, %v", of, err)
	}
}

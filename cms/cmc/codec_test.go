package cmc

import (
	"bytes"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"reflect"
	"slices"
	"testing"
	"time"

	"chancery/cms"
)

// Things to put into messages.
var (
	aName      = must(asn1.Marshal(pkix.Name{CommonName: "device 7"}.ToRDNSequence()))
	otherName  = must(asn1.Marshal(pkix.Name{CommonName: "the authority", Organization: []string{"Works"}}.ToRDNSequence()))
	aDNSName   = append([]byte{0x82, 9}, "ca.example"[:9]...)
	aDirectory = append([]byte{0xA4, byte(len(aName))}, aName...)
	aTime      = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	anOID      = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 55555, 1}
	extensions = []pkix.Extension{
		{Id: asn1.ObjectIdentifier{2, 5, 29, 15}, Critical: true, Value: []byte{3, 2, 5, 0xA0}},
		{Id: asn1.ObjectIdentifier{2, 5, 29, 14}, Value: []byte{4, 2, 1, 2}},
	}
	sha256Algorithm = cms.Algorithm{OID: functions[0].oid}
	hmacAlgorithm   = cms.Algorithm{OID: functions[0].hmac, Parameters: null}
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func ptr[T any](v T) *T { return &v }

func aTemplate() CertTemplate {
	return CertTemplate{
		Version: ptr(2), SerialNumber: big.NewInt(-5), SigningAlg: &sha256Algorithm, Issuer: otherName,
		Validity: &Validity{NotBefore: aTime, NotAfter: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)},
		Subject:  aName, PublicKey: aKeyInfo, IssuerUID: &asn1.BitString{Bytes: []byte{0xF0}, BitLength: 4},
		SubjectUID: &asn1.BitString{Bytes: []byte{1, 2}, BitLength: 16}, Extensions: extensions,
	}
}

var aKeyInfo = must(build(func(b builder) {
	b.sequence(func(b builder) {
		b.algorithm(cms.Algorithm{OID: asn1.ObjectIdentifier{1, 3, 101, 112}}, 0x30)
		b.AddASN1BitString(bytes.Repeat([]byte{7}, 32))
	})
}))

// someValues has every control at least once.
func someValues() []Value {
	contentInfo := must(asn1.Marshal(struct {
		Type    asn1.ObjectIdentifier
		Content []byte `asn1:"explicit,tag:0"`
	}{cms.OIDData, []byte("x")}))
	return []Value{
		Identification("Straße 7"), IdentityProof{1, 2, 3},
		IdentityProofV2{sha256Algorithm, hmacAlgorithm, []byte("witness")}, POPLinkRandom("random"), POPLinkWitness("w"),
		POPLinkWitnessV2{sha256Algorithm, hmacAlgorithm, []byte("witness")}, TransactionID{big.NewInt(-129)},
		SenderNonce("s"), RecipientNonce("r"), DataReturn(""), RegInfo("reg"), ResponseInfo("resp"), QueryPending("token"),
		ConfirmCertAcceptance{aName, big.NewInt(128)},
		RevokeRequest{Issuer: otherName, Serial: big.NewInt(1), Reason: 1, InvalidityDate: aTime, Secret: []byte("gone"), Comment: "lost"},
		RevokeRequest{Issuer: otherName, Serial: big.NewInt(1)}, RevokeRequest{Issuer: otherName, Serial: big.NewInt(1), emptyComment: true},
		GetCert{aDirectory, big.NewInt(255)}, GetCert{aDNSName, big.NewInt(255)},
		GetCRL{Issuer: aName}, GetCRL{aName, aDNSName, aTime, &asn1.BitString{Bytes: []byte{0x40}, BitLength: 2}},
		PublishTrustAnchors{big.NewInt(3), sha256Algorithm, [][]byte{{1}, {2}}}, AuthData(4),
		EncryptedPOP{Request{ID: 9, PKCS10: aName}, contentInfo, hmacAlgorithm, sha256Algorithm, []byte("w")},
		DecryptedPOP{9, hmacAlgorithm, []byte("pop")}, BatchRequests{1, 4294967295}, BatchResponses{1},
		LRAPOPWitness{0, []BodyPartID{7}}, RAIdentityWitness{1, 2}, ResponseBody{3},
		ModCertTemplate{Path{1, 2}, []BodyPartID{7}, false, aTemplate()}, ModCertTemplate{Path{1}, []BodyPartID{7}, true, CertTemplate{}},
		AddExtensions{0, []BodyPartID{7}, extensions}, ControlProcessed{{ID: 4}, {Path: Path{3, 4}}, {Path: Path{3}}},
		PublishCert{sha256Algorithm, [][]byte{{1}}, true, []PublicationInfo{{2, aDNSName}, {0, nil}}}, PublishCert{Hash: sha256Algorithm, Hashes: [][]byte{}},
		ChangeSubjectName{Subject: aName}, ChangeSubjectName{SubjectAlt: must(build(func(b builder) { b.sequence(func(b builder) { b.generalName(aDNSName, "") }) }))},
		ChangeSubjectName{aName, []byte{0x30, 0}},
		StatusInfo{Status: Failed, Bodies: []BodyPartID{1}, Text: "no", Fail: ptr(BadAlg)}, StatusInfo{Bodies: []BodyPartID{1}},
		StatusInfo{Status: Pending, Bodies: []BodyPartID{1}, Pend: &PendInfo{[]byte("t"), aTime}, emptyText: true},
		StatusInfoV2{Status: Failed, Bodies: []Reference{{ID: 0}, {Path: Path{1, 2}}}, Text: "no", Fail: ptr(AuthDataFail)},
		StatusInfoV2{Status: Partial, Bodies: []Reference{{ID: 1}}, Pend: &PendInfo{[]byte("t"), aTime}},
		StatusInfoV2{Status: Failed, Bodies: []Reference{{ID: 1}}, Extended: &ExtendedFailInfo{Type: anOID, Value: null}},
		StatusInfoV2{Status: Failed, Bodies: []Reference{{ID: 1}}, Extended: &ExtendedFailInfo{Type: anOID, Value: null, tagged: true}, emptyText: true},
	}
}

func TestControlsReadAsWritten(t *testing.T) {
	met := map[string]bool{}
	for _, v := range someValues() {
		c, err := NewControl(7, v)
		if err != nil {
			t.Errorf("%T: %v", v, err)
			continue
		}
		met[c.Name()] = true
		back, err := c.Decode()
		if err != nil {
			t.Errorf("%s: %v", c.Name(), err)
			continue
		}
		if !reflect.DeepEqual(back, v) {
			t.Errorf("%s: wrote %+v, read %+v", c.Name(), v, back)
		}
		if again := must(NewControl(7, back)); !reflect.DeepEqual(again, c) {
			t.Errorf("%s: written again otherwise: %x, %x", c.Name(), again.Values, c.Values)
		}
	}
	for _, k := range kinds {
		if !met[k.name] {
			t.Errorf("%s: not tried", k.name)
		}
	}
}

func aCRMF() *CertReqMsg {
	return &CertReqMsg{
		Request: CertRequest{ID: 12, Template: aTemplate(), Controls: []AttributeTypeAndValue{must(CRMFControl(POPLinkWitness("w")))}},
		POP:     &POP{KeyEncipherment: &POPPrivKey{Subsequent: ptr(ChallengeResponse)}},
		RegInfo: []AttributeTypeAndValue{{anOID, null}},
	}
}

// aPKIData has every kind of part.
func aPKIData() *PKIData {
	p := &PKIData{Requests: []Request{}, CMS: []TaggedContentInfo{}, Other: []OtherMsg{}}
	if err := p.Add(someValues()...); err != nil {
		panic(err)
	}
	p.Controls = append(p.Controls, Control{ID: 4294967295, Type: anOID, Values: [][]byte{null, {4, 0}}}, Control{ID: 500, Type: anOID})
	p.Requests = append(p.Requests, Request{ID: 300, PKCS10: aName}, Request{ID: 12 + 400, CRMF: aCRMF()}, Request{ID: 301, Other: &OtherRequest{anOID, null}})
	p.Requests[1].CRMF.Request.ID = 412
	p.CMS = append(p.CMS, TaggedContentInfo{302, aName})
	p.Other = append(p.Other, OtherMsg{303, anOID, null})
	return p
}

func TestMessagesReadAsWritten(t *testing.T) {
	p := aPKIData()
	der, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	back, err := ParsePKIData(der)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(back, p) {
		t.Errorf("wrote %+v, read %+v", p, back)
	}
	if again := must(back.Marshal()); !bytes.Equal(again, der) {
		t.Errorf("written again otherwise")
	}
	if requests := must(back.RequestBytes()); !bytes.Contains(der, requests) || len(requests) < 50 {
		t.Errorf("reqSequence %x is not in the message", requests)
	}
	r := &PKIResponse{Controls: p.Controls, CMS: p.CMS, Other: p.Other}
	der = must(r.Marshal())
	answer, err := ParsePKIResponse(der)
	if err != nil || !reflect.DeepEqual(answer, r) {
		t.Errorf("a response is read as %+v, %v", answer, err)
	}
	if empty, err := ParsePKIData(must((&PKIData{}).Marshal())); err != nil || len(empty.Controls) != 0 {
		t.Errorf("an empty message is read as %+v, %v", empty, err)
	}
}

func TestCRMFReadAsWritten(t *testing.T) {
	mac := &MACValue{hmacAlgorithm, []byte("mac")}
	bits := &asn1.BitString{Bytes: []byte{0x80}, BitLength: 1}
	for name, pop := range map[string]*POP{
		"none": nil, "raVerified": {RAVerified: true},
		"signature":   {Signature: &POPSignature{Algorithm: sha256Algorithm, Signature: []byte("sig")}},
		"sender":      {Signature: &POPSignature{&SigningKeyInput{Sender: aDirectory, PublicKey: aKeyInfo}, sha256Algorithm, []byte("sig")}},
		"mac":         {Signature: &POPSignature{&SigningKeyInput{MAC: mac, PublicKey: aKeyInfo}, sha256Algorithm, []byte{}}},
		"thisMessage": {KeyEncipherment: &POPPrivKey{ThisMessage: bits}}, "dhMAC": {KeyAgreement: &POPPrivKey{DHMAC: bits}},
		"later": {KeyAgreement: &POPPrivKey{Subsequent: ptr(EncryptedCertificate)}}, "agreeMAC": {KeyAgreement: &POPPrivKey{AgreeMAC: mac}},
		"key": {KeyEncipherment: &POPPrivKey{EncryptedKey: aName}},
	} {
		m := aCRMF()
		m.POP = pop
		der, err := m.Marshal()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		back, err := ParseCertReqMsg(der)
		if err != nil || !reflect.DeepEqual(back, m) {
			t.Errorf("%s: wrote %+v, read %+v, %v", name, m, back, err)
		}
	}
}

func TestIDsAreUnique(t *testing.T) {
	for name, p := range map[string]*PKIData{
		"zero":   {Controls: []Control{{ID: 0, Type: anOID}}},
		"twice":  {Controls: []Control{{ID: 3, Type: anOID}, {ID: 3, Type: anOID}}},
		"across": {Controls: []Control{{ID: 3, Type: anOID}}, Requests: []Request{{ID: 3, PKCS10: aName}}},
	} {
		if _, err := p.Marshal(); err == nil {
			t.Errorf("%s: written", name)
		}
		der := must(build(func(b builder) { // without the check
			b.sequence(func(b builder) {
				b.sequence(func(b builder) {
					for _, c := range p.Controls {
						c.write(b)
					}
				})
				b.sequence(func(b builder) {
					for _, q := range p.Requests {
						q.write(b)
					}
				})
				b.AddBytes([]byte{0x30, 0, 0x30, 0})
			})
		}))
		var e *Error
		if _, err := ParsePKIData(der); !errors.As(err, &e) || e.Fail != BadRequest || name != "zero" && !slices.Equal(e.Parts, []BodyPartID{3}) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What is wrong is told with the id of the part that it is in (RFC 5272 §3.2.1.1).
func TestFaultsAreNamed(t *testing.T) {
	good := must((&PKIData{Controls: []Control{must(NewControl(77, Identification("abc")))}}).Marshal())
	broken := bytes.Replace(good, []byte{12, 3, 'a'}, []byte{12, 3, 0xFF}, 1)
	p, err := ParsePKIData(broken)
	if err != nil {
		t.Fatal(err)
	}
	var e *Error
	if _, err := One[Identification](p.Controls); !errors.As(err, &e) || !slices.Equal(e.Parts, []BodyPartID{77}) || e.Fail != BadRequest {
		t.Errorf("%v", err)
	}
	deeper := bytes.Replace(good, []byte{0x31, 5}, []byte{0x30, 5}, 1) // no SET
	if _, err := ParsePKIData(deeper); !errors.As(err, &e) || !slices.Equal(e.Parts, []BodyPartID{77}) {
		t.Errorf("%v", err)
	}
	crmf := must((&PKIData{Requests: []Request{{ID: 412, CRMF: aPKIData().Requests[1].CRMF}}}).Marshal())
	crmf = bytes.Replace(crmf, []byte{0x80, 1, 2}, []byte{0x81, 1, 2}, 1) // version under the serial's tag
	if _, err := ParsePKIData(crmf); !errors.As(err, &e) || !slices.Equal(e.Parts, []BodyPartID{412}) {
		t.Errorf("%v", err)
	}
	if info := e.StatusInfo(); info.Status != Failed || *info.Fail != BadRequest || info.Bodies[0].ID != 412 {
		t.Errorf("%+v", info)
	}
}

func TestControlsAreFound(t *testing.T) {
	p := &PKIData{}
	if err := p.Add(Identification("a"), SenderNonce("1"), SenderNonce("2")); err != nil {
		t.Fatal(err)
	}
	if one, err := One[Identification](p.Controls); err != nil || one == nil || one.Value != "a" || one.ID != 1 {
		t.Errorf("%+v, %v", one, err)
	}
	if none, err := One[DataReturn](p.Controls); err != nil || none != nil {
		t.Errorf("%+v, %v", none, err)
	}
	var e *Error
	if _, err := One[SenderNonce](p.Controls); !errors.As(err, &e) || !slices.Equal(e.Parts, []BodyPartID{2, 3}) {
		t.Errorf("%v", err)
	}
	if _, err := (Control{ID: 9, Type: anOID, Values: [][]byte{null}}).Decode(); !errors.Is(err, ErrUnknown) {
		t.Errorf("%v", err)
	}
	if _, err := (Control{ID: 9, Type: OIDRegInfo}).Decode(); !errors.As(err, &e) || e.Parts[0] != 9 {
		t.Errorf("%v", err)
	}
}

// Malformed values of each control: nothing after it, nothing cut off it.
func TestControlsAreStrict(t *testing.T) {
	for _, v := range someValues() {
		der := must(Marshal(v))
		for name, bad := range map[string][]byte{"longer": append(clone(der), 0), "shorter": der[:len(der)-1], "empty": {}, "other": {5, 0}} {
			if got, err := Unmarshal(v.OID(), bad); err == nil {
				t.Errorf("%T %s is read as %+v", v, name, got)
			}
		}
	}
	for name, v := range map[string]Value{
		"no path": ResponseBody{}, "long path": ResponseBody(make(Path, MaxPath+1)), "no reference": ControlProcessed{}, "no list": BatchRequests{},
		"two infos": StatusInfoV2{Bodies: []Reference{{}}, Fail: ptr(BadAlg), Pend: &PendInfo{nil, aTime}}, "no body": StatusInfoV2{},
		"no number": TransactionID{}, "no UTF-8": Identification("\xff"), "no name": GetCert{Serial: big.NewInt(1)},
		"no change": ChangeSubjectName{}, "places": PublishCert{Hash: sha256Algorithm, Infos: []PublicationInfo{{}}},
		"no request": EncryptedPOP{}, "no time": StatusInfo{Bodies: []BodyPartID{1}, Pend: &PendInfo{}},
	} {
		if der, err := Marshal(v); err == nil {
			t.Errorf("%s is written as %x", name, der)
		}
	}
}

func TestBounds(t *testing.T) {
	many := &PKIData{}
	for i := range MaxParts + 1 {
		many.Controls = append(many.Controls, Control{ID: BodyPartID(i + 1), Type: anOID})
	}
	if _, err := many.Marshal(); err == nil {
		t.Error("too many controls are written")
	}
	der := must(build(func(b builder) {
		b.sequence(func(b builder) {
			b.sequence(func(b builder) {
				for _, c := range many.Controls {
					c.write(b)
				}
			})
			b.AddBytes([]byte{0x30, 0, 0x30, 0, 0x30, 0})
		})
	}))
	if _, err := ParsePKIData(der); err == nil {
		t.Error("too many controls are read")
	}
	long := must(build(func(b builder) {
		b.sequence(func(b builder) {
			for range MaxPath + 1 {
				b.bodyPart(1)
			}
		})
	}))
	if _, err := Unmarshal(OIDResponseBody, long); err == nil {
		t.Error("too long a path is read")
	}
	if _, err := Unmarshal(OIDAuthData, []byte{2, 5, 1, 0, 0, 0, 0}); err == nil {
		t.Error("the id 4294967296 is read")
	}
}

func FuzzPKIData(f *testing.F) {
	f.Add(must(aPKIData().Marshal()))
	f.Add(must((&PKIData{}).Marshal()))
	f.Fuzz(func(t *testing.T, der []byte) {
		p, err := ParsePKIData(der)
		if err != nil {
			if e := (*Error)(nil); !errors.As(err, &e) {
				t.Fatalf("%v is no *Error", err)
			}
			return
		}
		if again, err := p.Marshal(); err != nil || !bytes.Equal(again, der) {
			t.Fatalf("%x becomes %x, %v", der, again, err)
		}
		for _, c := range p.Controls {
			v, err := c.Decode()
			if err != nil {
				continue
			}
			if again, err := Marshal(v); err != nil || !bytes.Equal(again, c.Values[0]) {
				t.Fatalf("%s %x becomes %x, %v", c.Name(), c.Values[0], again, err)
			}
		}
		for _, q := range p.Requests { // must not fall
			_, _ = q.Attributes()
			_, _ = q.Extensions()
			_, _ = q.NoSignature(Options{SHA1: true})
		}
	})
}

func FuzzPKIResponse(f *testing.F) {
	p := aPKIData()
	f.Add(must((&PKIResponse{Controls: p.Controls, CMS: p.CMS, Other: p.Other}).Marshal()))
	f.Fuzz(func(t *testing.T, der []byte) {
		p, err := ParsePKIResponse(der)
		if err != nil {
			return
		}
		if again, err := p.Marshal(); err != nil || !bytes.Equal(again, der) {
			t.Fatalf("%x becomes %x, %v", der, again, err)
		}
	})
}

func FuzzControl(f *testing.F) {
	for _, v := range someValues() {
		arc := v.OID()[8]
		f.Add(arc, must(Marshal(v)))
	}
	f.Fuzz(func(t *testing.T, arc int, der []byte) {
		v, err := Unmarshal(control(arc), der)
		if err != nil {
			return
		}
		if again, err := Marshal(v); err != nil || !bytes.Equal(again, der) {
			t.Fatalf("%d: %x becomes %+v, %x, %v", arc, der, v, again, err)
		}
	})
}

func FuzzCertReqMsg(f *testing.F) {
	f.Add(must(aCRMF().Marshal()))
	f.Fuzz(func(t *testing.T, der []byte) {
		m, err := ParseCertReqMsg(der)
		if err != nil {
			return
		}
		if again, err := m.Marshal(); err != nil || !bytes.Equal(again, der) {
			t.Fatalf("%x becomes %x, %v", der, again, err)
		}
	})
}

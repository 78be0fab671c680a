package cmc

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"slices"
	"testing"

	"chancery/cms"
)

// person is one with a certificate.
type person struct {
	key  crypto.Signer
	cert *x509.Certificate
}

func aPerson(t *testing.T, name string, key crypto.Signer) person {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: name}, SubjectKeyId: []byte(name), NotAfter: aTime.AddDate(1, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return person{key, must(x509.ParseCertificate(der))}
}

func ecPerson(t *testing.T, name string) person {
	return aPerson(t, name, must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)))
}

func (p person) signs() []cms.Signing { return []cms.Signing{{Key: p.key, Certificate: p.cert}} }

func (p person) opens() Opener {
	return Opener{Decrypt: func(e *cms.Enveloped) ([]byte, error) { return e.Decrypt(p.key, 0) }}
}

var passphrase = cms.Passphrase("a shared secret")

func byPassphrase(p cms.Passphrase) Opener {
	return Opener{Authenticate: func(a *cms.Authenticated) error { return a.Verify(p, 0) }}
}

func TestFullRequestsAreOpened(t *testing.T) {
	client, server := ecPerson(t, "client"), aPerson(t, "server", must(rsa.GenerateKey(rand.Reader, 2048)))
	to := []cms.Recipient{cms.KeyTransport{Certificate: server.cert}}
	for name, w := range map[string]Wrapping{
		"unsigned": {}, "signed": {Signers: client.signs(), Certificates: [][]byte{client.cert.Raw}},
		"encrypted":       {Signers: client.signs(), Encrypt: to},
		"encrypted GCM":   {Signers: client.signs(), Encrypt: to, Cipher: cms.AES128GCM},
		"signed outside":  {Signers: client.signs(), Encrypt: to, Outer: client.signs(), Certificates: [][]byte{client.cert.Raw}},
		"no signature":    {Signers: []cms.Signing{{KeyID: []byte("k"), NoSignature: true}}},
		"password":        {Authenticate: cms.Password{Passphrase: passphrase, Iterations: 1000}},
		"password within": {Authenticate: cms.Password{Passphrase: passphrase, Iterations: 1000}, Encrypt: to},
	} {
		in, err := FullRequest(aPKIData(), w)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		o := Opener{server.opens().Decrypt, byPassphrase(passphrase).Authenticate}
		m, err := o.Open(in)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := must(m.Data.Marshal()); !bytes.Equal(got, must(aPKIData().Marshal())) {
			t.Errorf("%s: another message comes out", name)
		}
		signers := m.Signers()
		if len(signers) != len(w.Signers)+len(w.Outer) {
			t.Errorf("%s: %d signers", name, len(signers))
		}
		for _, s := range signers {
			if s.Info.NoSignature() {
				fails(t, name, m.Verify(s, client.key.Public(), Options{}), BadMessageCheck)
				if err := m.VerifyNoSignature(s, Options{}); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				continue
			}
			if err := m.Verify(s, client.key.Public(), Options{}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			fails(t, name+" by another", m.Verify(s, server.key.Public(), Options{}), BadMessageCheck)
			fails(t, name+" not a hash", m.VerifyNoSignature(s, Options{}), BadMessageCheck)
			if (s.Certificate != nil) != (w.Certificates != nil) {
				t.Errorf("%s: certificate %v", name, s.Certificate)
			}
		}
		if w.Encrypt != nil {
			_, err = Opener{}.Open(in)
			fails(t, name+" without the key", err, BadMessageCheck)
			_, err = client.opens().Open(in)
			fails(t, name+" with another key", err, BadMessageCheck)
		}
		if w.Authenticate != nil {
			_, err = Opener{server.opens().Decrypt, byPassphrase(cms.Passphrase("x")).Authenticate}.Open(in)
			fails(t, name+" with another password", err, BadMessageCheck)
		}
	}
	m := &Message{}
	fails(t, "no such layer", m.Verify(Signer{}, nil, Options{}), BadMessageCheck)
	fails(t, "no such layer", m.VerifyNoSignature(Signer{}, Options{}), BadMessageCheck)
}

func TestResponsesAreOpened(t *testing.T) {
	server := ecPerson(t, "server")
	p := &PKIResponse{}
	if err := p.Add(StatusInfoV2{Status: Success, Bodies: []Reference{{ID: 1}}}); err != nil {
		t.Fatal(err)
	}
	in, err := FullResponse(p, Wrapping{Signers: server.signs(), Certificates: [][]byte{server.cert.Raw}})
	if err != nil {
		t.Fatal(err)
	}
	m, err := Opener{}.Open(in)
	if err != nil || m.Response == nil || m.Data != nil || len(m.Certificates()) != 1 || m.Signers()[0].Certificate == nil {
		t.Fatalf("%+v, %v", m, err)
	}
	simple := must(cms.Bag{Certificates: [][]byte{server.cert.Raw}}.Marshal())
	m, err = Opener{}.Open(simple)
	if err != nil || m.Response != nil || m.Data != nil || len(m.Certificates()) != 1 {
		t.Errorf("a simple response: %+v, %v", m, err)
	}
}

func TestWhatIsNoMessage(t *testing.T) {
	other := must(cms.Sign(cms.SignedContent{Type: cms.OIDData, Content: []byte("hello")}))
	broken := must(cms.Sign(cms.SignedContent{Type: cms.OIDPKIData, Content: []byte{0x30, 1}}))
	plain := must(cms.ContentInfo{Type: cms.OIDData, Content: []byte{4, 0}}.Marshal())
	deep := must(FullRequest(&PKIData{}, Wrapping{}))
	for range MaxLayers {
		inner := must(cms.ParseContentInfo(deep))
		deep = must(cms.Sign(cms.SignedContent{Type: inner.Type, Content: inner.Content}))
	}
	for name, in := range map[string][]byte{"other": other, "broken": broken, "plain": plain, "empty": {}, "deep": deep} {
		_, err := Opener{}.Open(in)
		fails(t, name, err, BadRequest)
	}
}

// An RA's message holds clients' messages; paths lead through them.
func TestNestedMessages(t *testing.T) {
	client, ra := ecPerson(t, "client"), ecPerson(t, "ra")
	inner := &PKIData{}
	inner.Controls = []Control{{ID: 8, Type: anOID, Values: [][]byte{null}}, {ID: 9, Type: anOID, Values: [][]byte{null}}}
	inner.Requests = []Request{{ID: 5, PKCS10: aPKCS10(t)}}
	nested := must(FullRequest(inner, Wrapping{Signers: client.signs()}))
	outer := &PKIData{}
	part := outer.AddCMS(nested)
	if err := outer.Add(BatchRequests{part}, ControlProcessed{{Path: Path{part, 8}}}, RAIdentityWitness{part}, LRAPOPWitness{part, []BodyPartID{5}}); err != nil {
		t.Fatal(err)
	}
	outer.Controls = append(outer.Controls, Control{ID: 40, Type: anOID, Values: [][]byte{null}})
	m, err := Opener{}.Open(must(FullRequest(outer, Wrapping{Signers: ra.signs()})))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Data.Check(); err != nil {
		t.Error(err)
	}
	child, id, err := m.At(Path{part, 5}, Opener{})
	if err != nil || id != 5 || child.Parent != m || child.Data.Requests[0].ID != 5 {
		t.Fatalf("%+v, %d, %v", child, id, err)
	}
	if again, _ := m.Open(part, Opener{}); again != child {
		t.Error("the same part is another message")
	}
	if path := child.Path(5); !slices.Equal(path, Path{part, 5}) {
		t.Errorf("%v", path)
	}
	isRA := func(of *Message) bool { return of == m }
	if list, err := child.Unrecognised(isRA); err != nil || !slices.Equal(list, []BodyPartID{9}) {
		t.Errorf("%v, %v: 8 has been processed, 9 not", list, err)
	}
	if list, err := child.Unrecognised(func(*Message) bool { return false }); err != nil || !slices.Equal(list, []BodyPartID{8, 9}) {
		t.Errorf("%v, %v: the one around it is no RA's", list, err)
	}
	if list, err := m.Unrecognised(isRA); err != nil || !slices.Equal(list, []BodyPartID{40}) {
		t.Errorf("%v, %v", list, err)
	}
	_, _, err = m.At(Path{part, 99, 1}, Opener{})
	fails(t, "no such part", err, BadRequest)
	_, _, err = m.At(nil, Opener{})
	fails(t, "no path", err, BadRequest)

	for range MaxDepth { // too deep
		p := &PKIData{}
		p.AddCMS(nested)
		nested = must(FullRequest(p, Wrapping{}))
	}
	m = must(Opener{}.Open(nested))
	for depth := 1; ; depth++ {
		child, err := m.Open(1, Opener{})
		if err != nil {
			fails(t, "too deep", err, BadRequest)
			if depth != MaxDepth {
				t.Errorf("refused at %d", depth)
			}
			break
		}
		m = child
	}
}

func TestNestedFaultsNameThePart(t *testing.T) {
	outer := &PKIData{}
	part := outer.AddCMS(must(cms.Sign(cms.SignedContent{Type: cms.OIDPKIData, Content: []byte{1}})))
	m := must(Opener{}.Open(must(FullRequest(outer, Wrapping{}))))
	_, err := m.Open(part, Opener{})
	var e *Error
	if !errors.As(err, &e) || !slices.Equal(e.Parts, []BodyPartID{part}) {
		t.Errorf("%v", err)
	}
}

func TestAuthData(t *testing.T) {
	published := &PKIData{}
	if err := published.Add(must(Publish(big.NewInt(1), []byte("anchor")))); err != nil {
		t.Fatal(err)
	}
	in := must(FullRequest(published, Wrapping{Authenticate: cms.Password{Passphrase: passphrase, Iterations: 1000}}))
	p := &PKIResponse{}
	part := p.AddCMS(in)
	if err := p.Add(AuthData(part)); err != nil {
		t.Fatal(err)
	}
	m := must(Opener{}.Open(must(FullResponse(p, Wrapping{}))))
	if err := m.Response.Check(); err != nil {
		t.Error(err)
	}
	_, err := m.AuthData(byPassphrase(cms.Passphrase("another")))
	fails(t, "another secret", err, AuthDataFail)
	child, err := m.AuthData(byPassphrase(passphrase))
	if err != nil {
		t.Fatal(err)
	}
	if found, err := One[PublishTrustAnchors](child.Data.Controls); err != nil || found == nil {
		t.Errorf("%v, %v", found, err)
	}
	p = &PKIResponse{}
	if err := p.Add(AuthData(p.AddCMS(must(FullRequest(published, Wrapping{}))))); err != nil {
		t.Fatal(err)
	}
	m = must(Opener{}.Open(must(FullResponse(p, Wrapping{}))))
	_, err = m.AuthData(byPassphrase(passphrase))
	fails(t, "not authenticated", err, AuthDataFail)
	if none, err := (&Message{Response: &PKIResponse{}}).AuthData(Opener{}); none != nil || err != nil {
		t.Errorf("%v, %v", none, err)
	}
}

func TestReferencesAreChecked(t *testing.T) {
	for name, v := range map[string]Value{
		"lraPOPWitness": LRAPOPWitness{0, []BodyPartID{99}}, "nested": LRAPOPWitness{99, nil}, "addExtensions": AddExtensions{0, []BodyPartID{99}, nil},
		"modCertTemplate": ModCertTemplate{PKIData: Path{0}, Requests: []BodyPartID{99}}, "path": ModCertTemplate{PKIData: Path{98, 5}, Requests: []BodyPartID{99}},
		"decryptedPOP": DecryptedPOP{99, hmacAlgorithm, nil}, "batch": BatchRequests{99}, "authData": AuthData(99), "responseBody": ResponseBody{1},
	} {
		p := &PKIData{Requests: []Request{{ID: 5, PKCS10: aPKCS10(t)}}}
		if err := p.Add(Identification("x"), v); err != nil {
			t.Fatal(err)
		}
		var e *Error
		if err := p.Check(); !errors.As(err, &e) || !slices.Equal(e.Parts, []BodyPartID{7}) || e.Fail != BadRequest {
			t.Errorf("%s: %v", name, err)
		}
	}
	good := &PKIData{Requests: []Request{{ID: 5, PKCS10: aPKCS10(t)}}}
	if err := good.Add(LRAPOPWitness{0, []BodyPartID{5}}, ModCertTemplate{PKIData: Path{0}, Requests: []BodyPartID{5}}); err != nil || good.Check() != nil {
		t.Errorf("%v, %v", err, good.Check())
	}
	bad := &PKIData{Requests: []Request{{ID: 5, PKCS10: aName}, {ID: 6, CRMF: &CertReqMsg{Request: CertRequest{ID: 6}}}}, Controls: []Control{{ID: 7, Type: OIDRegInfo}}}
	var e *Error
	if err := bad.Check(); !errors.As(err, &e) || !slices.Equal(e.Parts, []BodyPartID{7, 5, 6}) {
		t.Errorf("%v", err)
	}
	for name, v := range map[string]Value{"witness": RAIdentityWitness{1}, "batch": BatchResponses{9}, "body": ResponseBody{9}} {
		p := &PKIResponse{}
		if err := p.Add(v); err != nil || p.Check() == nil {
			t.Errorf("%s: %v, %v", name, err, p.Check())
		}
	}
}

func TestUnsignedData(t *testing.T) {
	client := ecPerson(t, "client")
	a := must(UnsignedDataAttribute(UnsignedData{Path{3}, anOID, null}, UnsignedData{Path{2}, anOID, null}))
	signers := client.signs()
	signers[0].Unsigned = []cms.Attribute{a}
	m := must(Opener{}.Open(must(FullRequest(&PKIData{}, Wrapping{Signers: signers}))))
	list, err := m.UnsignedData()
	if err != nil || len(list) != 2 || list[0].Path[0] != 2 {
		t.Fatalf("%v, %v", list, err)
	}
	if up := Promote(list, 9); !slices.Equal(up[0].Path, Path{9, 2}) || !slices.Equal(list[0].Path, Path{2}) {
		t.Errorf("%v", up)
	}
	m = must(Opener{}.Open(must(FullRequest(&PKIData{}, Wrapping{Signers: append(signers, client.signs()...)}))))
	_, err = m.UnsignedData()
	fails(t, "only one signer has it", err, BadRequest)
	_, err = UnsignedDataOf([]cms.Attribute{a, a})
	fails(t, "twice", err, BadRequest)
	_, err = UnsignedDataOf([]cms.Attribute{{Type: OIDUnsignedData, Values: [][]byte{null}}})
	fails(t, "broken", err, BadRequest)
}

func FuzzOpen(f *testing.F) {
	f.Add(must(FullRequest(aPKIData(), Wrapping{})))
	f.Add(must(FullRequest(&PKIData{}, Wrapping{Authenticate: cms.Password{Passphrase: passphrase, Iterations: 1000}})))
	f.Fuzz(func(t *testing.T, in []byte) {
		o := Opener{Authenticate: func(*cms.Authenticated) error { return nil }}
		m, err := o.Open(in)
		if err != nil {
			if e := (*Error)(nil); !errors.As(err, &e) {
				t.Fatalf("%v is no *Error", err)
			}
			return
		}
		for _, s := range m.Signers() {
			_ = m.VerifyNoSignature(s, Options{})
		}
		_, _ = m.UnsignedData()
		_, _ = m.AuthData(o)
		_, _ = m.Unrecognised(func(*Message) bool { return true })
		if m.Data != nil {
			_ = m.Data.Check()
		}
	})
}

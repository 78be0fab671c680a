package interop_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"chancery/cms"
	"chancery/cms/cmc"
)

// cmcPerson is one with a key and a certificate.
type cmcPerson struct {
	key  crypto.Signer
	cert *x509.Certificate
}

func aCMCPerson(t *testing.T, name string, key crypto.Signer) cmcPerson {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(81), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().AddDate(1, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return cmcPerson{key, mustDER(x509.ParseCertificate(der))}
}

func (p cmcPerson) pkcs8() string {
	return hex.EncodeToString(mustDER(x509.MarshalPKCS8PrivateKey(p.key)))
}

const cmcSecret, cmcIdentity = "a-shared-secret-of-some-length", "Gerät-8"

// conversation gathers questions to CmcMessages.java with what is to be made of the answers.
type conversation struct {
	lines  []string
	checks []func(answer string)
}

func (c *conversation) ask(check func(answer string), words ...string) {
	c.lines, c.checks = append(c.lines, strings.Join(words, " ")), append(c.checks, check)
}

func (c *conversation) hold(t *testing.T) {
	t.Helper()
	answers := bouncyCastle(t, "CmcMessages.java", c.lines...)
	if len(answers) != len(c.checks) {
		t.Fatalf("%d answers to %d questions", len(answers), len(c.checks))
	}
	for i, check := range c.checks {
		check(answers[i])
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	der, err := hex.DecodeString(s)
	if err != nil {
		t.Fatalf("%.200q: %v", s, err)
	}
	return der
}

func wanted(t *testing.T, what, want string) func(string) {
	return func(answer string) {
		t.Helper()
		if answer != want {
			t.Errorf("%s: %.300q, not %q", what, answer, want)
		}
	}
}

// proven is a message with a proof of identity and requests that are linked to it.
func proven(t *testing.T) *cmc.PKIData {
	t.Helper()
	random := cmc.NewPOPLinkRandom()
	link := mustDER(cmc.Link(cmc.Secret(cmcSecret), random, crypto.SHA256))
	p := &cmc.PKIData{}
	crmf := &cmc.CertReqMsg{Request: cmc.CertRequest{ID: 50, Template: cmc.CertTemplate{Subject: cmcName}, Controls: []cmc.AttributeTypeAndValue{mustDER(cmc.CRMFControl(link))}}}
	if err := crmf.Sign(mustDER(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := p.AddRequest(cmc.Request{CRMF: crmf}); err != nil {
		t.Fatal(err)
	}
	attribute := mustDER(mustDER(cmc.Attribute(link)).Marshal())
	attributes := mustDER(asn1.Marshal(asn1.RawValue{Class: asn1.ClassContextSpecific, IsCompound: true, Bytes: attribute}))
	info := slices.Concat([]byte{2, 1, 0}, cmcName, cmcKey, attributes)
	pkcs10 := mustDER(cmc.Unsigned(mustDER(asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: info})), crypto.SHA256))
	if _, err := p.AddRequest(cmc.Request{PKCS10: pkcs10}); err != nil {
		t.Fatal(err)
	}
	proof := mustDER(cmc.ProveIdentity(cmc.Identity{Secret: cmc.Secret(cmcSecret), Name: cmcIdentity}, crypto.SHA256, mustDER(p.RequestBytes())))
	if err := p.Add(cmc.Identification(cmcIdentity), proof, random); err != nil {
		t.Fatal(err)
	}
	return p
}

// TestCMCProofs: proofs made on either side hold on the other.
func TestCMCProofs(t *testing.T) {
	var c conversation
	p := proven(t)
	der := mustDER(p.Marshal())
	c.ask(wanted(t, "proof and links", "true true,true"), "proofs", hex.EncodeToString(der), cmcSecret)
	c.ask(wanted(t, "with another secret", "false false,false"), "proofs", hex.EncodeToString(der), "another")
	c.ask(wanted(t, "no-signature", cms.OIDNoSignature.String()+" true true"), "nosignature", hex.EncodeToString(p.Requests[1].PKCS10))
	c.ask(func(answer string) {
		made, err := cmc.ParsePKIData(unhex(t, answer))
		if err != nil {
			t.Fatal(err)
		}
		proof, err := cmc.One[cmc.IdentityProofV2](made.Controls)
		if err != nil || proof == nil {
			t.Fatalf("%v, %v", proof, err)
		}
		id := cmc.Identity{Secret: cmc.Secret(cmcSecret), Name: "Castle"}
		if err := proof.Value.Verify(id, mustDER(made.RequestBytes()), cmc.Options{}); err != nil {
			t.Error(err)
		}
		id.Secret = cmc.Secret("another")
		if proof.Value.Verify(id, mustDER(made.RequestBytes()), cmc.Options{}) == nil {
			t.Error("it holds with another secret")
		}
	}, "prove", hex.EncodeToString(der), cmcSecret, "Castle")
	c.ask(func(answer string) {
		v, err := cmc.Unmarshal(cmc.OIDPOPLinkWitnessV2, unhex(t, answer))
		if err != nil {
			t.Fatal(err)
		}
		if err := v.(cmc.POPLinkWitnessV2).Verify(cmc.Secret(cmcSecret), []byte{1, 2}, cmc.Options{}); err != nil {
			t.Error(err)
		}
	}, "link", cmcSecret, "0102")
	anchor := aCMCPerson(t, "anchor", mustDER(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))).cert.Raw
	published := mustDER(cmc.Marshal(mustDER(cmc.Publish(big.NewInt(1), anchor))))
	c.ask(wanted(t, "anchors", "true"), "anchors", hex.EncodeToString(published), hex.EncodeToString(anchor))
	c.ask(func(answer string) {
		v, err := cmc.Unmarshal(cmc.OIDTrustedAnchors, unhex(t, answer))
		if err != nil {
			t.Fatal(err)
		}
		if found, missing, err := v.(cmc.PublishTrustAnchors).Anchors([][]byte{anchor}, cmc.Options{}); err != nil || len(found) != 1 || missing != nil {
			t.Errorf("%d found, %x missing, %v", len(found), missing, err)
		}
	}, "publish", hex.EncodeToString(anchor))
	c.hold(t)
}

// TestCRMFPossession: signatures of CRMF requests made on either side hold on the other.
func TestCRMFPossession(t *testing.T) {
	var c conversation
	for name, key := range map[string]crypto.Signer{"RSA": mustDER(rsa.GenerateKey(rand.Reader, 2048)), "EC": mustDER(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))} {
		m := &cmc.CertReqMsg{Request: cmc.CertRequest{ID: 5, Template: cmc.CertTemplate{Subject: cmcName}}}
		if err := m.Sign(key, crypto.SHA384); err != nil {
			t.Fatal(err)
		}
		c.ask(wanted(t, name, "true"), "pop", hex.EncodeToString(mustDER(m.Marshal())))
		public := m.Request.Template.PublicKey
		if err := m.SignInput(key, 0, cmc.SigningKeyInput{Sender: cmcDirectory, PublicKey: public}); err != nil {
			t.Fatal(err)
		}
		c.ask(wanted(t, name+" with a sender", "true"), "pop", hex.EncodeToString(mustDER(m.Marshal())))
		mac := mustDER(cmc.PasswordMAC(cmc.Secret("password"), public))
		if err := m.SignInput(key, 0, cmc.SigningKeyInput{MAC: &mac, PublicKey: public}); err != nil {
			t.Fatal(err)
		}
		der := hex.EncodeToString(mustDER(m.Marshal()))
		c.ask(wanted(t, name+" with a password", "true"), "pop", der, "password")
		c.ask(wanted(t, name+" with another password", "false"), "pop", der, "passwort")
		m.Request.Template.Subject, m.POP.Signature.Input = cmcName, nil
		c.ask(wanted(t, name+" over something else", "false"), "pop", hex.EncodeToString(mustDER(m.Marshal())))
	}
	for _, how := range []string{"RSA", "RSA-PSS", "EC", "EC-sender", "RSA-sender", "EC-password"} {
		c.ask(func(answer string) {
			m, err := cmc.ParseCertReqMsg(unhex(t, answer))
			if err != nil {
				t.Fatalf("%s: %v", how, err)
			}
			if possession, err := m.Possession(cmc.Options{}); possession != cmc.Signed || err != nil {
				t.Errorf("%s: %s, %v", how, possession, err)
			}
			if strings.HasSuffix(how, "password") {
				i := m.POP.Signature.Input // Bouncy Castle's MAC is by SHA-1
				if err := i.MAC.Verify(cmc.Secret("password"), i.PublicKey, cmc.Options{SHA1: true}); err != nil {
					t.Errorf("%s: %v", how, err)
				}
			}
			m.POP.Signature.Signature[20] ^= 1
			if _, err := m.Possession(cmc.Options{}); err == nil {
				t.Errorf("%s: a spoilt signature holds", how)
			}
		}, "crmf", how, "password")
	}
	c.hold(t)
}

// TestCMCChallenges: what one side encrypts the other decrypts, and the answer is right.
func TestCMCChallenges(t *testing.T) {
	var c conversation
	for name, key := range map[string]crypto.Signer{"RSA": mustDER(rsa.GenerateKey(rand.Reader, 2048)), "EC": mustDER(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))} {
		p := cmcPerson{key: key}
		q := cmc.Request{ID: 66, CRMF: &cmc.CertReqMsg{
			Request: cmc.CertRequest{ID: 66, Template: cmc.CertTemplate{Subject: cmcName, PublicKey: mustDER(x509.MarshalPKIXPublicKey(key.Public()))}},
			POP:     &cmc.POP{KeyEncipherment: &cmc.POPPrivKey{Subsequent: ptr(cmc.ChallengeResponse)}},
		}}
		for _, keyID := range [][]byte{nil, {1, 2, 3}} {
			challenge, proof, err := cmc.NewChallenge(cmc.Challenged{Request: q, KeyID: keyID})
			if err != nil {
				t.Fatal(err)
			}
			c.ask(func(answer string) {
				v, err := cmc.Unmarshal(cmc.OIDDecryptedPOP, unhex(t, answer))
				if err != nil {
					t.Fatal(err)
				}
				if err := v.(cmc.DecryptedPOP).Verify(proof, q, cmc.Options{}); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}, "answer", hex.EncodeToString(mustDER(cmc.Marshal(challenge))), name, p.pkcs8())
		}
		if name != "RSA" {
			continue
		}
		c.ask(func(answer string) {
			control, want, _ := strings.Cut(answer, " ")
			v, err := cmc.Unmarshal(cmc.OIDEncryptedPOP, unhex(t, control))
			if err != nil {
				t.Fatal(err)
			}
			challenge := v.(cmc.EncryptedPOP)
			proof, err := challenge.Open(key, cmc.Options{})
			if err != nil || hex.EncodeToString(proof) != want {
				t.Errorf("%x, %v", proof, err)
			}
			if got := mustDER(challenge.Request.Marshal()); !bytes.Equal(got, mustDER(q.Marshal())) {
				t.Errorf("the request comes back as %x", got)
			}
		}, "challenge", hex.EncodeToString(mustDER(q.Marshal())), "0102")
	}
	c.hold(t)
}

// TestCMCMessages: full requests and responses wrapped on either side are opened on the other.
func TestCMCMessages(t *testing.T) {
	var c conversation
	client := aCMCPerson(t, "client", mustDER(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)))
	server := aCMCPerson(t, "server", mustDER(rsa.GenerateKey(rand.Reader, 2048)))
	request := proven(t)
	nested := mustDER(cmc.FullRequest(request, cmc.Wrapping{Signers: []cms.Signing{{Key: client.key, Certificate: client.cert}}}))
	batch := request.AddCMS(nested)
	if err := request.Add(cmc.BatchRequests{batch}, cmc.LRAPOPWitness{PKIData: batch, Bodies: []cmc.BodyPartID{50}}); err != nil {
		t.Fatal(err)
	}
	response := &cmc.PKIResponse{}
	if err := response.Add(cmc.StatusInfoV2{Status: cmc.Success, Bodies: []cmc.Reference{{ID: 1}}}); err != nil {
		t.Fatal(err)
	}
	for name, w := range cmcWrappings(client, server) {
		for _, oid := range []string{cms.OIDPKIData.String(), cms.OIDPKIResponse.String()} {
			content, wrapped := mustDER(request.Marshal()), mustDER(cmc.FullRequest(request, w))
			if oid == cms.OIDPKIResponse.String() {
				content, wrapped = mustDER(response.Marshal()), mustDER(cmc.FullResponse(response, w))
			}
			c.ask(wanted(t, name, fmt.Sprintf("%s|%s|%x", name, oid, content)), "unwrap", hex.EncodeToString(wrapped), cmcSecret, server.pkcs8())
		}
	}
	content := mustDER(request.Marshal())
	for how, layers := range map[string]string{
		"unsigned": "signed", "signed": "signed 1", "streamed": "signed 1", "encrypted": "enveloped,signed 1", "outer": "signed 1,enveloped,signed 1", "authenticated": "authenticated",
	} {
		argument := cmcSecret
		if how != "authenticated" {
			argument = hex.EncodeToString(server.cert.Raw)
		}
		c.ask(func(answer string) { openedHere(t, how, layers, unhex(t, answer), content, server) },
			"wrap", how, cms.OIDPKIData.String(), hex.EncodeToString(content), argument)
	}
	c.hold(t)
}

// cmcWrappings are called as CmcMessages.java sees them.
func cmcWrappings(client, server cmcPerson) map[string]cmc.Wrapping {
	signers := []cms.Signing{{Key: client.key, Certificate: client.cert}}
	enclosed, to := [][]byte{client.cert.Raw}, []cms.Recipient{cms.KeyTransport{Certificate: server.cert}}
	return map[string]cmc.Wrapping{
		"signed": {}, "signed true": {Signers: signers, Certificates: enclosed},
		"enveloped,signed true":        {Signers: signers, Certificates: enclosed, Encrypt: to},
		"authenticated true":           {Authenticate: cms.Password{Passphrase: cms.Passphrase(cmcSecret), Iterations: 2000}},
		"enveloped,authenticated true": {Authenticate: cms.Password{Passphrase: cms.Passphrase(cmcSecret), Iterations: 2000}, Encrypt: to},
		"signed,enveloped,signed true": {Signers: signers, Certificates: enclosed, Encrypt: to, Outer: []cms.Signing{}},
	}
}

func openedHere(t *testing.T, how, layers string, in, content []byte, server cmcPerson) {
	t.Helper()
	o := cmc.Opener{
		Decrypt:      func(e *cms.Enveloped) ([]byte, error) { return e.Decrypt(server.key, 0) },
		Authenticate: func(a *cms.Authenticated) error { return a.Verify(cms.Passphrase(cmcSecret), 0) },
	}
	m, err := o.Open(in)
	if err != nil {
		t.Errorf("%s: %v", how, err)
		return
	}
	var found []string
	for _, l := range m.Layers {
		switch {
		case l.Enveloped != nil:
			found = append(found, "enveloped")
		case l.Authenticated != nil:
			found = append(found, "authenticated")
		case len(l.Signed.Signers) > 0:
			found = append(found, fmt.Sprint("signed ", len(l.Signed.Signers)))
		default:
			found = append(found, "signed")
		}
	}
	if got := strings.Join(found, ","); got != layers {
		t.Errorf("%s: the layers are %s", how, got)
	}
	if m.Data == nil || !bytes.Equal(mustDER(m.Data.Marshal()), content) {
		t.Errorf("%s: another content", how)
		return
	}
	for _, s := range m.Signers() {
		if s.Certificate == nil {
			t.Errorf("%s: no certificate of a signer", how)
		} else if err := m.Verify(s, s.Certificate.PublicKey, cmc.Options{}); err != nil {
			t.Errorf("%s: %v", how, err)
		}
	}
	for _, n := range m.Data.CMS {
		if _, err := m.Open(n.ID, o); err != nil {
			t.Errorf("%s: %v", how, err)
		}
	}
}

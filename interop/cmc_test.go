package interop_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"math/big"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"chancery/cms"
	"chancery/cms/cmc"
	"chancery/internal/peertest"
)

// bouncyCastle has a program of testdata/bouncycastle answer the lines.
func bouncyCastle(t *testing.T, program string, lines ...string) []string {
	t.Helper()
	java, classes := peertest.Need(t, "java"), peertest.Jars(t, "bcpkix", "bcprov", "bcutil")
	peertest.Need(t, "javac") // a JRE alone does not run sources
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, java, "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", // it starts sooner
		"-Dfile.encoding=UTF-8", "-Dstdout.encoding=UTF-8", "-cp", classes, filepath.Join("testdata", "bouncycastle", program))
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", program, err, said.String())
	}
	return strings.Split(strings.TrimRight(string(out), "\n"), "\n")
}

// controlTypes are the controls of E10 and the other ones, by the RFC's names.
var controlTypes = map[string]asn1.ObjectIdentifier{
	"identification": cmc.OIDIdentification, "identityProof": cmc.OIDIdentityProof, "identityProofV2": cmc.OIDIdentityProofV2,
	"popLinkRandom": cmc.OIDPOPLinkRandom, "popLinkWitness": cmc.OIDPOPLinkWitness, "popLinkWitnessV2": cmc.OIDPOPLinkWitnessV2,
	"transactionId": cmc.OIDTransactionID, "senderNonce": cmc.OIDSenderNonce, "recipientNonce": cmc.OIDRecipientNonce,
	"dataReturn": cmc.OIDDataReturn, "statusInfo": cmc.OIDStatusInfo, "statusInfoV2": cmc.OIDStatusInfoV2, "queryPending": cmc.OIDQueryPending,
	"confirmCertAcceptance": cmc.OIDConfirmCertAcceptance, "revokeRequest": cmc.OIDRevokeRequest, "getCert": cmc.OIDGetCert, "getCRL": cmc.OIDGetCRL,
	"regInfo": cmc.OIDRegInfo, "responseInfo": cmc.OIDResponseInfo, "trustedAnchors": cmc.OIDTrustedAnchors, "authData": cmc.OIDAuthData,
	"encryptedPOP": cmc.OIDEncryptedPOP, "decryptedPOP": cmc.OIDDecryptedPOP, "batchRequests": cmc.OIDBatchRequests, "batchResponses": cmc.OIDBatchResponses,
	"lraPOPWitness": cmc.OIDLRAPOPWitness, "raIdentityWitness": cmc.OIDRAIdentityWitness, "modCertTemplate": cmc.OIDModCertTemplate,
	"addExtensions": cmc.OIDAddExtensions, "controlProcessed": cmc.OIDControlProcessed, "responseBody": cmc.OIDResponseBody,
	"publishCert": cmc.OIDPublishCert, "changeSubjectName": cmc.OIDChangeSubjectName,
}

// Things to put into messages.
var (
	cmcName      = mustDER(asn1.Marshal(pkix.Name{CommonName: "Gerät 8", Organization: []string{"Works"}}.ToRDNSequence()))
	cmcDNS       = append([]byte{0x82, 10}, "ca.example"...)
	cmcDirectory = append([]byte{0xA4, byte(len(cmcName))}, cmcName...)
	cmcTime      = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	cmcOdd       = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 55555, 1}
	cmcOctets    = []byte{4, 3, 9, 8, 7}
	cmcSHA256    = cms.Algorithm{OID: asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}}
	cmcHMAC      = cms.Algorithm{OID: asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 9}, Parameters: []byte{5, 0}}
	cmcKey       = append([]byte{0x30, 0x2A, 0x30, 5, 6, 3, 0x2B, 0x65, 0x70, 3, 0x21, 0}, make([]byte, 32)...)
)

func mustDER[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func ptr[T any](v T) *T { return &v }

func cmcTemplate() cmc.CertTemplate {
	return cmc.CertTemplate{
		Version: ptr(2), SerialNumber: big.NewInt(700), SigningAlg: &cmcSHA256, Issuer: cmcName,
		Validity: &cmc.Validity{NotBefore: cmcTime, NotAfter: time.Date(2050, 1, 1, 0, 0, 0, 0, time.UTC)}, Subject: []byte{0x30, 0}, PublicKey: cmcKey,
		IssuerUID: &asn1.BitString{Bytes: []byte{0xF0}, BitLength: 4}, SubjectUID: &asn1.BitString{Bytes: []byte{1}, BitLength: 8},
		Extensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 15}, Critical: true, Value: []byte{3, 2, 7, 0x80}}, {Id: cmcOdd, Value: cmcOctets}},
	}
}

func cmcRequests() []cmc.Request {
	crmf := &cmc.CertReqMsg{
		Request: cmc.CertRequest{ID: 52, Template: cmcTemplate(), Controls: []cmc.AttributeTypeAndValue{mustDER(cmc.CRMFControl(cmc.POPLinkWitness{1}))}},
		POP:     &cmc.POP{KeyEncipherment: &cmc.POPPrivKey{Subsequent: ptr(cmc.ChallengeResponse)}},
	}
	info := slices.Concat([]byte{2, 1, 0}, cmcName, cmcKey, []byte{0xA0, 0})
	pkcs10 := mustDER(cmc.Unsigned(append([]byte{0x30, byte(len(info))}, info...), crypto.SHA256))
	return []cmc.Request{{ID: 51, PKCS10: pkcs10}, {ID: 52, CRMF: crmf}, {ID: 53, Other: &cmc.OtherRequest{Type: cmcOdd, Value: cmcOctets}}}
}

// cmcValues has every control, with what is optional and without.
func cmcValues() []cmc.Value {
	data := mustDER(cms.ContentInfo{Type: cms.OIDData, Content: cmcOctets}.Marshal())
	requests := cmcRequests()
	status := cmc.StatusInfoV2{Status: cmc.Failed, Bodies: []cmc.Reference{{ID: 1}, {ID: 2}}}
	with := func(f func(*cmc.StatusInfoV2)) cmc.StatusInfoV2 { s := status; f(&s); return s }
	return []cmc.Value{
		cmc.Identification("Gerät 8"), cmc.IdentityProof{1}, cmc.IdentityProofV2{Hash: cmcSHA256, MAC: cmcHMAC, Witness: []byte{1}},
		cmc.POPLinkRandom{2}, cmc.POPLinkWitness{3}, cmc.POPLinkWitnessV2{KeyGen: cmcSHA256, MAC: cmcHMAC, Witness: []byte{1}},
		cmc.TransactionID{Number: big.NewInt(-4711)}, cmc.TransactionID{Number: new(big.Int).Lsh(big.NewInt(1), 159)},
		cmc.SenderNonce{}, cmc.RecipientNonce{4}, cmc.DataReturn{5}, cmc.RegInfo{6}, cmc.ResponseInfo{7}, cmc.QueryPending{8},
		cmc.ConfirmCertAcceptance{Issuer: cmcName, Serial: big.NewInt(128)}, cmc.RevokeRequest{Issuer: cmcName, Serial: big.NewInt(1)},
		cmc.RevokeRequest{Issuer: cmcName, Serial: big.NewInt(1), Reason: 4, InvalidityDate: cmcTime, Secret: cmc.Secret("gone"), Comment: "verloren, ö"},
		cmc.GetCert{Issuer: cmcDNS, Serial: big.NewInt(255)}, cmc.GetCert{Issuer: cmcDirectory, Serial: big.NewInt(255)},
		cmc.GetCRL{Issuer: cmcName}, cmc.GetCRL{Issuer: cmcName, CRLName: cmcDNS, Time: cmcTime, Reasons: &asn1.BitString{Bytes: []byte{0x60}, BitLength: 3}},
		mustDER(cmc.Publish(big.NewInt(9), []byte("one"), []byte("two"))), cmc.AuthData(4294967295), cmc.BatchRequests{1, 300}, cmc.BatchResponses{2},
		cmc.LRAPOPWitness{Bodies: []cmc.BodyPartID{1, 2}}, cmc.LRAPOPWitness{PKIData: 3}, cmc.RAIdentityWitness{1, 2}, cmc.ResponseBody{3},
		cmc.ModCertTemplate{PKIData: cmc.Path{1, 2}, Requests: []cmc.BodyPartID{3}, Template: cmcTemplate()},
		cmc.ModCertTemplate{PKIData: cmc.Path{1}, Requests: []cmc.BodyPartID{3, 4}, Delete: true, Template: cmc.CertTemplate{Subject: cmcName}},
		cmc.AddExtensions{Requests: []cmc.BodyPartID{3}, Extensions: cmcTemplate().Extensions}, cmc.ControlProcessed{{ID: 1}, {Path: cmc.Path{2, 3}}},
		cmc.PublishCert{Hash: cmcSHA256, Hashes: [][]byte{{1}}, Publish: true, Infos: []cmc.PublicationInfo{{Method: 2, Location: cmcDNS}, {}}},
		cmc.PublishCert{Hash: cmcSHA256}, cmc.ChangeSubjectName{Subject: cmcName},
		cmc.ChangeSubjectName{Subject: cmcName, SubjectAlt: append([]byte{0x30, byte(len(cmcDNS))}, cmcDNS...)},
		cmc.ChangeSubjectName{SubjectAlt: append([]byte{0x30, byte(len(cmcDNS))}, cmcDNS...)},
		cmc.EncryptedPOP{Request: requests[0], CMS: data, POP: cmcHMAC, Hash: cmcSHA256, Witness: []byte{1}},
		cmc.EncryptedPOP{Request: requests[1], CMS: data, POP: cmcHMAC, Hash: cmcSHA256, Witness: []byte{1}},
		cmc.DecryptedPOP{Part: 52, Algorithm: cmcHMAC, POP: []byte{1}},
		cmc.StatusInfo{Status: cmc.Failed, Bodies: []cmc.BodyPartID{1, 2}, Text: "no", Fail: ptr(cmc.POPFailed)},
		cmc.StatusInfo{Status: cmc.Pending, Bodies: []cmc.BodyPartID{1}, Pend: &cmc.PendInfo{Token: []byte{1}, Time: cmcTime}},
		status, with(func(s *cmc.StatusInfoV2) { s.Text, s.Fail = "nein, ö", ptr(cmc.AuthDataFail) }),
		with(func(s *cmc.StatusInfoV2) {
			s.Status, s.Pend = cmc.Partial, &cmc.PendInfo{Token: []byte{1}, Time: cmcTime}
		}),
		with(func(s *cmc.StatusInfoV2) { s.Extended = &cmc.ExtendedFailInfo{Type: cmcOdd, Value: cmcOctets} }),
	}
}

// judged is a thing, of a kind that Bouncy Castle's side knows.
type judged struct {
	kind, shown string
	der         []byte
}

// TestCMCWrittenHere has Bouncy Castle's classes read what is written here: their
// accessors must say the same, and they must write the same octets.
func TestCMCWrittenHere(t *testing.T) {
	var all []judged
	met := map[string]bool{}
	for _, v := range cmcValues() {
		name := (cmc.Control{Type: v.OID()}).Name()
		met[name] = true
		all = append(all, judged{name, showValue(v), mustDER(cmc.Marshal(v))})
	}
	for name, oid := range controlTypes {
		if !met[name] || (cmc.Control{Type: oid}).Name() != name {
			t.Errorf("%s is not tried", name)
		}
	}
	all = append(all, cmcMessages(t)...)
	var lines []string
	for _, j := range all {
		lines = append(lines, "read "+j.kind+" "+hex.EncodeToString(j.der))
	}
	answers := bouncyCastle(t, "Cmc.java", lines...)
	if len(answers) != len(all) {
		t.Fatalf("%d answers to %d questions", len(answers), len(all))
	}
	for i, j := range all {
		shown, der, _ := strings.Cut(answers[i], "\t")
		if shown != j.shown {
			t.Errorf("%s is read as\n%s\ninstead of\n%s", j.kind, shown, j.shown)
		}
		if der != hex.EncodeToString(j.der) {
			t.Errorf("%s %x is written as %s", j.kind, j.der, der)
		}
	}
}

// cmcMessages are messages and parts of them that are no controls.
func cmcMessages(t *testing.T) (all []judged) {
	t.Helper()
	mac, bits := &cmc.MACValue{Algorithm: cmcHMAC, Value: []byte{1, 2}}, &asn1.BitString{Bytes: []byte{1, 2}, BitLength: 16}
	signed := cmc.POPSignature{Algorithm: cmcSHA256, Signature: []byte{1}}
	sender, byMAC := signed, signed
	sender.Input = &cmc.SigningKeyInput{Sender: cmcDirectory, PublicKey: cmcKey}
	byMAC.Input = &cmc.SigningKeyInput{MAC: mac, PublicKey: cmcKey}
	for _, pop := range []*cmc.POP{
		nil, {RAVerified: true}, {Signature: &signed}, {Signature: &sender}, {Signature: &byMAC},
		{KeyEncipherment: &cmc.POPPrivKey{Subsequent: ptr(cmc.ChallengeResponse)}}, {KeyAgreement: &cmc.POPPrivKey{Subsequent: ptr(cmc.EncryptedCertificate)}},
		{KeyAgreement: &cmc.POPPrivKey{AgreeMAC: mac}}, {KeyEncipherment: &cmc.POPPrivKey{ThisMessage: bits}}, {KeyAgreement: &cmc.POPPrivKey{DHMAC: bits}},
	} {
		m := &cmc.CertReqMsg{
			Request: cmc.CertRequest{ID: 4294967295, Template: cmcTemplate()}, POP: pop,
			RegInfo: []cmc.AttributeTypeAndValue{{Type: cmcOdd, Value: cmcOctets}},
		}
		all = append(all, judged{"CertReqMsg", showCRMF(m), mustDER(m.Marshal())})
	}
	for _, q := range cmcRequests() {
		all = append(all, judged{"TaggedRequest", showRequest(q), mustDER(q.Marshal())})
	}
	p := &cmc.PKIData{Requests: cmcRequests()}
	if err := p.Add(cmcValues()...); err != nil {
		t.Fatal(err)
	}
	p.Controls = append(p.Controls, cmc.Control{ID: 500, Type: cmcOdd, Values: [][]byte{{2, 1, 1}, cmcOctets}})
	p.AddCMS(mustDER(cms.ContentInfo{Type: cms.OIDData, Content: cmcOctets}.Marshal()))
	p.Other = []cmc.OtherMsg{{ID: 502, Type: cmcOdd, Value: cmcOctets}}
	r := &cmc.PKIResponse{Controls: p.Controls, CMS: p.CMS, Other: p.Other}
	unsigned := mustDER(cmc.UnsignedDataAttribute(cmc.UnsignedData{Path: cmc.Path{1, 2}, Type: cmcOdd, Value: cmcOctets}))
	return append(all, judged{"PKIData", showPKIData(p), mustDER(p.Marshal())}, judged{"PKIResponse", showPKIResponse(r), mustDER(r.Marshal())},
		judged{"PKIData", "{}|{}|{}|{}", mustDER((&cmc.PKIData{}).Marshal())},
		judged{"unsignedData", fmt.Sprintf("1,2|%v|%x", cmcOdd, cmcOctets), unsigned.Values[0]})
}

// TestCMCWrittenByBouncyCastle reads what Bouncy Castle's classes write.
func TestCMCWrittenByBouncyCastle(t *testing.T) {
	met := map[string]int{}
	for _, line := range bouncyCastle(t, "Cmc.java", "make") {
		fields := strings.Split(line, "\t")
		if len(fields) != 3 {
			t.Fatalf("%q", line)
		}
		kind, want := fields[0], fields[1]
		der, err := hex.DecodeString(fields[2])
		if err != nil {
			t.Fatal(err)
		}
		met[kind]++
		shown, again, err := readCMC(kind, der)
		if err != nil {
			t.Errorf("%s %x: %v", kind, der, err)
			continue
		}
		if shown != want {
			t.Errorf("%s is read as\n%s\ninstead of\n%s", kind, shown, want)
		}
		if !bytes.Equal(again, der) {
			t.Errorf("%s %x is written as %x", kind, der, again)
		}
	}
	for name := range controlTypes {
		if met[name] == 0 && name != "changeSubjectName" { // no class, and no control
			t.Errorf("none of the kind %s", name)
		}
	}
	for _, name := range []string{"CertReqMsg", "TaggedRequest", "PKIData", "PKIResponse", "unsignedData"} {
		if met[name] == 0 {
			t.Errorf("none of the kind %s", name)
		}
	}
}

// readCMC reads a thing of a kind and writes it again.
func readCMC(kind string, der []byte) (shown string, again []byte, err error) {
	switch kind {
	case "CertReqMsg":
		m, err := cmc.ParseCertReqMsg(der)
		if err != nil {
			return "", nil, err
		}
		again, err = m.Marshal()
		return showCRMF(m), again, err
	case "TaggedRequest":
		q, err := cmc.ParseRequest(der)
		if err != nil {
			return "", nil, err
		}
		again, err = q.Marshal()
		return showRequest(q), again, err
	case "PKIData":
		p, err := cmc.ParsePKIData(der)
		if err != nil {
			return "", nil, err
		}
		again, err = p.Marshal()
		return showPKIData(p), again, err
	case "PKIResponse":
		p, err := cmc.ParsePKIResponse(der)
		if err != nil {
			return "", nil, err
		}
		again, err = p.Marshal()
		return showPKIResponse(p), again, err
	case "unsignedData":
		list, err := cmc.UnsignedDataOf([]cms.Attribute{{Type: cmc.OIDUnsignedData, Values: [][]byte{der}}})
		if err != nil {
			return "", nil, err
		}
		a, err := cmc.UnsignedDataAttribute(list...)
		return fmt.Sprintf("%s|%v|%x", showIDs(list[0].Path), list[0].Type, list[0].Value), a.Values[0], err
	case "reference": // as a list of one
		v, err := cmc.Unmarshal(cmc.OIDControlProcessed, slices.Concat([]byte{0x30, byte(len(der) + 2), 0x30, byte(len(der))}, der))
		if err != nil {
			return "", nil, err
		}
		again, err = cmc.Marshal(v)
		return showValue(v), again[4:], err
	}
	v, err := cmc.Unmarshal(controlTypes[kind], der)
	if err != nil {
		return "", nil, err
	}
	again, err = cmc.Marshal(v)
	return showValue(v), again, err
}

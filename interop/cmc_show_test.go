package interop_test

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"chancery/cms"
	"chancery/cms/cmc"
)

// The show functions say of values what testdata/bouncycastle/Cmc.java says of Bouncy
// Castle's, by the accessors of each.

func parted(parts ...any) string {
	var list []string
	for _, p := range parts {
		list = append(list, fmt.Sprint(p))
	}
	return strings.Join(list, "|")
}

func showHex(b []byte) string { return hex.EncodeToString(b) }

func orDash(b []byte) string {
	if b == nil {
		return "-"
	}
	return showHex(b)
}

func showAlgorithm(a cms.Algorithm) string {
	body := append(mustDER(asn1.Marshal(a.OID)), a.Parameters...)
	return showHex(mustDER(asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: body})))
}

func showIDs[T ~[]cmc.BodyPartID](list T) string {
	var out []string
	for _, id := range list {
		out = append(out, fmt.Sprint(id))
	}
	return strings.Join(out, ",")
}

func showReferences(list []cmc.Reference) string {
	var out []string
	for _, r := range list {
		if r.Path != nil {
			out = append(out, "["+showIDs(r.Path)+"]")
		} else {
			out = append(out, fmt.Sprint(r.ID))
		}
	}
	return strings.Join(out, ",")
}

func showTime(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("20060102150405Z")
}

func showText(s string) string {
	if s == "" {
		return "-"
	}
	return "=" + s
}

func showHashes(list [][]byte) string {
	var out []string
	for _, h := range list {
		out = append(out, showHex(h))
	}
	return strings.Join(out, ",")
}

func showList[T any](list []T, show func(T) string) string {
	var out []string
	for _, one := range list {
		out = append(out, show(one))
	}
	return "{" + strings.Join(out, " ") + "}"
}

func showBits(b *asn1.BitString) string {
	if b == nil {
		return "-"
	}
	return showHex(mustDER(asn1.Marshal(*b)))
}

func showExtensions(list []pkix.Extension) string {
	if list == nil {
		return "-"
	}
	return showHex(mustDER(asn1.Marshal(list)))
}

func showValue(v cmc.Value) string {
	switch v := v.(type) {
	case cmc.Identification:
		return string(v)
	case cmc.IdentityProof:
		return showHex(v)
	case cmc.DataReturn:
		return showHex(v)
	case cmc.SenderNonce:
		return showHex(v)
	case cmc.RecipientNonce:
		return showHex(v)
	case cmc.RegInfo:
		return showHex(v)
	case cmc.ResponseInfo:
		return showHex(v)
	case cmc.QueryPending:
		return showHex(v)
	case cmc.POPLinkRandom:
		return showHex(v)
	case cmc.POPLinkWitness:
		return showHex(v)
	case cmc.TransactionID:
		return v.Number.String()
	case cmc.IdentityProofV2:
		return parted(showAlgorithm(v.Hash), showAlgorithm(v.MAC), showHex(v.Witness))
	case cmc.POPLinkWitnessV2:
		return parted(showAlgorithm(v.KeyGen), showAlgorithm(v.MAC), showHex(v.Witness))
	case cmc.ConfirmCertAcceptance:
		return parted(showHex(v.Issuer), v.Serial)
	case cmc.RevokeRequest:
		return parted(showHex(v.Issuer), v.Serial, v.Reason, showTime(v.InvalidityDate), orDash(v.Secret), showText(v.Comment))
	case cmc.GetCert:
		return parted(showHex(v.Issuer), v.Serial)
	case cmc.GetCRL:
		return parted(showHex(v.Issuer), orDash(v.CRLName), showTime(v.Time), showBits(v.Reasons))
	case cmc.PublishTrustAnchors:
		return parted(v.Sequence, showAlgorithm(v.Hash), showHashes(v.Hashes))
	case cmc.AuthData:
		return fmt.Sprint(v)
	case cmc.BatchRequests:
		return showIDs(v)
	case cmc.BatchResponses:
		return showIDs(v)
	case cmc.RAIdentityWitness:
		return showIDs(v)
	case cmc.ResponseBody:
		return showIDs(v)
	default:
		return showLarger(v)
	}
}

func showLarger(v cmc.Value) string {
	switch v := v.(type) {
	case cmc.LRAPOPWitness:
		return parted(v.PKIData, showIDs(v.Bodies))
	case cmc.ModCertTemplate:
		return parted(showIDs(v.PKIData), showIDs(v.Requests), !v.Delete, showTemplate(v.Template))
	case cmc.AddExtensions:
		return parted(v.PKIData, showList(v.Requests, func(id cmc.BodyPartID) string { return fmt.Sprint(id) }), showExtensions(v.Extensions))
	case cmc.ControlProcessed:
		return showReferences(v)
	case cmc.PublishCert:
		action, infos := 0, "-"
		if v.Publish {
			action = 1
		}
		if v.Infos != nil {
			infos = showList(v.Infos, func(i cmc.PublicationInfo) string { return fmt.Sprintf("%d:%s", i.Method, orDash(i.Location)) })
		}
		return parted(showAlgorithm(v.Hash), showHashes(v.Hashes), action, infos)
	case cmc.StatusInfo:
		return parted(showInteger(int(v.Status)), showIDs(v.Bodies), showText(v.Text), showOther(v.Fail, v.Pend, nil))
	case cmc.StatusInfoV2:
		return parted(showInteger(int(v.Status)), showReferences(v.Bodies), showText(v.Text), showOther(v.Fail, v.Pend, v.Extended))
	case cmc.EncryptedPOP:
		return parted(showHex(mustDER(v.Request.Marshal())), showHex(v.CMS), showAlgorithm(v.POP), showAlgorithm(v.Hash), showHex(v.Witness))
	case cmc.DecryptedPOP:
		return parted(v.Part, showAlgorithm(v.Algorithm), showHex(v.POP))
	case cmc.ChangeSubjectName:
		var out []string
		if v.Subject != nil {
			out = append(out, "subject "+showHex(v.Subject))
		}
		if v.SubjectAlt != nil {
			out = append(out, "alt "+showHex(v.SubjectAlt))
		}
		return "{" + strings.Join(out, " ") + "}"
	}
	return fmt.Sprintf("not known: %T", v)
}

func showInteger(n int) string { return showHex(mustDER(asn1.Marshal(n))) }

func showOther(fail *cmc.FailInfo, pend *cmc.PendInfo, extended *cmc.ExtendedFailInfo) string {
	switch {
	case fail != nil:
		return "fail" + showInteger(int(*fail))
	case pend != nil:
		return "pend" + showHex(mustDER(asn1.Marshal(struct {
			Token []byte
			Time  time.Time `asn1:"generalized"`
		}{pend.Token, pend.Time})))
	case extended != nil:
		return "extended" + showHex(mustDER(asn1.Marshal(struct {
			Type  asn1.ObjectIdentifier
			Value asn1.RawValue
		}{extended.Type, asn1.RawValue{FullBytes: extended.Value}})))
	}
	return "-"
}

func showTemplate(t cmc.CertTemplate) string {
	version, serial, algorithm, validity := "-", "-", "-", "-"
	if t.Version != nil {
		version = fmt.Sprint(*t.Version)
	}
	if t.SerialNumber != nil {
		serial = t.SerialNumber.String()
	}
	if t.SigningAlg != nil {
		algorithm = showAlgorithm(*t.SigningAlg)
	}
	if t.Validity != nil {
		validity = showTime(t.Validity.NotBefore) + "/" + showTime(t.Validity.NotAfter)
	}
	return showList([]string{
		version, serial, algorithm, orDash(t.Issuer), validity, orDash(t.Subject), orDash(t.PublicKey),
		showBits(t.IssuerUID), showBits(t.SubjectUID), showExtensions(t.Extensions),
	}, func(s string) string { return s })
}

func showPairs(list []cmc.AttributeTypeAndValue) string {
	if list == nil {
		return "-"
	}
	return showList(list, func(a cmc.AttributeTypeAndValue) string { return a.Type.String() + "=" + showHex(a.Value) })
}

func showCRMF(m *cmc.CertReqMsg) string {
	return parted(m.Request.ID, showTemplate(m.Request.Template), showPairs(m.Request.Controls), showPOP(m.POP), showPairs(m.RegInfo))
}

func showPOP(p *cmc.POP) string {
	switch {
	case p == nil:
		return "-"
	case p.RAVerified:
		return "raVerified"
	case p.Signature != nil:
		input := "-"
		if i := p.Signature.Input; i != nil && i.Sender != nil {
			input = "sender " + showHex(i.Sender) + " " + showHex(i.PublicKey)
		} else if i != nil {
			input = "mac " + showMAC(i.MAC) + " " + showHex(i.PublicKey)
		}
		return "signature " + input + " " + showAlgorithm(p.Signature.Algorithm) + " " + showHex(p.Signature.Signature)
	case p.KeyEncipherment != nil:
		return "keyEncipherment " + showLater(p.KeyEncipherment)
	}
	return "keyAgreement " + showLater(p.KeyAgreement)
}

func showMAC(m *cmc.MACValue) string { return showAlgorithm(m.Algorithm) + " " + showHex(m.Value) }

func showLater(p *cmc.POPPrivKey) string {
	switch {
	case p.ThisMessage != nil:
		return "0 " + showBits(p.ThisMessage)
	case p.Subsequent != nil:
		return "1 " + showInteger(int(*p.Subsequent))
	case p.DHMAC != nil:
		return "2 " + showBits(p.DHMAC)
	case p.AgreeMAC != nil:
		return "3 " + showMAC(p.AgreeMAC)
	}
	return "4 " + showHex(p.EncryptedKey)
}

func showRequest(q cmc.Request) string {
	switch {
	case q.PKCS10 != nil:
		return fmt.Sprintf("tcr:%d:%x:%x", q.ID, mustDER(q.Subject()), q.PKCS10)
	case q.CRMF != nil:
		return "crm:" + showCRMF(q.CRMF)
	}
	return fmt.Sprintf("orm:%d:%v:%x", q.ID, q.Other.Type, q.Other.Value)
}

func showControl(c cmc.Control) string {
	var values []byte
	for _, v := range c.Values {
		values = append(values, v...)
	}
	set := mustDER(asn1.Marshal(asn1.RawValue{Tag: asn1.TagSet, IsCompound: true, Bytes: values}))
	return fmt.Sprintf("%d:%v:%x", c.ID, c.Type, set)
}

func showNested(c cmc.TaggedContentInfo) string { return fmt.Sprintf("%d:%x", c.ID, c.ContentInfo) }

func showOtherMsg(m cmc.OtherMsg) string { return fmt.Sprintf("%d:%v:%x", m.ID, m.Type, m.Value) }

func showPKIData(p *cmc.PKIData) string {
	return parted(showList(p.Controls, showControl), showList(p.Requests, showRequest), showList(p.CMS, showNested), showList(p.Other, showOtherMsg))
}

func showPKIResponse(p *cmc.PKIResponse) string {
	return parted(showList(p.Controls, showControl), showList(p.CMS, showNested), showList(p.Other, showOtherMsg))
}

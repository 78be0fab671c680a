package estserver

import (
	"bytes"
	"encoding/asn1"
	"net/http"
	"slices"

	"chancery/cms/cmc"
	"chancery/est"

	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"
)

// veils are the attributes of a request that can be secrets: one that revokes the
// certificate, and passwords (RFC 7894 §3.1, §3.2; RFC 2985 §5.4.1).
var veils = []asn1.ObjectIdentifier{est.OIDRevocationChallenge, est.OIDOTPChallenge, est.OIDChallengePassword}

// veiled gives a request that is kept for its approver, as it came but for its secrets:
// each of their octets is a star. So the signature of such a request, which was verified
// when it came, fits no more. A CRMF request is what asCRMF made, and has no secret.
func veiled(der []byte) ([]byte, error) {
	if _, err := cmc.ParseCertReqMsg(der); err == nil {
		return der, nil
	}
	clear := bytes.Clone(der) // what is read of it, stands in it
	in := cryptobyte.String(clear)
	var request, info, attributes cryptobyte.String
	var has bool
	if !in.ReadASN1(&request, tag.SEQUENCE) || !request.ReadASN1(&info, tag.SEQUENCE) ||
		!info.SkipASN1(tag.INTEGER) || !info.SkipASN1(tag.SEQUENCE) || !info.SkipASN1(tag.SEQUENCE) ||
		!info.ReadOptionalASN1(&attributes, &has, tag.Tag(0).ContextSpecific().Constructed()) {
		return nil, unveilable()
	}
	for !attributes.Empty() {
		var one, values cryptobyte.String
		var kind asn1.ObjectIdentifier
		if !attributes.ReadASN1(&one, tag.SEQUENCE) || !one.ReadASN1ObjectIdentifier(&kind) || !one.ReadASN1(&values, tag.SET) {
			return nil, unveilable()
		}
		for slices.ContainsFunc(veils, kind.Equal) && !values.Empty() {
			var value cryptobyte.String
			var any tag.Tag
			if !values.ReadAnyASN1(&value, &any) {
				return nil, unveilable()
			}
			for i := range value {
				value[i] = '*'
			}
		}
	}
	return clear, nil
}

// unveilable refuses to keep what nobody knows the secrets of.
func unveilable() *refusal {
	return refuse(http.StatusBadRequest, "the attributes of the request cannot be read")
}

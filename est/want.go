package est

import (
	"crypto"
	"encoding/asn1"
	"slices"

	"chancery/cms"

	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"
)

// Wanted is what a server's CSR attributes mean for a client.
type Wanted struct {
	Template bool // it comes of a template (RFC 9908 §3.4)

	Key  string      // the kind that [ParseKeySpec] reads; "": any
	Hash crypto.Hash // of the signature; 0: what fits the key
	PSS  bool        // RSASSA-PSS

	// What the client is to prove or to tell; it adds these attributes itself.
	ChallengePassword   bool // RFC 7030 §3.5
	IdentityLinking     bool // RFC 7894 §3.3; goes before ChallengePassword
	OTPChallenge        bool // RFC 7894 §3.1
	RevocationChallenge bool // RFC 7894 §3.2

	Subject    [][]NameAttribute       // of a template; nil: nothing is wanted
	Extensions []ExtensionTemplate     // to ask for
	Attributes []cms.Attribute         // to hold, with these values
	Describe   []asn1.ObjectIdentifier // attributes, of the request or its subject, to hold with the client's own values

	Unmet   []asn1.ObjectIdentifier // known, but nothing that this package can do
	Ignored []asn1.ObjectIdentifier // unknown (RFC 8951 §4: they MUST be ignored)

	otherKeys []asn1.ObjectIdentifier // kinds of keys that are wanted and unknown
}

// Want reads a server's wishes. A template is obeyed alone (RFC 9908 §4): of the rest of
// the list then only the challenges count, which no template can hold and RFC 7894 §4
// demands. Attributes that contradict themselves are [Malformed].
func Want(c CSRAttrs) (Wanted, error) {
	w, err := readWanted(c)
	if w.Key == "" {
		w.Unmet = append(w.Unmet, w.otherKeys...)
	}
	return w, err
}

// readWanted reads the wishes, but for what kinds of keys nobody knows.
func readWanted(c CSRAttrs) (Wanted, error) {
	var w Wanted
	for _, wish := range c {
		w.challenge(wish)
	}
	t, ok, err := TemplateOf(c)
	if err != nil {
		return Wanted{}, err
	}
	if ok {
		w.template(t)
		return w, nil
	}
	extended := false
	for _, wish := range c {
		if wish.Type.Equal(OIDExtensionRequest) {
			if extended {
				return Wanted{}, malformed("the CSR attributes ask for extensions more than once (RFC 9908 section 3.2)")
			}
			extended = true
			if err := w.extensionRequest(wish); err != nil {
				return Wanted{}, err
			}
			continue
		}
		w.take(wish)
	}
	return w, nil
}

// challenge takes a wish for something that proves or tells; it tells whether it was one.
func (w *Wanted) challenge(wish AttrOrOID) bool {
	switch {
	case wish.Type.Equal(OIDChallengePassword):
		w.ChallengePassword = true
	case wish.Type.Equal(OIDIdentityLinking):
		w.IdentityLinking = true
	case wish.Type.Equal(OIDOTPChallenge):
		w.OTPChallenge = true
	case wish.Type.Equal(OIDRevocationChallenge):
		w.RevocationChallenge = true
	default:
		return false
	}
	return true
}

func (w *Wanted) template(t *Template) {
	w.Template = true
	w.Subject, w.Extensions = t.Subject, t.Extensions
	for _, a := range t.Attributes {
		if wish := (AttrOrOID{Type: a.Type, Values: a.Values}); !w.challenge(wish) {
			w.hold(wish)
		}
	}
	if t.Key != nil {
		w.key(*t.Key)
	}
}

// key takes a demand on the key. The first counts.
func (w *Wanted) key(spec KeySpec) {
	name := spec.Name()
	switch {
	case name == "":
		w.otherKeys = append(w.otherKeys, spec.Algorithm)
	case w.Key == "" || w.Key == "ecdsa" && spec.Algorithm.Equal(OIDEC) || w.Key == "rsa" && spec.Algorithm.Equal(OIDRSA):
		w.Key = name
	}
}

// take takes a wish of the list, but for challenges and extension requests.
func (w *Wanted) take(wish AttrOrOID) {
	if w.challenge(wish) || wish.Type.Equal(OIDCertificationRequestInfoTemplate) {
		return
	}
	if spec, ok := specOfWish(wish); ok {
		w.key(spec)
		return
	}
	switch {
	case w.signature(wish.Type):
	case slices.ContainsFunc(curves, wish.Type.Equal): // bare, as RFC 7030 §A.2 has it
		w.key(KeySpec{Algorithm: OIDEC, Parameters: oidDER(wish.Type)})
	case len(wish.Values) > 0:
		w.hold(wish)
	case slices.ContainsFunc(fillable, wish.Type.Equal):
		w.Extensions = append(w.Extensions, ExtensionTemplate{ID: wish.Type})
	case describable(wish.Type):
		w.Describe = append(w.Describe, wish.Type)
	default:
		w.Ignored = append(w.Ignored, wish.Type)
	}
}

var (
	curves   = []asn1.ObjectIdentifier{OIDP256, OIDP384, OIDP521}
	fillable = []asn1.ObjectIdentifier{oidSAN, oidKeyUsage, oidExtKeyUsage}
)

// signature takes the identifier of a signature or of a hash; the first hash counts. The
// signature tells the kind of key as well, unless that is known.
func (w *Wanted) signature(kind asn1.ObjectIdentifier) bool {
	for _, s := range signatureWishes {
		if s.kind.Equal(kind) {
			if w.Hash == 0 {
				w.Hash = s.hash
			}
			w.key(s.any)
			return true
		}
	}
	for hash, known := range hashes {
		if known.Equal(kind) {
			if w.Hash == 0 {
				w.Hash = hash
			}
			return true
		}
	}
	if kind.Equal(OIDPSS) {
		w.PSS = true
		w.key(anyRSA)
		return true
	}
	return false
}

// hold takes an attribute with the server's own values: those of a kind that is known to
// stand in requests are copied.
func (w *Wanted) hold(wish AttrOrOID) {
	if wish.Type.Equal(OIDUnstructuredName) || wish.Type.Equal(OIDMACAddress) {
		w.Attributes = append(w.Attributes, cms.Attribute{Type: wish.Type, Values: wish.Values})
		return
	}
	w.Ignored = append(w.Ignored, wish.Type)
}

// extensionRequest takes the extensions that a list asks for. RFC 7030 §4.5.2's example
// holds a bare identifier in their place, which RFC 9908 §4 calls incorrect: it is read
// as a wish for that.
func (w *Wanted) extensionRequest(wish AttrOrOID) error {
	if len(wish.Values) == 0 {
		return nil
	}
	legacy := true
	for _, v := range wish.Values {
		in := cryptobyte.String(v)
		legacy = legacy && in.PeekASN1Tag(tag.OBJECT_IDENTIFIER)
	}
	if legacy {
		for _, v := range wish.Values {
			in := cryptobyte.String(v)
			var kind asn1.ObjectIdentifier
			if in.ReadASN1ObjectIdentifier(&kind) {
				w.take(AttrOrOID{Type: kind})
			}
		}
		return nil
	}
	if len(wish.Values) != 1 {
		return malformed("the CSR attributes' extension request has more than one value (RFC 9908 section 3.2)")
	}
	all, err := readExtensions(wish.Values[0])
	for _, e := range all {
		w.Extensions = append(w.Extensions, ExtensionTemplate{ID: e.Id, Critical: e.Critical, Value: e.Value})
	}
	return err
}

// describable tells whether an identifier names something that a client can tell of
// itself: its MAC address, its unstructured name, or an attribute of its subject.
func describable(kind asn1.ObjectIdentifier) bool {
	return kind.Equal(OIDMACAddress) || kind.Equal(OIDUnstructuredName) || inSubject(kind)
}

// inSubject tells whether an identifier is one of X.520's attributes (2.5.4).
func inSubject(kind asn1.ObjectIdentifier) bool {
	return len(kind) == 4 && kind[:3].Equal(oid(2, 5, 4))
}

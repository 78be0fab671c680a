package desk_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"chancery/internal/admin"
	"chancery/internal/ca"
	"chancery/internal/desk"
	"chancery/internal/sqlstore"
	"chancery/internal/storetest"
)

// keyring is a key store that imports, too.
type keyring struct {
	storetest.Keys
	mu       sync.Mutex
	imported map[string]crypto.Signer
}

func (k *keyring) Import(_ context.Context, name string, pkcs8 []byte) (crypto.Signer, error) {
	key, err := x509.ParsePKCS8PrivateKey(pkcs8)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.imported[name] = key.(crypto.Signer)
	return k.imported[name], nil
}

func (k *keyring) Retire(_ context.Context, name string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.imported, name)
	return nil
}

func (k *keyring) Load(ctx context.Context, name string) (crypto.Signer, error) {
	k.mu.Lock()
	key, ok := k.imported[name]
	k.mu.Unlock()
	if ok {
		return key, nil
	}
	return k.Keys.Load(ctx, name)
}

// office is a desk over a real core and store, called as its server calls it.
type office struct {
	*admin.Server
	authority *ca.Authority
	keys      *keyring
}

func open(t *testing.T) *office {
	t.Helper()
	store := sqlstore.New(storetest.SQLite(t))
	keys := &keyring{imported: map[string]crypto.Signer{}}
	a := storetest.Authority(t, store, keys, nil)
	plan := ca.Plan{Organization: "Corp", RootKey: "ecdsa-p256", IssuerKey: "ecdsa-p256", RootLife: 20 * 365 * 24 * time.Hour,
		IssuerLife: 5 * 365 * 24 * time.Hour, Shards: 2, StatusURL: "http://status.corp.internal"}
	if err := a.Found(t.Context(), plan); err != nil {
		t.Fatal(err)
	}
	d := desk.New(desk.Config{Authority: a, Ledger: store, Listing: store, Keys: keys, Clock: time.Now, Defaults: plan,
		ProfileText: func(name string) []byte {
			if name == "tls-client" {
				return []byte("# ours\n")
			}
			return nil
		}})
	o := &office{Server: admin.NewServer(d.Operations()...), authority: a, keys: keys}
	o.Classify = func(err error) (kind, detail string, ok bool) {
		k := ca.KindOf(err)
		return string(k), err.Error(), k != ca.Internal
	}
	return o
}

// do calls an operation; kind is "" when it was done.
func do[Out any](t *testing.T, o *office, name string, in any) (out Out, kind string) {
	t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequestWithContext(t.Context(), "POST", "/v1/ops/"+name, bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	o.ServeHTTP(w, r.WithContext(admin.WithCaller(r.Context(), admin.Caller{Name: "uid:7 (ann)", Role: admin.Administrator})))
	if w.Code != 200 {
		var e admin.Error
		if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || e.Kind == "" {
			t.Fatalf("%s answered %d %s", name, w.Code, w.Body)
		}
		return out, e.Kind
	}
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
		t.Fatal(err)
	}
	return out, ""
}

func newKey(t *testing.T, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func csr(t *testing.T, subject pkix.Name, names ...string) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: subject, DNSNames: names}, newKey(t, elliptic.P256()))
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestSign(t *testing.T) {
	o := open(t)
	der := csr(t, pkix.Name{}, "www.corp.internal")
	made, kind := do[desk.Whole](t, o, "cert.sign", desk.Signing{CSR: der, Days: 10})
	if kind != "" || made.Room != "admin" || made.By != "uid:7 (ann)" || !slices.Equal(made.Names, []string{"dns:www.corp.internal"}) ||
		made.State != "valid" || time.Until(made.NotAfter) > 10*24*time.Hour || strings.Count(made.Chain, "BEGIN") != 2 {
		t.Fatalf("%+v, %s", made, kind)
	}
	again, _ := do[desk.Whole](t, o, "cert.sign", desk.Signing{CSR: der})
	if again.Serial == made.Serial {
		t.Error("two wishes got one certificate")
	}
	for _, which := range []desk.Which{{Serial: strings.ToUpper(string(made.Serial))}, {Certificate: []byte(made.PEM)}} {
		if got, kind := do[desk.Whole](t, o, "cert.show", which); kind != "" || got.PEM != made.PEM || len(got.Details.OCSP) != 1 {
			t.Errorf("shown: %+v, %s", got, kind)
		}
	}
}

func TestSignRefuses(t *testing.T) {
	o := open(t)
	good := csr(t, pkix.Name{}, "www.corp.internal")
	broken := slices.Clone(good)
	broken[len(broken)-1] ^= 1
	for name, test := range map[string]struct {
		in   desk.Signing
		kind ca.Kind
	}{
		"nothing":            {desk.Signing{}, ca.BadCSR},
		"garbage":            {desk.Signing{CSR: []byte("garbage")}, ca.BadCSR},
		"another PEM":        {desk.Signing{CSR: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: good})}, ca.BadCSR},
		"broken signature":   {desk.Signing{CSR: broken}, ca.BadCSR},
		"no such profile":    {desk.Signing{CSR: good, Profile: "nothing"}, ca.NotFound},
		"not for this room":  {desk.Signing{CSR: good, Profile: "ocsp-responder"}, ca.Denied},
		"no names":           {desk.Signing{CSR: csr(t, pkix.Name{})}, ca.Invalid},
		"bad name":           {desk.Signing{CSR: good, Names: []string{"a b"}}, ca.BadName},
		"subject beyond":     {desk.Signing{CSR: csr(t, pkix.Name{Organization: []string{"X"}}, "a.corp.internal")}, ca.Denied},
		"told subject":       {desk.Signing{CSR: good, Subject: &desk.Subject{Country: "DE"}}, ca.Denied},
		"two ends":           {desk.Signing{CSR: good, Days: 3, NotAfter: time.Now().Add(time.Hour)}, ca.Invalid},
		"negative life":      {desk.Signing{CSR: good, Days: -1}, ca.Invalid},
		"endless life":       {desk.Signing{CSR: good, Days: 1 << 40}, ca.Invalid},
		"ended before":       {desk.Signing{CSR: good, NotAfter: time.Now().Add(-time.Hour)}, ca.Invalid},
		"word with a space":  {desk.Signing{CSR: good, Request: "a b"}, ca.Invalid},
		"word without bound": {desk.Signing{CSR: good, Request: strings.Repeat("x", 101)}, ca.Invalid},
	} {
		if _, kind := do[desk.Whole](t, o, "cert.sign", test.in); kind != string(test.kind) {
			t.Errorf("%s: kind %q, want %q", name, kind, test.kind)
		}
	}
	if list, _ := do[desk.Found](t, o, "cert.list", desk.Search{Profile: "tls-server"}); len(list.Certificates) != 0 {
		t.Errorf("something was issued: %+v", list)
	}
}

func TestListAndRevoke(t *testing.T) {
	o := open(t)
	var serials []ca.Serial
	for _, name := range []string{"a.corp.internal", "b.corp.internal", "c.corp.internal"} {
		made, kind := do[desk.Whole](t, o, "cert.sign", desk.Signing{CSR: csr(t, pkix.Name{}, name)})
		if kind != "" {
			t.Fatal(kind)
		}
		serials = append(serials, made.Serial)
	}
	page, _ := do[desk.Found](t, o, "cert.list", desk.Search{Profile: "tls-server", Limit: 2})
	rest, _ := do[desk.Found](t, o, "cert.list", desk.Search{Profile: "tls-server", Limit: 2, Cursor: page.Next})
	if len(page.Certificates) != 2 || page.Next == "" || len(rest.Certificates) != 1 || rest.Next != "" {
		t.Errorf("pages of %d and %d", len(page.Certificates), len(rest.Certificates))
	}
	revoked, kind := do[desk.Certificate](t, o, "cert.revoke", map[string]string{"serial": string(serials[0]), "reason": "KEYCOMPROMISE"})
	if kind != "" || revoked.State != "revoked" || revoked.Reason != "keyCompromise" {
		t.Errorf("%+v, %s", revoked, kind)
	}
	if list, _ := do[desk.Found](t, o, "cert.list", desk.Search{State: "revoked"}); len(list.Certificates) != 1 || list.Certificates[0].Serial != serials[0] {
		t.Errorf("revoked: %+v", list)
	}
	if list, _ := do[desk.Found](t, o, "cert.list", desk.Search{Name: "B.corp.internal"}); len(list.Certificates) != 1 {
		t.Errorf("by name: %+v", list)
	}
	for name, test := range map[string]struct {
		op   string
		in   any
		kind ca.Kind
	}{
		"state":       {"cert.list", desk.Search{State: "vaild"}, ca.Invalid},
		"limit":       {"cert.list", desk.Search{Limit: 1001}, ca.Invalid},
		"cursor":      {"cert.list", desk.Search{Cursor: "x"}, ca.Invalid},
		"name":        {"cert.list", desk.Search{Name: "a b"}, ca.BadName},
		"neither":     {"cert.show", desk.Which{}, ca.Invalid},
		"both":        {"cert.show", desk.Which{Serial: "ab", Certificate: []byte("x")}, ca.Invalid},
		"serial":      {"cert.show", desk.Which{Serial: "xyz"}, ca.Invalid},
		"nobody's":    {"cert.show", desk.Which{Serial: "abcd"}, ca.NotFound},
		"certificate": {"cert.show", desk.Which{Certificate: []byte("x")}, ca.Invalid},
		"reason":      {"cert.revoke", map[string]string{"serial": string(serials[1]), "reason": "boredom"}, ca.Invalid},
		"hold":        {"cert.revoke", map[string]string{"serial": string(serials[1]), "reason": "certificateHold"}, ca.Invalid},
		"twice":       {"cert.revoke", map[string]string{"serial": string(serials[0])}, ca.Revoked},
	} {
		if _, kind := do[any](t, o, test.op, test.in); kind != string(test.kind) {
			t.Errorf("%s: kind %q, want %q", name, kind, test.kind)
		}
	}
}

// A certificate of somebody else with one of our serials is not ours.
func TestForeignCertificate(t *testing.T) {
	o := open(t)
	made, _ := do[desk.Whole](t, o, "cert.sign", desk.Signing{CSR: csr(t, pkix.Name{}, "a.corp.internal")})
	template, key := elsewhere("Elsewhere"), newKey(t, elliptic.P256())
	template.SerialNumber = made.Serial.Int()
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if _, kind := do[any](t, o, "cert.revoke", map[string]any{"certificate": der}); kind != string(ca.NotFound) {
		t.Errorf("kind %q", kind)
	}
}

func elsewhere(name string) *x509.Certificate {
	return &x509.Certificate{SerialNumber: big.NewInt(77), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().AddDate(3, 0, 0), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
}

func TestAuthorities(t *testing.T) {
	o := open(t)
	list, _ := do[desk.Authorities](t, o, "ca.list", struct{}{})
	if len(list.Authorities) != 2 || !list.Authorities[0].Root || list.Authorities[1].Parent != list.Authorities[0].ID || len(list.Authorities[1].CRLs) != 2 {
		t.Fatalf("%+v", list)
	}
	roots, _ := do[desk.Roots](t, o, "ca.roots", struct{}{})
	if len(roots.Roots) != 1 || roots.Roots[0].Fingerprint != list.Authorities[0].Fingerprint {
		t.Errorf("%+v", roots)
	}
	rolled, kind := do[desk.RolledOver](t, o, "ca.rollover", desk.Line{Name: "issuing"})
	if kind != "" || len(rolled.Made) != 1 || len(rolled.Retired) != 1 || rolled.Retired[0].ID != list.Authorities[1].ID {
		t.Errorf("%+v, %s", rolled, kind)
	}
	rolled, kind = do[desk.RolledOver](t, o, "ca.rollover", desk.Line{Name: "root"})
	if kind != "" || len(rolled.Made) != 2 || !rolled.Made[0].Root || len(rolled.Retired) != 2 {
		t.Errorf("%+v, %s", rolled, kind)
	}
	if _, kind := do[any](t, o, "ca.rollover", desk.Line{Name: "issuing", NewName: true}); kind != string(ca.Invalid) {
		t.Errorf("an issuer with a name of its own: %s", kind)
	}
	if _, kind := do[any](t, o, "ca.rollover", desk.Line{Name: "nothing"}); kind != string(ca.NotFound) {
		t.Errorf("kind %q", kind)
	}
	for _, in := range []desk.AuthorityWanted{{Name: ""}, {Name: "Big"}, {Name: "a/b"}, {Name: "sub", Key: "dsa"}} {
		if _, kind := do[any](t, o, "ca.csr", in); kind != string(ca.Invalid) {
			t.Errorf("%+v: kind %q", in, kind)
		}
	}
}

func TestImport(t *testing.T) {
	o := open(t)
	key := newKey(t, elliptic.P256())
	der, err := x509.CreateCertificate(rand.Reader, elsewhere("Old CA"), elsewhere("Old CA"), key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	sec1, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	private := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1})
	crl, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: big.NewInt(3), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour),
		RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: big.NewInt(0xabcd), RevocationTime: time.Now(), ReasonCode: 1}}}, cert, key)
	if err != nil {
		t.Fatal(err)
	}
	for name, in := range map[string]desk.AuthorityGiven{
		"no key":     {Name: "old", Chain: der},
		"two keys":   {Name: "old", Chain: der, KeyName: "x", Key: private},
		"no chain":   {Name: "old", Key: private},
		"other name": {Name: "Old CA", Chain: der, Key: private},
		"no PEM":     {Name: "old", Chain: der, Key: []byte("x")},
		"encrypted":  {Name: "old", Chain: der, Key: pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: sec1})},
		"damaged":    {Name: "old", Chain: der, Key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: sec1})},
		"bad CRL":    {Name: "old", Chain: der, Key: private, CRLs: [][]byte{[]byte("x")}},
		"bad serial": {Name: "old", Chain: der, Key: private, Revoked: []string{"x"}},
	} {
		if _, kind := do[any](t, o, "ca.import", in); kind != string(ca.Invalid) {
			t.Errorf("%s: kind %q", name, kind)
		}
	}
	if len(o.keys.imported) != 0 {
		t.Error("a refused import left a key")
	}
	in := desk.AuthorityGiven{Name: "old", Chain: der, Key: private, CRLs: [][]byte{crl}, Revoked: []string{"AB:CD", "ef"}}
	taken, kind := do[desk.AuthorityTaken](t, o, "ca.import", in)
	if kind != "" || taken.Revoked != 2 || !taken.Authority.HasKey || taken.Authority.Name != "old" {
		t.Errorf("%+v, %s", taken, kind)
	}
	if _, kind := do[any](t, o, "ca.import", in); kind != string(ca.Conflict) || len(o.keys.imported) != 1 {
		t.Errorf("twice: kind %q, %d keys", kind, len(o.keys.imported))
	}
}

func TestProfiles(t *testing.T) {
	o := open(t)
	list, _ := do[desk.Profiles](t, o, "profile.list", struct{}{})
	own := 0
	for _, p := range list.Profiles {
		if p.Own {
			own++
		}
	}
	if len(list.Profiles) != len(ca.Shipped()) || own != 1 {
		t.Errorf("%d profiles, %d own", len(list.Profiles), own)
	}
	if rules, _ := do[desk.ProfileRules](t, o, "profile.show", desk.Named{Name: "tls-server"}); rules.Text != string(ca.ShippedText("tls-server")) {
		t.Errorf("%+v", rules)
	}
	for name, want := range map[string]ca.Kind{"": ca.Invalid, "nothing": ca.NotFound, "TLS-Server": ca.NotFound} {
		if _, kind := do[any](t, o, "profile.show", desk.Named{Name: name}); kind != string(want) {
			t.Errorf("%q: kind %q", name, kind)
		}
	}
}

func TestParseName(t *testing.T) {
	for text, want := range map[string]string{
		"WWW.Corp.internal": "dns:www.corp.internal", "dns:a.b": "dns:a.b", "*.a.b": "dns:*.a.b", "10.0.0.1": "ip:10.0.0.1", "ip:10.0.0.1": "ip:10.0.0.1",
		"fd00::1": "ip:fd00::1", "ann@corp.internal": "email:ann@corp.internal", "https://a.b/c": "uri:https://a.b/c", "localhost": "dns:localhost",
		"a b": "", "": "", "ip:a.b": "", "dns:": "", "a_b.c": "", "ip:10.0.0.1/8": "",
	} {
		got, err := desk.ParseName(text)
		if (err == nil) != (want != "") || (err == nil && got.String() != want) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

// What a name reads to is written so that it reads to the same again.
func FuzzParseName(f *testing.F) {
	for _, seed := range []string{"www.corp.internal", "ip:10.0.0.1", "ann@corp.internal", "uri:https://a.b/c", "*.a.b", "fd00::1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		name, err := desk.ParseName(text)
		if err != nil {
			return
		}
		again, err := desk.ParseName(name.String())
		if err != nil || again != name {
			t.Errorf("%q reads to %s, and that to %s, %v", text, name, again, err)
		}
	})
}

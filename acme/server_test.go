package acme_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"chancery/acme"
)

// server is a small ACME server with one account and one order. It checks what clients
// MUST do and reports departures to the test; validation succeeds at the second look.
type server struct {
	t  *testing.T
	ca *ecdsa.PrivateKey
	*httptest.Server

	mu        sync.Mutex
	issued    map[string]bool // nonces that are still good
	badNonces int             // how many good nonces to refuse yet
	requests  []string        // method and path of all requests, in their order
	key       *acme.Key
	contacts  []string
	order     acme.NewOrder
	responded bool
	looks     int
	chain     []byte
	revoked   bool
	// override answers instead, for a path.
	override map[string]http.HandlerFunc
}

func newServer(t *testing.T) *server {
	s := &server{t: t, ca: newEC(t, elliptic.P256()), issued: map[string]bool{}, override: map[string]http.HandlerFunc{}}
	s.Server = httptest.NewTLSServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

func (s *server) client() *acme.Client {
	return &acme.Client{Directory: s.URL + "/dir", HTTP: s.Client(), Key: newEC(s.t, elliptic.P256()), UserAgent: "test/1"}
}

func (s *server) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, r.Method+" "+r.URL.Path)
	if !strings.HasPrefix(r.UserAgent(), "test/1 ") || r.Header.Get("Accept-Language") == "" {
		s.t.Errorf("User-Agent %q, Accept-Language %q", r.UserAgent(), r.Header.Get("Accept-Language"))
	}
	nonce := acme.NewToken()
	s.issued[nonce] = true
	w.Header().Set("Replay-Nonce", nonce)
	if f := s.override[r.URL.Path]; f != nil {
		f(w, r)
		return
	}
	switch {
	case r.URL.Path == "/dir":
		reply(w, 200, acme.Directory{NewNonce: s.URL + "/nonce", NewAccount: s.URL + "/new-acct", NewOrder: s.URL + "/new-order",
			NewAuthz: s.URL + "/new-authz", RevokeCert: s.URL + "/revoke", KeyChange: s.URL + "/key", RenewalInfo: s.URL + "/ari/",
			Meta: &acme.Meta{Profiles: map[string]string{"short": "a day"}}})
	case r.URL.Path == "/nonce":
		w.WriteHeader(200)
	case strings.HasPrefix(r.URL.Path, "/ari/") && r.Method == "GET":
		w.Header().Set("Retry-After", "21600")
		io.WriteString(w, `{"suggestedWindow":{"start":"2026-01-01T00:00:00Z","end":"2026-01-02T00:00:00Z"},"explanationURL":"https://x.example/"}`)
	default:
		s.signed(w, r)
	}
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	if _, ok := v.(*acme.Problem); ok {
		w.Header().Set("Content-Type", acme.ProblemMediaType+"; charset=utf-8")
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func refuse(w http.ResponseWriter, err error) {
	p := acme.AsProblem(err)
	reply(w, p.Status, p)
}

func (s *server) signed(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil || r.Method != "POST" || r.Header.Get("Content-Type") != acme.JOSEMediaType {
		s.t.Errorf("%s %s of type %q: %v", r.Method, r.URL, r.Header.Get("Content-Type"), err)
	}
	j, err := acme.ParseJWS(body)
	if err != nil {
		s.t.Errorf("%s: %v", r.URL, err)
		refuse(w, err)
		return
	}
	good := s.issued[j.Nonce]
	delete(s.issued, j.Nonce)
	if good && s.badNonces > 0 {
		s.badNonces--
		good = false
	}
	if !good {
		refuse(w, acme.NewProblem(acme.TypeBadNonce, "take another"))
		return
	}
	key := j.JWK
	if key == nil {
		key = s.key
	}
	if want := s.URL + r.URL.RequestURI(); j.URL != want {
		s.t.Errorf("url is %q, want %q", j.URL, want)
	}
	if j.KeyID != "" && j.KeyID != s.URL+"/acct/1" {
		s.t.Errorf("kid is %q", j.KeyID)
	}
	if err := j.Verify(key); err != nil {
		s.t.Errorf("%s: %v", r.URL, err)
	}
	if err := s.handle(w, r, j); err != nil {
		refuse(w, err)
	}
}

func (s *server) handle(w http.ResponseWriter, r *http.Request, j *acme.JWS) error {
	needsKey := r.URL.Path == "/new-acct"
	if needsKey != (j.JWK != nil) && r.URL.Path != "/revoke" {
		s.t.Errorf("%s: jwk or kid is wrong", r.URL)
	}
	switch r.URL.Path {
	case "/new-acct":
		return s.newAccount(w, j)
	case "/acct/1":
		return s.account(w, j)
	case "/key":
		return s.changeKey(w, j)
	case "/orders":
		return s.orders(w, r, j)
	case "/new-order":
		if err := acme.DecodePayload(j.Payload, &s.order); err != nil {
			return err
		}
		w.Header().Set("Location", "/order/1") // relative, as RFC 7231 §7.1.2 allows
		reply(w, 201, s.orderObject())
	case "/new-authz":
		w.Header().Set("Location", s.URL+"/authz/1")
		reply(w, 201, s.authorization())
	case "/order/1":
		w.Header().Set("Retry-After", time.Now().UTC().Format(http.TimeFormat)) // has passed: means nothing
		reply(w, 200, s.orderObject())
	case "/authz/1":
		if len(j.Payload) > 0 {
			var u acme.AuthorizationUpdate
			if err := acme.DecodePayload(j.Payload, &u); err != nil {
				return err
			}
			a := s.authorization()
			a.Status = u.Status
			reply(w, 200, a)
			return nil
		}
		if s.responded {
			s.looks++
		}
		reply(w, 200, s.authorization())
	case "/chall/1":
		if string(j.Payload) != "{}" {
			s.t.Errorf("the response is %q", j.Payload)
		}
		s.responded = true
		reply(w, 200, s.authorization().Challenges[0])
	case "/finalize/1":
		return s.finalize(w, j)
	case "/cert/1":
		if r.Header.Get("Accept") != acme.PEMMediaType {
			s.t.Errorf("Accept: %q", r.Header.Get("Accept"))
		}
		w.Header().Add("Link", `</dir>;rel="index"`)
		w.Header().Add("Link", `</cert/2>; title="a, \"b\"; c"; rel="other alternate" , <https://x.example/3>;REL=alternate;x, <y>`)
		w.Write(s.chain)
	case "/revoke":
		return s.revoke(w, j)
	default:
		return acme.Malformed("no such resource")
	}
	return nil
}

func (s *server) newAccount(w http.ResponseWriter, j *acme.JWS) error {
	var n acme.NewAccount
	if err := acme.DecodePayload(j.Payload, &n); err != nil {
		return err
	}
	if n.ExternalAccountBinding != nil {
		m, err := acme.ParseMAC(n.ExternalAccountBinding)
		if err != nil {
			return err
		}
		if m.URL != j.URL || !m.Key.Equal(j.JWK) || m.VerifyMAC(eabKey) != nil {
			return acme.Unauthorized("bad binding")
		}
	}
	status := 200
	if s.key == nil || !s.key.Equal(j.JWK) {
		if n.OnlyReturnExisting {
			return acme.NewProblem(acme.TypeAccountDoesNotExist, "no account has this key")
		}
		s.key, s.contacts, status = j.JWK, n.Contact, 201
	}
	w.Header().Set("Location", s.URL+"/acct/1")
	reply(w, status, acme.Account{Status: acme.AccountValid, Contact: s.contacts, Orders: s.URL + "/orders"})
	return nil
}

func (s *server) account(w http.ResponseWriter, j *acme.JWS) error {
	a := acme.Account{Status: acme.AccountValid, Orders: s.URL + "/orders"}
	if !j.PostAsGet() {
		var u acme.AccountUpdate
		if err := acme.DecodePayload(j.Payload, &u); err != nil {
			return err
		}
		if u.Contact != nil {
			s.contacts = *u.Contact
		}
		if u.Status != "" {
			a.Status = u.Status
		}
	}
	a.Contact = s.contacts
	reply(w, 200, a)
	return nil
}

func (s *server) changeKey(w http.ResponseWriter, j *acme.JWS) error {
	inner, err := acme.ParseInnerJWS(j.Payload)
	if err != nil {
		return err
	}
	var change acme.KeyChange
	if err := acme.DecodePayload(inner.Payload, &change); err != nil {
		return err
	}
	if err := inner.Verify(inner.JWK); err != nil || inner.URL != j.URL || change.Account != j.KeyID || !change.OldKey.Equal(s.key) {
		s.t.Errorf("key change %+v, %+v: %v", inner, change, err)
	}
	s.key = inner.JWK
	w.WriteHeader(200)
	return nil
}

func (s *server) orders(w http.ResponseWriter, r *http.Request, j *acme.JWS) error {
	if !j.PostAsGet() {
		return acme.Malformed("not a POST-as-GET")
	}
	page := r.URL.Query().Get("page")
	if page != "3" {
		w.Header().Set("Link", fmt.Sprintf(`</orders?page=%d>;rel="next"`, map[string]int{"": 2, "2": 3}[page]))
	}
	reply(w, 200, acme.OrdersList{Orders: []string{s.URL + "/order/" + page}})
	return nil
}

func (s *server) orderObject() acme.Order {
	o := acme.Order{Status: acme.OrderPending, Expires: time.Now().Add(time.Hour), Identifiers: s.order.Identifiers, Profile: s.order.Profile,
		Replaces: s.order.Replaces, Authorizations: []string{s.URL + "/authz/1"}, Finalize: s.URL + "/finalize/1"}
	if s.looks > 1 {
		o.Status = acme.OrderReady
	}
	if s.chain != nil {
		o.Status, o.Certificate = acme.OrderValid, s.URL+"/cert/1"
	}
	return o
}

func (s *server) authorization() acme.Authorization {
	a := acme.Authorization{Identifier: acme.Identifier{Type: "dns", Value: "a.example"}, Status: acme.AuthorizationPending,
		Challenges: []acme.Challenge{{Type: acme.ChallengeHTTP01, URL: s.URL + "/chall/1", Status: acme.ChallengePending, Token: "tok_-9"}}}
	if s.looks > 1 {
		a.Status, a.Challenges[0].Status, a.Challenges[0].Validated = acme.AuthorizationValid, acme.ChallengeValid, time.Now()
	}
	return a
}

func (s *server) finalize(w http.ResponseWriter, j *acme.JWS) error {
	var f acme.Finalize
	if err := acme.DecodePayload(j.Payload, &f); err != nil {
		return err
	}
	csr, err := x509.ParseCertificateRequest(f.CSR)
	if err != nil || csr.CheckSignature() != nil || !slices.Equal(csr.DNSNames, []string{"a.example"}) {
		return acme.NewProblem(acme.TypeBadCSR, "bad CSR: %v", err)
	}
	issuer := &x509.Certificate{Subject: pkix.Name{CommonName: "CA"}, SubjectKeyId: []byte{1, 2, 3}}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(0x80), DNSNames: csr.DNSNames, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, leaf, issuer, csr.PublicKey, s.ca)
	if err != nil {
		return err
	}
	s.chain = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	processing := s.orderObject()
	processing.Status, processing.Certificate = acme.OrderProcessing, ""
	reply(w, 200, processing)
	return nil
}

func (s *server) revoke(w http.ResponseWriter, j *acme.JWS) error {
	var r acme.Revocation
	if err := acme.DecodePayload(j.Payload, &r); err != nil {
		return err
	}
	block, _ := pem.Decode(s.chain)
	if string(block.Bytes) != string(r.Certificate) || r.Reason == nil || *r.Reason != 1 {
		s.t.Errorf("revocation %+v", r)
	}
	if s.revoked {
		return acme.NewProblem(acme.TypeAlreadyRevoked, "twice")
	}
	s.revoked = true
	w.WriteHeader(200)
	return nil
}

package enroll_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"chancery/acme"
	"chancery/caa"
	"chancery/internal/acmeserver"
	"chancery/internal/admin"
	"chancery/internal/desk"
	"chancery/internal/enroll"
	"chancery/testca"
)

// vetted makes an external account of a customer whom the CA vetted for EV.
func vetted(t *testing.T, ca *testca.CA) acme.ExternalAccount {
	t.Helper()
	c := admin.Dial(ca.Socket)
	customer, err := admin.Call[desk.CustomerWanted, desk.Customer](t.Context(), c, "customer.add", desk.CustomerWanted{Name: "Shop Ltd"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = admin.Call[desk.VettingWanted, desk.Customer](t.Context(), c, "customer.vet", desk.VettingWanted{Customer: customer.ID,
		Vetting: desk.Vetting{Kind: "ca-ev", Organization: "Shop Ltd", Country: "CH", Serial: "CHE-1", Until: time.Now().Add(240 * time.Hour)}})
	if err != nil {
		t.Fatal(err)
	}
	for _, act := range []string{"customer.domain.add", "customer.domain.vouch"} {
		if _, err := admin.Call[desk.DomainNamed, desk.Domain](t.Context(), c, act, desk.DomainNamed{Customer: customer.ID, Domain: "shop.example"}); err != nil {
			t.Fatal(err)
		}
	}
	return keyOf(t, ca, acmeserver.KeyWanted{Customer: customer.ID})
}

// The example of auto-discovery §3.2: EV from ca1, else anything from ca1, else from ca2.
func TestExtendedValidationFirst(t *testing.T) {
	r := newRig(t, []testca.Option{testca.Profiles("tls-server", "ev")}, nil)
	r.set("shop.example", issue("ca1.test", "validationmethods=ca-ev"), issue("ca1.test", "priority=1"), issue("ca2.test", "priority=2"))
	// Without credentials: the EV record is passed over, and ca1 issues anything.
	out := r.client("").get(t, enroll.Options{}, "shop.example")
	if out.Issued.Issuer != "ca1.test" || out.Issued.Kind != caa.AnyKind || len(out.Attempts) != 1 {
		t.Errorf("without credentials: %+v", out.Issued)
	}
	bound := r.client("")
	if err := bound.vault.SetEAB(t.Context(), "ca1.test", vetted(t, r.houses[0].ca)); err != nil {
		t.Fatal(err)
	}
	out = bound.get(t, enroll.Options{}, "shop.example")
	if out.Issued.Issuer != "ca1.test" || out.Issued.Kind != caa.ExtendedValidation {
		t.Errorf("with credentials: %+v %+v", out.Issued, out.Attempts)
	}
	// The kind is refused to a customer who is not vetted: the next record is the same CA's.
	refused := r.client("")
	if err := refused.vault.SetEAB(t.Context(), "ca1.test", credentials(t, r.houses[0].ca)); err != nil {
		t.Fatal(err)
	}
	out = refused.get(t, enroll.Options{}, "shop.example")
	if out.Issued.Issuer != "ca1.test" || out.Issued.Kind != caa.AnyKind || out.Attempts[0].Kind != caa.ExtendedValidation || out.Attempts[0].Class != enroll.ClassFinal {
		t.Errorf("refused: %+v %+v", out.Issued, out.Attempts)
	}
	// It is not stepped down from EV at a renewal while that is good, but near its end (D13).
	r.houses[0].set(refusingProfile("ev"))
	fails, err := bound.Renew(t.Context(), "shop.example", enroll.Options{Force: true})
	if err == nil || fails.Result != enroll.StillValid || fails.Result.ExitCode() != 2 {
		t.Errorf("a step down in time: %+v, %v", fails, err)
	}
	bound.clock.add(85 * 24 * time.Hour)
	down, err := bound.Renew(t.Context(), "shop.example", enroll.Options{})
	if err == nil || down.Result == enroll.Issued {
		t.Logf("the certificate of a clock that is ahead: %+v", down)
	}
	if !slices.ContainsFunc(down.Attempts, func(a enroll.Attempt) bool { return a.Kind == caa.AnyKind && a.Class != enroll.ClassSkipped }) {
		t.Errorf("near its end no step down was tried: %+v", down.Attempts)
	}
	if len(bound.told("ca-changed")) != 1 {
		t.Errorf("messages of the changed kind: %d", len(bound.told("ca-changed")))
	}
	// And ca1 is down: ca2.
	r.houses[0].set(noTLS)
	if out = r.client("").get(t, enroll.Options{}, "shop.example"); out.Issued.Issuer != "ca2.test" {
		t.Errorf("with ca1 down: %+v", out.Issued)
	}
}

// refusingProfile refuses orders under a profile.
func refusingProfile(name string) fault {
	refuse := problem("/new-order", 403, "unauthorized")
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/new-order") {
			return false
		}
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		var jws struct{ Payload string }
		_ = json.Unmarshal(body, &jws)
		payload, _ := base64.RawURLEncoding.DecodeString(jws.Payload)
		return strings.Contains(string(payload), `"profile":"`+name+`"`) && refuse(w, r)
	}
}

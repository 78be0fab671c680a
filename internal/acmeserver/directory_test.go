package acmeserver_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"chancery/acme"
	"chancery/internal/acmeserver"
	"chancery/internal/ca"
	"chancery/internal/registry"
	"chancery/internal/storetest"
)

// two is a server with two more directories.
func two(c *acmeserver.Config) {
	c.Profiles = []string{"tls-server"}
	c.CAAIdentities = []string{"ca.example"}
	c.Directories = []acmeserver.Directory{
		{Name: "clients", Hosts: []string{"clients.example", "::1"}, Profiles: []string{"tls-client", "tls-server"}, RequireEAB: true, CAAIdentities: []string{"c.example"}},
		{Name: "other-1", Profiles: []string{"tls-client"}, Terms: "https://example.org/terms"},
	}
}

func (d *desk) wellKnown(host string) (*http.Response, acme.Directory) {
	d.t.Helper()
	req, err := http.NewRequest(http.MethodGet, d.url+"/.well-known/acme", nil)
	if err != nil {
		d.t.Fatal(err)
	}
	req.Host = host
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	var got acme.Directory
	if resp.StatusCode == http.StatusOK {
		if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
			d.t.Fatal(err)
		}
	}
	return resp, got
}

func TestWellKnownPicksByHost(t *testing.T) {
	d := newDesk(t, func(c *acmeserver.Config) { two(c); c.Base = "https://ca.example" })
	for host, path := range map[string]string{
		"clients.example": "/acme/d/clients/", "CLIENTS.example:8443": "/acme/d/clients/", "clients.example.": "/acme/d/clients/",
		"[::1]:443": "/acme/d/clients/", "[::1]": "/acme/d/clients/",
		"ca.example": "/acme/", "nobody.example": "/acme/", "x.clients.example": "/acme/", "evil.example/..": "/acme/",
	} {
		resp, got := d.wellKnown(host)
		if resp.StatusCode == http.StatusBadRequest {
			continue // net/http refuses what is no host at all
		}
		if resp.StatusCode != 200 || resp.Header.Get("Cache-Control") != "max-age=3600" || resp.Header.Get("Link") != "" {
			t.Errorf("%s gave %d %v", host, resp.StatusCode, resp.Header)
		}
		if got.NewOrder != "https://ca.example"+path+"new-order" || got.NewAccount != "https://ca.example"+path+"new-account" ||
			got.NewAuthz != "https://ca.example"+path+"new-authz" || got.NewNonce != "https://ca.example/acme/new-nonce" ||
			got.KeyChange != "https://ca.example/acme/key-change" || got.RevokeCert != "https://ca.example/acme/revoke-cert" {
			t.Errorf("%s gave %+v", host, got)
		}
		if external := path != "/acme/"; got.Meta.ExternalAccountRequired != external {
			t.Errorf("%s: external account required %t", host, got.Meta.ExternalAccountRequired)
		}
	}
}

// Whatever a request says of its host, it gets one of the directories as it is.
func FuzzWellKnownHost(f *testing.F) {
	d := newDesk(f, func(c *acmeserver.Config) { two(c); c.Base = "https://ca.example" })
	known := map[string]bool{}
	for _, host := range []string{"ca.example", "clients.example"} {
		known[wellKnownOf(d, host).Body.String()] = true
		f.Add(host + ":443")
	}
	if len(known) != 2 {
		f.Fatal("the hosts have one directory")
	}
	f.Add("[::1]")
	f.Add("]:[")
	f.Add("CLIENTS.EXAMPLE.\x00")
	f.Fuzz(func(t *testing.T, host string) {
		if w := wellKnownOf(d, host); w.Code != 200 || !known[w.Body.String()] {
			t.Fatalf("%q gave %d %s", host, w.Code, w.Body)
		}
	})
}

func wellKnownOf(d *desk, host string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "/.well-known/acme", nil)
	r.Host = host
	w := httptest.NewRecorder()
	d.server.Handler().ServeHTTP(w, r)
	return w
}

func TestWellKnownRedirects(t *testing.T) {
	d := newDesk(t, func(c *acmeserver.Config) { two(c); c.Base = "https://ca.example"; c.RedirectWellKnown = true })
	for host, want := range map[string]string{"clients.example": "https://ca.example/acme/d/clients/directory", "evil.example": "https://ca.example/acme/directory"} {
		resp, _ := d.wellKnown(host)
		if resp.StatusCode != http.StatusFound || resp.Header.Get("Location") != want || resp.Header.Get("Cache-Control") != "max-age=3600" {
			t.Errorf("%s gave %d %v", host, resp.StatusCode, resp.Header)
		}
	}
}

func TestDirectoryNames(t *testing.T) {
	for _, name := range []string{"", "a/b", "A", "x"} {
		d := newDesk(t, nil)
		d.config.Directories = []acmeserver.Directory{{Name: "x", Profiles: []string{"tls-server"}}, {Name: name, Profiles: []string{"tls-server"}}}
		if _, err := acmeserver.New(d.config); err == nil {
			t.Errorf("the name %q was taken", name)
		}
	}
	d := newDesk(t, nil)
	d.config.Directories = []acmeserver.Directory{{Name: "x"}}
	if _, err := acmeserver.New(d.config); err == nil {
		t.Error("a directory without profiles was taken")
	}
}

// One account serves at every directory; what each offers and asks for is its own.
func TestDirectoriesShareAccounts(t *testing.T) {
	d := newDesk(t, two)
	if err := d.config.Authority.Found(t.Context(), storetest.Plan); err != nil {
		t.Fatal(err)
	}
	key, err := d.registry.CreateKey(t.Context(), registry.Order{By: ca.Principal{Room: "admin", ID: "t"}, Label: "x"})
	if err != nil {
		t.Fatal(err)
	}
	at := func(name string, c *acme.Client) *acme.Client {
		return &acme.Client{Directory: d.base() + "/acme/d/" + name + "/directory", Key: c.Key}
	}
	plain := d.client(acme.Registration{})
	order := acme.NewOrder{Identifiers: dnsNames("a.example")}

	// Without a binding: found at the directory that wants one, and of no use there.
	atClients := at("clients", plain)
	account, err := atClients.Register(t.Context(), acme.Registration{})
	if err != nil {
		t.Fatal(err)
	}
	if mine, err := plain.Register(t.Context(), acme.Registration{}); err != nil || mine.URL != account.URL || strings.Contains(account.URL, "/d/") {
		t.Errorf("the account is %s here and %s there, %v", mine.URL, account.URL, err)
	}
	_, err = atClients.NewOrder(t.Context(), order)
	refused(t, err, acme.TypeExternalAccountRequired, "/acme/d/clients/directory", "key id")
	_, err = atClients.PreAuthorize(t.Context(), acme.Identifier{Type: "dns", Value: "a.example"})
	refused(t, err, acme.TypeExternalAccountRequired)
	_, err = at("clients", d.stranger()).Register(t.Context(), acme.Registration{})
	refused(t, err, acme.TypeExternalAccountRequired)

	// With one: at home everywhere, within each directory's profiles.
	bound := at("clients", d.stranger())
	if _, err := bound.Register(t.Context(), acme.Registration{EAB: &acme.ExternalAccount{KeyID: key.ID, Key: key.Secret}}); err != nil {
		t.Fatal(err)
	}
	o, err := bound.NewOrder(t.Context(), order)
	if err != nil || o.Profile != "tls-client" || !strings.HasPrefix(o.URL, d.base()+"/acme/order/") {
		t.Fatalf("the order is %+v, %v", o, err)
	}
	main := &acme.Client{Directory: d.base() + "/acme/directory", Key: bound.Key}
	if _, err := main.Register(t.Context(), acme.Registration{OnlyExisting: true}); err != nil {
		t.Fatal(err)
	}
	if o, err = main.NewOrder(t.Context(), order); err != nil || o.Profile != "tls-server" {
		t.Errorf("the order is %+v, %v", o, err)
	}
	order.Profile = "tls-client"
	_, err = main.NewOrder(t.Context(), order)
	refused(t, err, acme.TypeInvalidProfile)

	// Terms are each directory's own.
	_, err = at("other-1", d.stranger()).Register(t.Context(), acme.Registration{})
	refused(t, err, acme.TypeUserActionRequired, "https://example.org/terms")
	d.do(http.MethodGet, "/acme/d/none/directory", "", nil).wants(t, 404, acme.TypeMalformed)
	if r := d.do(http.MethodGet, "/acme/d/clients/new-order", "", nil); r.StatusCode != 405 || !strings.Contains(r.Header.Get("Link"), "/acme/d/clients/directory>;rel=\"index\"") {
		t.Errorf("got %d %v", r.StatusCode, r.Header)
	}
}

package acmeserver_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"chancery/acme"
	"chancery/internal/acmeserver"
	"chancery/internal/admin"
	"chancery/internal/ca"
)

func TestDirectory(t *testing.T) {
	d := newDesk(t, func(c *acmeserver.Config) {
		c.Base, c.Website, c.CAAIdentities = "https://ca.example", "https://example.org/?a=b&c=d", []string{"ca.example"}
		c.RequireEAB = true
	})
	r := d.do(http.MethodGet, "/acme/directory", "", nil)
	var got acme.Directory
	if err := json.Unmarshal(r.body, &got); err != nil || r.StatusCode != 200 || r.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("got %d %s %s, %v", r.StatusCode, r.Header, r.body, err)
	}
	for name, url := range map[string]string{
		"new-nonce": got.NewNonce, "new-account": got.NewAccount, "new-order": got.NewOrder, "new-authz": got.NewAuthz,
		"revoke-cert": got.RevokeCert, "key-change": got.KeyChange, "renewal-info": got.RenewalInfo,
	} {
		if url != "https://ca.example/acme/"+name {
			t.Errorf("%s is at %q", name, url)
		}
	}
	if m := got.Meta; m.Website != d.config.Website || !m.ExternalAccountRequired || m.CAAIdentities[0] != "ca.example" || m.Profiles["tls-server"] == "" {
		t.Errorf("meta is %+v", m)
	}
	if r.Header.Get("Link") != "" || r.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("the header is %v", r.Header)
	}
	// The well-known place has the same directory itself, and HEAD works like GET.
	if w := d.do(http.MethodGet, "/.well-known/acme", "", nil); w.StatusCode != 200 || string(w.body) != string(r.body) {
		t.Errorf("the well-known directory is %d %s", w.StatusCode, w.body)
	}
	if h := d.do(http.MethodHead, "/acme/directory", "", nil); h.StatusCode != 200 || len(h.body) != 0 || h.ContentLength != int64(len(r.body)) {
		t.Errorf("HEAD gave %d, length %d", h.StatusCode, h.ContentLength)
	}
}

func TestNewNonce(t *testing.T) {
	d := newDesk(t, nil)
	seen := map[string]bool{}
	// RFC 8555 §7.2.
	for method, status := range map[string]int{http.MethodHead: 200, http.MethodGet: 204} {
		r := d.do(method, "/acme/new-nonce", "", nil)
		if r.StatusCode != status || len(r.body) != 0 {
			t.Errorf("%s gave %d %q", method, r.StatusCode, r.body)
		}
		r.wantsHeader(t)
		if n := r.Header.Get("Replay-Nonce"); seen[n] {
			t.Errorf("the nonce %s came twice", n)
		} else {
			seen[n] = true
		}
	}
}

func TestMethods(t *testing.T) {
	d := newDesk(t, nil)
	for _, c := range []struct{ method, path, allow string }{
		{http.MethodGet, "/acme/new-account", "POST, OPTIONS"},
		{http.MethodHead, "/acme/key-change", "POST, OPTIONS"},
		{http.MethodPut, "/acme/account/x", "POST, OPTIONS"},
		{http.MethodGet, "/acme/order/x", "POST, OPTIONS"},
		{http.MethodDelete, "/acme/new-nonce", "GET, HEAD, POST, OPTIONS"},
		{http.MethodPost, "/.well-known/acme", "GET, HEAD, OPTIONS"},
	} {
		r := d.do(c.method, c.path, "", nil)
		if r.StatusCode != http.StatusMethodNotAllowed || r.Header.Get("Allow") != c.allow {
			t.Errorf("%s %s gave %d, Allow %q", c.method, c.path, r.StatusCode, r.Header.Get("Allow"))
		}
		if c.method != http.MethodHead && (r.problem.Type != acme.TypeMalformed || r.problem.Status != 405) {
			t.Errorf("%s %s gave %s", c.method, c.path, r.body)
		}
		if c.method == http.MethodPost && r.Header.Get("Replay-Nonce") == "" {
			t.Errorf("%s %s gave no nonce", c.method, c.path)
		}
	}
	r := d.do(http.MethodOptions, "/acme/new-account", "", nil)
	if r.StatusCode != 204 || r.Header.Get("Access-Control-Allow-Methods") != "POST, OPTIONS" || r.Header.Get("Access-Control-Allow-Headers") != "Content-Type" ||
		!strings.Contains(r.Header.Get("Access-Control-Expose-Headers"), "Replay-Nonce") {
		t.Errorf("OPTIONS gave %d %v", r.StatusCode, r.Header)
	}
	for _, path := range []string{"/", "/acme", "/acme/directory/", "/acme//directory", "/acme/new-account/x"} {
		d.do(http.MethodGet, path, "", nil).wants(t, 404, acme.TypeMalformed)
	}
}

// A database that is gone is no answer about anything: 503, and come again.
func TestDatabaseGone(t *testing.T) {
	d := newDesk(t, nil)
	p := d.people()
	body := d.signed(p.alice, p.alicePath, acme.Header{KeyID: p.aliceURL}, "")
	if err := d.db.Close(); err != nil {
		t.Fatal(err)
	}
	r := d.post(p.alicePath, body)
	r.wants(t, 503, acme.TypeServerInternal)
	if r.Header.Get("Retry-After") == "" {
		t.Error("there is no Retry-After")
	}
}

// What is stored wrongly is our fault, and its text is for the log alone.
func TestInternalErrorsStayInside(t *testing.T) {
	d := newDesk(t, nil)
	p := d.people()
	if _, err := d.db.Exec(context.Background(), `UPDATE acme_accounts SET jwk = '{"kty":"secret of the house"}'`); err != nil {
		t.Fatal(err)
	}
	r := d.post(p.alicePath, d.signed(p.alice, p.alicePath, acme.Header{KeyID: p.aliceURL}, ""))
	r.wants(t, 500, acme.TypeServerInternal)
	if strings.Contains(string(r.body), "secret of the house") {
		t.Errorf("the answer tells too much: %s", r.body)
	}
	if !strings.HasPrefix(r.problem.Instance, "urn:uuid:") || !strings.Contains(d.log.String(), r.problem.Instance) || !strings.Contains(d.log.String(), "secret of the house") {
		t.Errorf("instance %q is not in the log with its cause: %s", r.problem.Instance, d.log)
	}
}

func TestNewRefusesMissingParts(t *testing.T) {
	good := newDesk(t, nil).config
	for name, change := range map[string]func(*acmeserver.Config){
		"base URL":   func(c *acmeserver.Config) { c.Base = "http://ca.example" },
		"without a":  func(c *acmeserver.Config) { c.Base = "https://ca.example/" },
		"Authority":  func(c *acmeserver.Config) { c.Authority = nil },
		"Accounts":   func(c *acmeserver.Config) { c.Accounts = nil },
		"Orders":     func(c *acmeserver.Config) { c.Orders = nil },
		"Nonces":     func(c *acmeserver.Config) { c.Nonces = nil },
		"Seen":       func(c *acmeserver.Config) { c.Seen = nil },
		"Validator":  func(c *acmeserver.Config) { c.Validator = nil },
		"Profiles":   func(c *acmeserver.Config) { c.Profiles = nil },
		"Registry":   func(c *acmeserver.Config) { c.RequireEAB, c.Registry = true, nil },
		"no-profile": func(c *acmeserver.Config) { c.Profiles = []string{"no-profile"} },
	} {
		c := good
		change(&c)
		if _, err := acmeserver.New(c); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: %v", name, err)
		}
	}
	if _, err := acmeserver.New(good); err != nil {
		t.Error(err)
	}
}

// operate calls an operation over a real socket, as the command line does.
func operate[In, Out any](t *testing.T, d *desk, name string, in In, out *Out) error {
	t.Helper()
	s := admin.NewServer(d.server.Operations()...)
	s.Classify = func(err error) (string, string, bool) { return string(ca.KindOf(err)), err.Error(), true }
	l, err := admin.Listen(admin.SocketPath(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	h := s.HTTP()
	go h.Serve(l)
	defer h.Close()
	c := admin.Dial(l.Addr().String())
	defer c.Close()
	*out, err = admin.Call[In, Out](context.Background(), c, name, in)
	return err
}

func TestOperations(t *testing.T) {
	d := newDesk(t, func(c *acmeserver.Config) { c.RequireEAB = true })
	ctx := context.Background()
	var made acmeserver.KeyMade
	if err := operate(t, d, "eab.create", acmeserver.KeyWanted{Label: "web team"}, &made); err != nil {
		t.Fatal(err)
	}
	secret, err := decode(made.Secret)
	if err != nil || made.URL != d.base()+"/acme/directory" {
		t.Fatalf("the key is %+v, %v", made, err)
	}
	c := d.client(acme.Registration{EAB: &acme.ExternalAccount{KeyID: made.ID, Key: secret}})
	var listed acmeserver.KeysShown
	if err := operate(t, d, "eab.list", struct{}{}, &listed); err != nil || len(listed.Keys) != 1 {
		t.Fatalf("the list is %+v, %v", listed, err)
	}
	id := c.AccountURL[strings.LastIndexByte(c.AccountURL, '/')+1:]
	if k := listed.Keys[0]; k.Label != "web team" || k.State != "used" || k.Account != id || k.By == "" {
		t.Errorf("the key is listed as %+v", k)
	}
	if err := operate(t, d, "eab.withdraw", acmeserver.Named{ID: made.ID}, &struct{}{}); err == nil {
		t.Error("a used key was withdrawn")
	}
	var shown acmeserver.AccountShown
	if err := operate(t, d, "acme.account.show", acmeserver.Named{ID: id}, &shown); err != nil || shown.Binding != made.ID || shown.URL != c.AccountURL {
		t.Errorf("the account is shown as %+v, %v", shown, err)
	}
	var all acmeserver.AccountsShown
	if err := operate(t, d, "acme.account.list", acmeserver.AccountsWanted{}, &all); err != nil || len(all.Accounts) != 1 || all.Accounts[0].URL != c.AccountURL || all.Next != "" {
		t.Errorf("the accounts are listed as %+v, %v", all, err)
	}
	for _, wrong := range []acmeserver.AccountsWanted{{Limit: -1}, {Limit: 1001}, {Cursor: "x"}} {
		if err := operate(t, d, "acme.account.list", wrong, &all); err == nil {
			t.Errorf("%+v was answered", wrong)
		}
	}
	if err := operate(t, d, "acme.account.close", acmeserver.Named{ID: id}, &shown); err != nil || shown.Status != acme.AccountRevoked {
		t.Errorf("closing gave %+v, %v", shown, err)
	}
	if _, err := c.Account(ctx); !acme.HasType(err, acme.TypeUnauthorized) {
		t.Errorf("the closed account reads itself: %v", err)
	}
	if err := operate(t, d, "acme.account.show", acmeserver.Named{ID: id}, &shown); err != nil || shown.Status != acme.AccountRevoked || shown.Binding != made.ID {
		t.Errorf("the closed account is shown as %+v, %v", shown, err)
	}
	for _, name := range []string{"acme.account.close", "acme.account.show"} {
		if err := operate(t, d, name, acmeserver.Named{ID: "nobody"}, &shown); err == nil {
			t.Errorf("%s of nobody succeeded", name)
		}
	}
}

package estserver_test

import (
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"chancery/est"
	"chancery/internal/ca"
	"chancery/internal/certtest"
	"chancery/internal/estserver"
)

// TestConfig: a server that lacks something, or would let everybody in, does not start.
func TestConfig(t *testing.T) {
	w := newWorld(t, nil, plainLabel())
	for name, test := range map[string]struct {
		edit func(*estserver.Config, *estserver.Label)
		want string
	}{
		"no labels": {func(c *estserver.Config, _ *estserver.Label) { c.Labels = nil }, "no Labels"},
		"no store":  {func(c *estserver.Config, _ *estserver.Label) { c.Requests = nil }, "no Requests"},
		"no nonces": {func(c *estserver.Config, _ *estserver.Label) { c.Digest, c.Nonces = "md5", nil }, "no Nonces"},
		"digest":    {func(c *estserver.Config, _ *estserver.Label) { c.Digest = "sha-1" }, "sha-1"},
		"realm":     {func(c *estserver.Config, _ *estserver.Label) { c.Realm = `a"b` }, "realm"},
		"maker's name": {func(c *estserver.Config, _ *estserver.Label) {
			c.Makers = map[string]estserver.Maker{"a:b": c.Makers["acme"]}
		}, `"a:b"`},
		"operation":     {func(_ *estserver.Config, l *estserver.Label) { l.Name = "CACerts" }, "cannot be a label"},
		"profile":       {func(_ *estserver.Config, l *estserver.Label) { l.Profile = "unheard-of" }, "unheard-of"},
		"holders":       {func(_ *estserver.Config, l *estserver.Label) { l.Holders = []string{"nobody"} }, "nobody"},
		"room":          {func(_ *estserver.Config, l *estserver.Label) { l.Profile = "ra" }, "room"},
		"no way":        {func(_ *estserver.Config, l *estserver.Label) { l.Accept = nil }, "no way"},
		"empty way":     {func(_ *estserver.Config, l *estserver.Label) { l.Accept = []estserver.Way{{}} }, "everybody"},
		"unknown means": {func(_ *estserver.Config, l *estserver.Label) { l.Accept = []estserver.Way{{"charm"}} }, "charm"},
		"two certs":     {func(_ *estserver.Config, l *estserver.Label) { l.Accept = []estserver.Way{{"certificate", "maker"}} }, "cannot be met"},
		"no maker":      {func(_ *estserver.Config, l *estserver.Label) { l.Accept = []estserver.Way{{"maker"}} }, "names no maker"},
		"unknown maker": {func(_ *estserver.Config, l *estserver.Label) { l.Makers = []string{"other"} }, `no maker "other"`},
		"srp and linking": {func(_ *estserver.Config, l *estserver.Label) {
			l.Accept, l.RequireLinking = []estserver.Way{{"srp"}}, true
		}, "SRP"},
		"no such op": {func(_ *estserver.Config, l *estserver.Label) { l.Operations = []est.Operation{"dance"} }, "dance"},
		"wrap":       {func(_ *estserver.Config, l *estserver.Label) { l.Wrap = "tight" }, "tight"},
		"quota":      {func(_ *estserver.Config, l *estserver.Label) { l.Quota = 3 }, "quota"},
		"negative":   {func(_ *estserver.Config, l *estserver.Label) { l.ExpiredGrace = -time.Hour }, "negative"},
		"pattern":    {func(_ *estserver.Config, l *estserver.Label) { l.Names = []string{"{what}.example"} }, "{what}"},
		"RAs' names": {func(_ *estserver.Config, l *estserver.Label) { l.RAs = []string{"ra"} }, "registration authorities"},
		"archive": {func(_ *estserver.Config, l *estserver.Label) {
			l.ServerKeys.ArchiveTo = certified(t, certificateFor(t, certtest.Key(t).Public(), x509.KeyUsageDigitalSignature))
		}, "does not allow keyAgreement"},
		"approval": {func(c *estserver.Config, l *estserver.Label) { l.Profile, l.Manual = "unapprovable", true }, "approval"},
	} {
		c, l := w.config, plainLabel()
		c.Labels = []estserver.Label{l}
		test.edit(&c, &l)
		if c.Labels != nil {
			c.Labels[0] = l
		}
		if name == "approval" {
			p, err := ca.ParseProfile("unapprovable", []byte("rooms = [\"est\"]\nevidence = [\"password\"]\nkeys = [\"ecdsa-p256\"]\nlife = \"1d\"\n"))
			if err != nil {
				t.Fatal(err)
			}
			w.authority.Profiles["unapprovable"] = p
		}
		if _, err := estserver.New(c); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	twice := w.config
	twice.Labels = []estserver.Label{plainLabel(), plainLabel()}
	if _, err := estserver.New(twice); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Error(err)
	}
}

// certified reads one certificate of PEM.
func certified(t *testing.T, text string) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		t.Fatal("no PEM")
	}
	return parse(t, block.Bytes)
}

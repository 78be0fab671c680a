package ca_test

import (
	"context"
	"crypto/x509"
	"encoding/asn1"
	"slices"
	"strings"
	"testing"
	"time"

	"chancery/internal/ca"
	"chancery/internal/sqldb"
	"chancery/internal/sqlstore"
	"chancery/internal/storetest"
)

// The server certifies its own delegates of EST: what they sign is no certificate.
func TestDelegatesOfEST(t *testing.T) {
	c := found(t, storetest.Plan)
	by := ca.Principal{Room: "core", ID: "est"}
	for profile, test := range map[string]struct {
		names []string
		want  []asn1.ObjectIdentifier
		usage x509.KeyUsage
	}{
		"est-server":     {[]string{"ca.example"}, []asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 28}}, x509.KeyUsageDigitalSignature},
		"key-generation": {nil, nil, x509.KeyUsageDigitalSignature},
		// Requests are encrypted to its key as well (RFC 5280 §4.2.1.3).
		"cmc-responder": {nil, []asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 27}}, x509.KeyUsageDigitalSignature | x509.KeyUsageKeyAgreement},
	} {
		req := ca.Request{ID: "core:" + profile, By: by, Key: newKey(t).Public(), Profile: profile, Names: names(t, test.names...), Detail: map[string]string{"for": "EST"}}
		if test.names == nil {
			req.Subject.CommonName = "Chancery " + profile
		}
		for _, n := range req.Names {
			req.Evidence = append(req.Evidence, ca.Evidence{Identifier: n, Method: "own-service", At: c.now, Expires: c.now.Add(time.Hour)})
		}
		r, err := c.Issue(context.Background(), req)
		if err != nil {
			t.Errorf("%s: %v", profile, err)
			continue
		}
		cert := parse(t, r.DER)
		if cert.KeyUsage != test.usage || cert.IsCA {
			t.Errorf("%s: key usage %v, authority %t", profile, cert.KeyUsage, cert.IsCA)
		}
		for _, oid := range test.want {
			if !slices.ContainsFunc(cert.UnknownExtKeyUsage, oid.Equal) {
				t.Errorf("%s has no %v among %v, %v", profile, oid, cert.ExtKeyUsage, cert.UnknownExtKeyUsage)
			}
		}
	}
}

// What a room says of how a request came stands in the history, below what the core
// says itself.
func TestDetailIsRecorded(t *testing.T) {
	db := storetest.SQLite(t)
	c := &core{store: sqlstore.New(db), keys: &storetest.Keys{}, now: time.Now()}
	c.Authority = storetest.Authority(t, c.store, c.keys, func() time.Time { return c.now })
	if err := c.Found(context.Background(), storetest.Plan); err != nil {
		t.Fatal(err)
	}
	req := c.request(t, "acme:1", newKey(t).Public(), "a.example")
	req.Detail = map[string]string{"label": "iot", "request": "forged"}
	if _, err := c.Issue(context.Background(), req); err != nil {
		t.Fatal(err)
	}
	var said string
	err := db.Query(context.Background(), `SELECT detail FROM events WHERE room = 'acme' AND kind = 'certificate.intended'`, nil, func(row sqldb.Row) error { return row.Scan(&said) })
	if err != nil || !strings.Contains(said, `"label":"iot"`) || !strings.Contains(said, `"request":"acme:1"`) {
		t.Errorf("the event says %s, %v", said, err)
	}
}

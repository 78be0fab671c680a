package conform

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"chancery/est"
)

func (l *little) measure(url string, only ...string) Report {
	l.t.Helper()
	report, err := EST(l.t.Context(), ESTConfig{
		URL: url, Roots: []*x509.Certificate{l.root.cert}, Login: &est.Login{User: littleUser, Password: littleWord}, Names: []string{"d1.example", "192.0.2.7"},
		Choice: Choice{Only: only}, Timeout: 30 * time.Second,
	})
	if err != nil {
		l.t.Fatal(err)
	}
	return report
}

// A server without faults passes every check, or the faults below prove nothing.
func TestFaultless(t *testing.T) {
	t.Parallel()
	l := newLittle(t)
	report := l.measure(l.start(nil))
	for _, f := range report.Findings {
		if f.Outcome == Failed || f.Outcome == NotRun {
			t.Errorf("%s: %s: %s", f.ID, f.Outcome, f.Seen)
		}
	}
	if !report.Conforms() || len(report.Findings) != len(ESTChecks()) || report.Connections == 0 || len(report.Certificates) == 0 {
		t.Errorf("%d findings, %d connections, certificates %v", len(report.Findings), report.Connections, report.Certificates)
	}
}

// at changes the answers of one operation, or of all.
func at(op string, do func(*http.Request, *answer)) func(*http.Request, *answer) {
	return func(r *http.Request, a *answer) {
		if op == "" || strings.HasSuffix(r.URL.Path, "/"+op) {
			do(r, a)
		}
	}
}

func status(op string, code int) func(*http.Request, *answer) {
	return at(op, func(_ *http.Request, a *answer) { a.status = code })
}

func header(op, name, value string) func(*http.Request, *answer) {
	return at(op, func(_ *http.Request, a *answer) {
		a.header.Del(name)
		delete(a.header, name) // however it is spelt
		if value != "" {
			a.header[name] = []string{value}
		}
	})
}

// recode changes the DER of what is granted.
func recode(op string, do func([]byte) []byte) func(*http.Request, *answer) {
	return at(op, func(_ *http.Request, a *answer) {
		if der, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(string(a.body), "\n", "")); err == nil && a.status == 200 {
			a.body = est.Encode(do(der), est.Wrapped)
		}
	})
}

func text(op, body string) func(*http.Request, *answer) {
	return at(op, func(_ *http.Request, a *answer) { a.body = []byte(body) })
}

// refusedAs gives what is refused another status.
func refusedAs(from, to int) func(*http.Request, *answer) {
	return at("", func(_ *http.Request, a *answer) {
		if a.status == from {
			a.status = to
		}
	})
}

// notWhen refuses requests that are somehow.
func notWhen(is func(*http.Request) bool) func(*http.Request, *answer) {
	return at("simpleenroll", func(r *http.Request, a *answer) {
		if is(r) {
			a.refuse(400, "not so")
		}
	})
}

func wishes(list est.CSRAttrs) func(*http.Request, *answer) {
	return recode("csrattrs", func([]byte) []byte {
		der, err := list.Marshal()
		if err != nil {
			panic(err)
		}
		return der
	})
}

// A breakage makes a server wrong, and these checks have to find it out.
type breakage struct {
	ids    string
	faults string
	change func(*http.Request, *answer)
	set    func(*little)
	wrap   func(net.Listener) net.Listener
	with   string // other checks that have to run, too
	rude   bool
}

var breakages = map[string]breakage{
	"TLS 1.3 alone":     {ids: "tls.version", set: func(l *little) { l.config.MinVersion = tls.VersionTLS13 }},
	"TLS 1.2 alone":     {ids: "tls.version-13", set: func(l *little) { l.config.MaxVersion = tls.VersionTLS12 }},
	"takes any hello":   {ids: "tls.old-refused tls.ssl-refused tls.null-refused tls.anon-refused tls.export-refused tls.rc4-refused tls.3des-refused tls.compression tls.renegotiation-info tls.extended-master-secret", wrap: agreeable},
	"no tickets":        {ids: "tls.resumption", set: func(l *little) { l.config.SessionTicketsDisabled = true }},
	"another name":      {ids: "tls.certificate", set: func(l *little) { l.config.Certificates[0] = l.named("elsewhere.example") }},
	"no intermediate":   {ids: "tls.certificate", set: func(l *little) { l.config.Certificates[0].Certificate = l.config.Certificates[0].Certificate[:1] }},
	"asks for nothing":  {ids: "tls.client-certificate", set: func(l *little) { l.config.ClientAuth = tls.NoClientCert }},
	"alerts a stranger": {ids: "tls.unknown-certificate", set: func(l *little) { l.config.ClientAuth, l.config.ClientCAs = tls.VerifyClientCertIfGiven, pool(l.bag) }},

	"cacerts fails":     {ids: "cacerts.status http.survives http.no-5xx", change: status("cacerts", 500)},
	"cacerts is hidden": {ids: "cacerts.unauthenticated", change: status("cacerts", 401)},
	"cacerts minds": {ids: "cacerts.wrong-password", change: at("cacerts", func(r *http.Request, a *answer) {
		a.status = map[bool]int{true: 401, false: 200}[r.Header.Get("Authorization") != ""]
	})},
	"cacerts typed wrong":  {ids: "cacerts.media-type cacerts.transfer-encoding", change: chain(header("cacerts", "Content-Type", "application/pkix-cert"), header("cacerts", "Content-Transfer-Encoding", ""))},
	"cacerts chunked":      {ids: "cacerts.length", change: at("cacerts", func(_ *http.Request, a *answer) { a.split = true })},
	"cacerts in pieces":    {ids: "cacerts.record", change: at("cacerts", func(_ *http.Request, a *answer) { a.records = true })},
	"cacerts not base64":   {ids: "cacerts.base64 cacerts.certs-only", change: text("cacerts", "\x30\x82raw")},
	"cacerts with a tail":  {ids: "cacerts.plain-form", change: recode("cacerts", func(der []byte) []byte { return append(der, 5, 0) })},
	"cacerts without root": {ids: "cacerts.root", set: func(l *little) { l.bag = l.bag[1:] }},
	"cacerts of others":    {ids: "cacerts.anchor", set: func(l *little) { l.bag = []*x509.Certificate{newPair(l.t, caTemplate("Root"), nil).cert} }},
	"cacerts with others":  {ids: "cacerts.chain", set: func(l *little) { l.bag = append(l.bag, l.stranger()) }},
	"cacerts with a leaf":  {ids: "cacerts.chain", set: func(l *little) { l.bag = append(l.bag, l.server.cert) }},
	"cacerts with the old": {ids: "cacerts.valid", set: func(l *little) {
		old := caTemplate("Old")
		old.NotAfter = time.Now().Add(-time.Minute)
		l.bag = append(l.bag, newPair(l.t, old, l.root).cert)
	}},
	"cacerts twice":  {ids: "cacerts.once", set: func(l *little) { l.bag = append(l.bag, l.bag[1]) }},
	"two roots only": {ids: "cacerts.rollover", set: func(l *little) { l.bag = append(l.bag, newPair(l.t, caTemplate("Root"), nil).cert) }},

	"everything is cacerts": {ids: "path.unknown-operation path.unknown-label path.operation-as-label path.trailing path.method-get path.method-post path.method-status", change: status("", 200)},
	"405 without Allow":     {ids: "path.method-get path.method-post", change: header("", "Allow", "")},
	"an odd HEAD":           {ids: "path.head", change: at("cacerts", func(r *http.Request, a *answer) { a.status = map[bool]int{true: 302, false: 200}[r.Method == "HEAD"] })},

	"csrattrs fails":     {ids: "csrattrs.status", change: status("csrattrs", 500)},
	"csrattrs is hidden": {ids: "csrattrs.unauthenticated", change: status("csrattrs", 401)},
	"csrattrs typed":     {ids: "csrattrs.media-type", change: header("csrattrs", "Content-Type", "text/plain")},
	"csrattrs raw":       {ids: "csrattrs.base64 csrattrs.parses", change: text("csrattrs", "\x30\x00")},
	"csrattrs garbage":   {ids: "csrattrs.parses", change: recode("csrattrs", func([]byte) []byte { return []byte{4, 1, 0} })},
	"csrattrs of old":    {ids: "csrattrs.extension-request csrattrs.curves", change: wishes(est.CSRAttrs{{Type: est.OIDP384}, {Type: est.OIDExtensionRequest, Values: [][]byte{{6, 2, 0x55, 4}}}})},
	"two templates":      {ids: "csrattrs.template csrattrs.possible", change: wishes(est.CSRAttrs{{Type: est.OIDCertificationRequestInfoTemplate, Values: [][]byte{{0x30, 0}}}, {Type: est.OIDCertificationRequestInfoTemplate, Values: [][]byte{{0x30, 0}}}})},
	"torn":               {ids: "csrattrs.template-agrees", set: func(l *little) { l.change = wishes(l.torn()) }},

	"serves anybody":     {ids: "enroll.unauthenticated enroll.strange-certificate keygen.unauthenticated", faults: "nobody"},
	"renews for anybody": {ids: "reenroll.unauthenticated", faults: "nobody any-names"},
	"believes names":     {ids: "reenroll.strange-certificate", faults: "any-certificate"},
	"any password":       {ids: "enroll.wrong-password", faults: "any-password"},
	"401 without":        {ids: "enroll.challenge enroll.challenge-scheme", change: header("", "WWW-Authenticate", "")},
	"Go's spelling": {ids: "enroll.challenge-spelling", change: at("", func(_ *http.Request, a *answer) {
		a.header["Www-Authenticate"] = a.header["WWW-Authenticate"]
		delete(a.header, "WWW-Authenticate")
	})},
	"a talking 401":   {ids: "enroll.challenge-empty", change: text("simpleenroll", "log in first")},
	"Digest of today": {ids: "enroll.challenge-digest", change: header("simpleenroll", "WWW-Authenticate", `Digest algorithm=MD5, realm="little", nonce="1"`)},
	"hasty":           {ids: "enroll.slow-body", faults: "hasty"},
	"swallows":        {ids: "enroll.no-body enroll.no-base64 enroll.no-request enroll.truncated enroll.lengths enroll.nested", faults: "swallow"},
	"500 for 413":     {ids: "enroll.huge enroll.huge-status", change: refusedAs(413, 500)},
	"400 for 413":     {ids: "enroll.huge-status", change: refusedAs(413, 400)},
	"400 for 415":     {ids: "enroll.media-wrong", change: refusedAs(415, 400)},
	"no proof":        {ids: "enroll.proof reenroll.proof", faults: "no-proof"},

	"does not enrol":      {ids: "enroll.status", change: status("simpleenroll", 500)},
	"enrol typed wrong":   {ids: "enroll.media-type enroll.media-spelling enroll.transfer-encoding", change: chain(header("simpleenroll", "Content-Type", "application/pkcs7-mime"), header("simpleenroll", "Content-Transfer-Encoding", ""))},
	"enrol typed short":   {ids: "enroll.media-spelling", change: header("simpleenroll", "Content-Type", "application/pkcs7-mime;smime-type=certs-only")},
	"enrol chunked":       {ids: "enroll.length", change: at("simpleenroll", func(_ *http.Request, a *answer) { a.split = a.status == 200 })},
	"enrol cut":           {ids: "enroll.certs-only", change: recode("simpleenroll", func(der []byte) []byte { return der[:len(der)-4] })},
	"enrol with chain":    {ids: "enroll.single reenroll.single", set: func(l *little) { l.change = at("", l.addChain) }},
	"another key":         {ids: "enroll.key", faults: "other-key"},
	"other names":         {ids: "enroll.names", faults: "other-names"},
	"another issuer":      {ids: "enroll.chain", faults: "other-issuer"},
	"expired":             {ids: "enroll.valid", faults: "expired"},
	"pending for ever":    {ids: "enroll.pending enroll.pending-seconds", faults: "pending", change: header("", "Retry-After", "")},
	"pending until":       {ids: "enroll.pending-seconds", faults: "pending", change: header("", "Retry-After", "Fri, 31 Dec 2100 23:59:59 GMT")},
	"forgets":             {ids: "enroll.repeat", set: func(l *little) { l.change = at("simpleenroll", once()) }},
	"lines alone":         {ids: "enroll.one-line", change: notWhen(func(r *http.Request) bool { return !strings.Contains(sent(r), "\n") })},
	"LF alone":            {ids: "enroll.line-breaks enroll.spaces", change: notWhen(func(r *http.Request) bool { return strings.ContainsAny(sent(r), "\r \t") })},
	"believes encodings":  {ids: "enroll.transfer-encoding-odd", change: notWhen(func(r *http.Request) bool { return r.Header.Get("Content-Transfer-Encoding") == "binary" })},
	"wants encodings":     {ids: "enroll.transfer-encoding-absent", change: notWhen(func(r *http.Request) bool { return r.Header.Get("Content-Transfer-Encoding") == "" })},
	"small letters alone": {ids: "enroll.media-case enroll.media-parameters", change: notWhen(func(r *http.Request) bool { return r.Header.Get("Content-Type") != "application/pkcs10" })},
	"no chunks":           {ids: "enroll.chunked", change: notWhen(func(r *http.Request) bool { return r.ContentLength < 0 })},
	"no continue":         {ids: "enroll.continue", faults: "no-continue"},
	"wants an agent":      {ids: "enroll.no-user-agent", change: notWhen(func(r *http.Request) bool { return r.UserAgent() == "" })},

	"unlinked":        {ids: "linking.tls-unique-wrong linking.other-connection linking.exporter-wrong linking.garbage linking.identity-wrong", faults: "unlinked"},
	"cannot link":     {ids: "linking.tls-unique linking.exporter linking.identity", set: func(l *little) { l.change = noLink() }},
	"says it in JSON": {ids: "linking.words", change: at("simpleenroll", func(_ *http.Request, a *answer) { a.header.Set("Content-Type", "application/json") })},

	"does not renew":     {ids: "reenroll.status", change: status("simplereenroll", 500)},
	"renews typed":       {ids: "reenroll.media-type", change: header("simplereenroll", "Content-Type", "application/pkcs7-mime")},
	"renews other names": {ids: "reenroll.same-names", faults: "other-names-later"},
	"renews nothing":     {ids: "reenroll.anew", set: func(l *little) { l.change = at("", replay()) }},
	"no new key":         {ids: "reenroll.rekey", set: func(l *little) { l.change = at("simplereenroll", rekeyRefused()) }},
	"renames":            {ids: "reenroll.subject reenroll.names", faults: "any-names"},

	"no keys":            {ids: "keygen.status", change: status("serverkeygen", 500)},
	"keys typed":         {ids: "keygen.media-type keygen.parts keygen.order keygen.pkcs8 keygen.certificate-type keygen.boundary", change: header("serverkeygen", "Content-Type", "application/pkcs8")},
	"certificate first":  {ids: "keygen.order", faults: "cert-first"},
	"three parts":        {ids: "keygen.parts", faults: "three-parts"},
	"SEC 1":              {ids: "keygen.pkcs8", faults: "sec1"},
	"no parameter":       {ids: "keygen.certificate-type", faults: "bare-part"},
	"another made":       {ids: "keygen.fits", faults: "unfit-key"},
	"encoded outside":    {ids: "keygen.boundary", change: header("serverkeygen", "Content-Transfer-Encoding", "base64")},
	"minds signatures":   {ids: "keygen.signature", set: func(l *little) { l.faults["strict-keygen"] = true }},
	"plain instead":      {ids: "keygen.unknown-key", faults: "plain-instead"},
	"CMC fails":          {ids: "cmc.offered cmc.garbage cmc.simple", change: status("fullcmc", 500)},
	"CMC takes anything": {ids: "cmc.garbage cmc.simple", change: status("fullcmc", 200)},
	"CMC in HTML":        {ids: "cmc.answer http.error-text", with: "cmc", change: chain(header("fullcmc", "Content-Type", "text/html"), text("fullcmc", "<h1>no</h1>"))},

	"knows no HTTP": {ids: "http.host http.bad-request http.keep-alive enroll.field-case", rude: true},
	"without TLS":   {ids: "http.plain", wrap: openDoor},
	"h2 in name":    {ids: "http.h2", faults: "false-h2"},
	"compresses":    {ids: "http.compression", change: header("cacerts", "Content-Encoding", "gzip")},
	"says nothing": {ids: "http.error-said", with: "path", change: at("", func(_ *http.Request, a *answer) {
		a.body = a.body[:map[bool]int{true: 0, false: len(a.body)}[a.status >= 400]]
	})},
	"leads astray": {ids: "http.redirect", with: "path", change: at("conform-no-such", func(_ *http.Request, a *answer) {
		a.status = 302
		a.header.Set("Location", "http://elsewhere.example/")
	})},
	"talks much":      {ids: "http.head", with: "cacerts", change: header("cacerts", "X-Words", strings.Repeat("words ", 300))},
	"blames itself":   {ids: "http.no-5xx", with: "path", change: refusedAs(404, 500)},
	"markup in words": {ids: "http.error-text", with: "path", change: at("conform-no-such", func(_ *http.Request, a *answer) { a.body = []byte(`{"error": 1}`) })},
}

func chain(all ...func(*http.Request, *answer)) func(*http.Request, *answer) {
	return func(r *http.Request, a *answer) {
		for _, do := range all {
			do(r, a)
		}
	}
}

func TestBreakages(t *testing.T) {
	t.Parallel()
	for name, b := range breakages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLittle(t)
			for _, f := range strings.Fields(b.faults) {
				l.faults[f] = true
			}
			l.change = b.change
			if b.set != nil {
				b.set(l)
			}
			var url string
			if b.rude {
				url = l.startRude()
			} else {
				url = l.start(b.wrap)
			}
			ids := strings.Fields(b.ids)
			report := l.measure(url, append(strings.Fields(b.with), ids...)...)
			seen := 0
			for _, f := range report.Findings {
				if !slices.Contains(ids, f.ID) {
					continue
				}
				seen++
				if f.Outcome != Failed {
					t.Errorf("%s: %s: %s", f.ID, f.Outcome, f.Seen)
				}
			}
			if seen != len(ids) {
				t.Errorf("%d findings for %d checks", seen, len(ids))
			}
		})
	}
}

// Each check can fail.
func TestEachCheckHasItsBreakage(t *testing.T) {
	found := map[string]bool{}
	for _, b := range breakages {
		for _, id := range strings.Fields(b.ids) {
			found[id] = true
		}
	}
	for _, c := range ESTChecks() {
		if !found[c.ID] {
			t.Errorf("%s: no breakage makes it fail", c.ID)
		}
		delete(found, c.ID)
	}
	for id := range found {
		t.Errorf("%s is no check", id)
	}
}

func TestChecksAreTold(t *testing.T) {
	doc, err := os.ReadFile("../../docs/conform.md")
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	seen := map[string]bool{}
	for _, c := range ESTChecks() {
		if seen[c.ID] || c.Clause == "" || c.Expected == "" || !slices.Contains([]Level{Must, Should, Field}, c.Level) || strings.Count(c.ID, ".") != 1 {
			t.Errorf("%+v: an id of its own, a level, a clause and what is expected are needed", c)
		}
		seen[c.ID] = true
		table.WriteString("| `" + c.ID + "` | " + string(c.Level) + " | " + c.Clause + " | " + c.Expected + " |\n")
	}
	if !bytes.Contains(doc, []byte(table.String())) {
		t.Errorf("docs/conform.md has not this table:\n%s", table.String())
	}
	for _, id := range issuing {
		if !seen[id] {
			t.Errorf("%s is no check", id)
		}
	}
}

// Passwords go to verified servers alone, and unauthenticated runs enrol nothing.
func TestSecretsStay(t *testing.T) {
	t.Parallel()
	l := newLittle(t)
	told := 0
	l.change = func(r *http.Request, _ *answer) {
		if user, _, _ := r.BasicAuth(); user == littleUser {
			told++
		}
	}
	l.config.Certificates[0] = l.named("elsewhere.example")
	report := l.measure(l.start(nil), "enroll")
	if told != 0 || len(report.Certificates) != 0 {
		t.Errorf("the password was sent %d times; certificates %v", told, report.Certificates)
	}
	c := ESTConfig{Names: []string{"a.example"}}
	if c.Enrols() != 0 {
		t.Errorf("without credentials %d certificates", c.Enrols())
	}
}

// What a server certifies although nobody asked properly is in the report.
func TestCertifiedAllTheSame(t *testing.T) {
	t.Parallel()
	l := newLittle(t)
	l.faults["nobody"] = true
	report, err := EST(t.Context(), ESTConfig{URL: l.start(nil), Choice: Choice{Only: []string{"enroll.unauthenticated"}}})
	if err != nil || len(report.Certificates) != 1 || report.Conforms() {
		t.Errorf("error %v, certificates %v", err, report.Certificates)
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	l := newLittle(t)
	url := l.start(nil)
	for name, c := range map[string]ESTConfig{
		"scheme":      {URL: "http://localhost"},
		"path":        {URL: url + "/ca"},
		"nobody":      {URL: "https://localhost:1"},
		"fingerprint": {URL: url, Fingerprint: "sha256:" + strings.Repeat("0", 64)},
		"no print":    {URL: url, Fingerprint: "sha256:00"},
	} {
		_, err := EST(t.Context(), c)
		if told, ok := errors.AsType[*ESTError](err); !ok || told.Reason == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := EST(ctx, ESTConfig{URL: url}); err == nil {
		t.Error("a run that was given up has no error")
	}
}

func TestFingerprintAndJSON(t *testing.T) {
	t.Parallel()
	l := newLittle(t)
	count := 0
	report, err := EST(t.Context(), ESTConfig{
		URL: l.start(nil) + est.WellKnown, Fingerprint: est.Fingerprint(l.root.cert.Raw, "sha256"), Choice: Choice{Only: []string{"tls.certificate", "cacerts"}, Skip: []string{"cacerts.once"}},
		Progress: func(Finding) { count++ },
	})
	if err != nil || count != len(cacertsSteps) || report.Count(Failed, "") > 0 || report.Count(NotRun, "") > 0 {
		t.Errorf("%d findings, error %v: %+v", count, err, report.Findings)
	}
	text, err := json.Marshal(report)
	if err != nil || !bytes.Contains(text, []byte(`"id":"tls.certificate","level":"MUST","clause":"RFC 7030 §3.3.1, §3.6.1"`)) {
		t.Errorf("%s, error %v", text, err)
	}
}

func TestBrief(t *testing.T) {
	for in, want := range map[string]string{
		"a\n b\tc": "a b c", "\x1b[31mred\x07": "?[31mred?", "\u202eabc": "?abc", "\xff": "?", strings.Repeat("x", 500): strings.Repeat("x", 400) + "…",
	} {
		if got := brief(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

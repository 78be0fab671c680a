package daemon_test

import (
	"bufio"
	"html"
	"io"
	"mime/quotedprintable"
	"net"
	"net/http"
	"net/mail"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"

	"chancery/acme"
	"chancery/internal/desk"
)

// mailbox is a mail server that keeps what it is given.
type mailbox struct {
	address string
	mu      sync.Mutex
	letters []string // decoded texts
}

func newMailbox(t testing.TB) *mailbox {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	m := &mailbox{address: l.Addr().String()}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go m.talk(conn)
		}
	}()
	return m
}

// talk is a server's side of RFC 5321, as far as one letter needs it.
func (m *mailbox) talk(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	io.WriteString(conn, "220 mailbox\r\n")
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		switch verb := strings.ToUpper(line[:min(4, len(line))]); verb {
		case "DATA":
			io.WriteString(conn, "354 go on\r\n")
			var text strings.Builder
			for line, err = in.ReadString('\n'); err == nil && line != ".\r\n"; line, err = in.ReadString('\n') {
				text.WriteString(strings.TrimPrefix(line, "."))
			}
			m.keep(text.String())
			io.WriteString(conn, "250 kept\r\n")
		case "QUIT":
			io.WriteString(conn, "221 bye\r\n")
			return
		default:
			io.WriteString(conn, "250 yes\r\n")
		}
	}
}

func (m *mailbox) keep(text string) {
	letter, err := mail.ReadMessage(strings.NewReader(text))
	if err != nil {
		return
	}
	var body io.Reader = letter.Body
	if strings.EqualFold(letter.Header.Get("Content-Transfer-Encoding"), "quoted-printable") {
		body = quotedprintable.NewReader(body)
	}
	plain, _ := io.ReadAll(body)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.letters = append(m.letters, letter.Header.Get("To")+"\n"+string(plain))
}

// last gives the newest letter, "" if there is none.
func (m *mailbox) last() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.letters) == 0 {
		return ""
	}
	return m.letters[len(m.letters)-1]
}

const passphrase = "correct horse battery"

// customer registers one over the socket, with a domain, an address and a passphrase.
func (s *server) customer(domain, address string) string {
	s.t.Helper()
	c := must[desk.Customer](s.t)(ask[desk.CustomerWanted, desk.Customer](s, "customer.add", desk.CustomerWanted{Name: "Shop"}))
	for _, step := range []struct {
		name string
		in   map[string]string
	}{
		{"customer.domain.add", map[string]string{"customer": c.ID, "domain": domain}},
		{"customer.domain.vouch", map[string]string{"customer": c.ID, "domain": domain}},
		{"customer.contact.add", map[string]string{"customer": c.ID, "address": address}},
		{"customer.contact.vouch", map[string]string{"customer": c.ID, "address": address}},
		{"customer.passphrase", map[string]string{"customer": c.ID, "passphrase": passphrase}},
	} {
		if _, err := ask[map[string]string, any](s, step.name, step.in); err != nil {
			s.t.Fatal(step.name, err)
		}
	}
	return c.ID
}

// browse is what a browser does with a page: looks at it, or with values sends its form.
func (s *server) browse(link string, values url.Values) (int, string) {
	s.t.Helper()
	req := must[*http.Request](s.t)(http.NewRequest(http.MethodGet, link, nil))
	if values != nil {
		req = must[*http.Request](s.t)(http.NewRequest(http.MethodPost, link, strings.NewReader(values.Encode())))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Origin", "null")
		req.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	resp := must[*http.Response](s.t)(s.http().Do(req))
	defer resp.Body.Close()
	text := must[[]byte](s.t)(io.ReadAll(resp.Body))
	if resp.Header.Get("Cache-Control") != "no-store" || resp.Header.Get("Referrer-Policy") != "no-referrer" {
		s.t.Errorf("the page's header is %v", resp.Header)
	}
	return resp.StatusCode, html.UnescapeString(string(text))
}

var linkInLetter = regexp.MustCompile(regexp.QuoteMeta(baseURL) + `/account/binding/[a-z2-7]+/\S+`)

// TestConfirmation goes from the proof of a domain over the mail and the page to
// the certificate, and the power goes off between all of them.
func TestConfirmation(t *testing.T) {
	engines(t, func(t *testing.T, database string) {
		web, post := newSite(t), newMailbox(t)
		p := plan(t, web, database)
		p.Mail = post.address
		s := launch(t, p)
		again := func() {
			s.kill()
			s = launch(t, p)
		}
		s.customer("shop.example", "boss@shop.example")
		c := s.client()
		o, ch, err := web.order(within(t, long), c, "www.shop.example")
		if err == nil {
			_, err = c.Respond(within(t, long), ch)
		}
		if err != nil {
			t.Fatal(err)
		}
		again()
		status := func() acme.AuthorizationStatus {
			t.Helper()
			return must[*acme.Authorization](t)(s.at(c).Authorization(within(t, long), o.Authorizations[0])).Status
		}
		until(t, "the letter", func() bool { return linkInLetter.MatchString(post.last()) })
		letter := post.last()
		link := linkInLetter.FindString(letter)
		if !strings.HasPrefix(letter, "<boss@shop.example>\n") && !strings.HasPrefix(letter, "boss@shop.example\n") || link == "" || !strings.Contains(letter, "www.shop.example") {
			t.Fatalf("the letter is\n%s", letter)
		}
		// Who checks mail follows links, and decides nothing by it.
		if code, page := s.browse(link, nil); code != 200 || !strings.Contains(page, "www.shop.example") || !strings.Contains(page, c.AccountURL) {
			t.Errorf("the page is %d\n%s", code, page)
		}
		if code, _ := s.browse(link+"x", nil); code != 404 {
			t.Errorf("another token gave %d", code)
		}
		if code, _ := s.browse(link, url.Values{"act": {"confirm"}, "passphrase": {"incorrect horse"}}); code != 403 {
			t.Errorf("a wrong passphrase gave %d", code)
		}
		if got := status(); got != acme.AuthorizationPending {
			t.Fatalf("the authorisation is %s", got)
		}
		again()
		if code, page := s.browse(link, url.Values{"act": {"confirm"}, "passphrase": {passphrase}}); code != 200 || !strings.Contains(page, "bound to you") {
			t.Fatalf("the answer gave %d\n%s", code, page)
		}
		again()
		if code, page := s.browse(link, url.Values{"act": {"refuse"}, "passphrase": {passphrase}}); code != 409 || !strings.Contains(page, "bound to you") {
			t.Errorf("the other answer gave %d\n%s", code, page)
		}
		if got := status(); got != acme.AuthorizationValid {
			t.Fatalf("the authorisation is %s", got)
		}
		chain, err := finalizeAndFetch(within(t, long), s.at(c), o, csrFor(t, newKey(t), "www.shop.example"))
		if err != nil {
			t.Fatal(err)
		}
		s.verifies(chain, s.roots)
		if strings.Contains(s.log.String(), passphrase) || strings.Contains(s.log.String(), link[strings.LastIndexByte(link, '/')+1:]) {
			t.Error("the log has a secret")
		}
	})
}

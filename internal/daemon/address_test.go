package daemon_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"chancery/acme"
	"chancery/internal/dnstest"
	"chancery/internal/peertest"
)

// namespaceVariable says that the test runs in a network of its own.
const namespaceVariable = "CHANCERY_TEST_NETWORK"

// The addresses of the private network: the server's and the printer's.
const serverAddress, printerAddress = "10.77.0.1", "10.77.0.7"

// TestPrivateNetwork runs a server off loopback with the default [validation],
// in a network namespace in which it may have port 80 and a printer at a private
// address.
func TestPrivateNetwork(t *testing.T) {
	if os.Getenv(namespaceVariable) != "" {
		privateNetwork(t)
		return
	}
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root may make a network namespace")
	}
	peertest.Need(t, "ip") // of iproute2
	cmd := exec.Command(os.Args[0], "-test.run=^TestPrivateNetwork$", "-test.v")
	cmd.Env = append(os.Environ(), namespaceVariable+"=yes")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) {
		t.Skip("this machine lets nobody make a network namespace")
	}
	if err != nil || !strings.Contains(string(out), "--- PASS: TestPrivateNetwork") {
		t.Errorf("%v\n%s", err, out)
	}
}

// privateNetwork is the test inside the namespace.
func privateNetwork(t *testing.T) {
	for _, line := range []string{
		"link set lo up", "link add here type veth peer name there", "link set here up", "link set there up",
		"addr add " + serverAddress + "/24 dev here", "addr add " + printerAddress + "/24 dev there",
	} {
		if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v\n%s", line, err, out)
		}
	}
	web := &site{pages: map[string]string{}}
	listenAt(t, web, printerAddress+":80")
	listenAt(t, web, "127.0.0.1:80")
	zone, err := dnstest.Start(serverAddress + ":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(zone.Close)
	for name, address := range map[string]string{
		"printer.corp.internal": printerAddress, "inside.corp.internal": "127.0.0.1", "metadata.corp.internal": "169.254.169.254",
		"ourselves.corp.internal": serverAddress, "mapped.corp.internal": "",
	} {
		if address == "" {
			err = zone.Set(name, "AAAA", "::ffff:127.0.0.1")
		} else {
			err = zone.Set(name, "A", address)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	// The plain-HTTP side is where http-01 would look.
	p := setup{Data: dataDir(t), Public: serverAddress + ":8443", Listener: serverAddress + ":80",
		Base: "https://ca.corp.internal", Status: "http://status.corp.internal", Resolver: zone.Addr()}
	s := start(t, p)
	c := s.client()
	chain, err := web.obtain(within(t, long), c, newKey(t), "printer.corp.internal")
	if err != nil {
		t.Fatal("a printer on a private address:", err)
	}
	s.verifies(chain, s.roots)
	_, err = c.Obtain(within(t, long), acme.ObtainRequest{Key: newKey(t), Solver: web,
		Identifiers: []acme.Identifier{{Type: acme.IdentifierIP, Value: printerAddress}}})
	if err != nil {
		t.Error("a private address as identifier:", err)
	}
	asked := web.asked.Load()
	for _, address := range []string{"127.0.0.1", "169.254.169.254", "::1", "fe80::1", "0.0.0.0"} {
		_, err := c.NewOrder(within(t, long), acme.NewOrder{Identifiers: []acme.Identifier{{Type: acme.IdentifierIP, Value: address}}})
		if !acme.HasType(err, acme.TypeRejectedIdentifier) {
			t.Errorf("the address %s: %v; want rejectedIdentifier", address, err)
		}
	}
	// Each is tried three times with pauses, so all of them at once.
	var wg sync.WaitGroup
	for _, name := range []string{"inside", "metadata", "ourselves", "mapped"} {
		wg.Go(func() { refused(t, web, c, name+".corp.internal") })
	}
	for n, target := range []string{"http://127.0.0.1", "http://" + serverAddress, "http://inside.corp.internal"} {
		name, address := fmt.Sprintf("sly-%d.corp.internal", n), fmt.Sprintf("10.77.0.%d", 100+n)
		redirect(t, address, target)
		if err := zone.Set(name, "A", address); err != nil {
			t.Fatal(err)
		}
		wg.Go(func() { refused(t, web, c, name) })
	}
	wg.Wait()
	if n := web.asked.Load() - asked; n != 0 {
		t.Errorf("a web server that may not be asked was asked %d times", n)
	}
}

// refused asks for a name that the policy is against.
func refused(t *testing.T, web *site, c *acme.Client, name string) {
	_, err := web.obtain(within(t, long), c, newKey(t), name)
	if !acme.HasType(err, acme.TypeRejectedIdentifier) {
		t.Errorf("%s: %v; want rejectedIdentifier", name, err)
	}
}

// redirect makes a host at a good address that sends the validator to a bad one.
func redirect(t *testing.T, address, target string) {
	t.Helper()
	if out, err := exec.Command("ip", "addr", "add", address+"/24", "dev", "there").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	listenAt(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, target+r.URL.Path, http.StatusFound)
	}), address+":80")
}

// listenAt serves plain HTTP at an address.
func listenAt(t *testing.T, h http.Handler, address string) {
	t.Helper()
	l, err := net.Listen("tcp", netip.MustParseAddrPort(address).String())
	if err != nil {
		t.Fatal(err)
	}
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: h}}
	s.Start()
	t.Cleanup(s.Close)
}

// TestBehindAProxy: on loopback with names for the world, a server is not at
// home: it neither goes to loopback nor is called localhost.
func TestBehindAProxy(t *testing.T) {
	t.Parallel()
	web := newSite(t)
	p := plan(t, web, "")
	p.Base, p.Status = "https://ca.corp.example", "http://pki.corp.example"
	s := start(t, p)
	c := s.client()
	refused(t, web, c, "inside.corp.example")
	_, err := c.NewOrder(within(t, long), acme.NewOrder{Identifiers: []acme.Identifier{{Type: acme.IdentifierIP, Value: "127.0.0.1"}}})
	if !acme.HasType(err, acme.TypeRejectedIdentifier) {
		t.Errorf("the address 127.0.0.1: %v; want rejectedIdentifier", err)
	}
	if n := web.asked.Load(); n != 0 {
		t.Errorf("a web server on loopback was asked %d times", n)
	}
	res, err := s.http().Get(p.Base + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if cert := res.TLS.PeerCertificates[0]; len(cert.IPAddresses) != 0 || !slices.Equal(cert.DNSNames, []string{"ca.corp.example"}) {
		t.Errorf("the server's certificate is for %v %v", cert.DNSNames, cert.IPAddresses)
	}
}

// TestQuestionsInMixedCase: a forger of DNS answers has the case to guess too.
func TestQuestionsInMixedCase(t *testing.T) {
	t.Parallel()
	web := newSite(t)
	s := start(t, plan(t, web, ""))
	const name = "a-name-with-a-good-many-letters.of-a-domain-with-more.example"
	if _, err := web.obtain(within(t, long), s.client(), newKey(t), name); err != nil {
		t.Fatal(err)
	}
	for _, q := range web.zone.Queries() {
		if q.Name == name && q.Raw != name+"." {
			return
		}
	}
	t.Errorf("every question was in lower case: %+v", web.zone.Queries())
}

package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"chancery/internal/admin"
	"chancery/internal/desk"
	"chancery/internal/porttest"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) { testscript.Main(m, map[string]func(){"chancery": main}) }

// TestScripts plays whole stories against the real program.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", e.WorkDir) // no trust store of the tester's is found
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"ready": awaitServer, "fails": fails, "freeport": portFree, "mkcsr": makeCSR, "mkroot": makeRoot,
			"certify": certify, "mkcrl": makeCRL, "capture": capture, "verify": verifyFile,
			"signal": signalServer, "await": await, "awaitout": awaitOutput, "dns": startDNS, "envsubst": substitute, "append": appendFile, "record": setRecord,
		},
	})
}

func need(ts *testscript.TestScript, neg bool, good bool, usage string) {
	if neg || !good {
		ts.Fatalf("usage: %s", usage)
	}
}

// awaitServer waits until the server of a data directory answers: ready DIR
func awaitServer(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 1, "ready DIR")
	client := admin.Dial(admin.SocketPath(ts.MkAbs(args[0])))
	defer client.Close()
	end := time.Now().Add(30 * time.Second)
	for {
		_, err := admin.Call[struct{}, desk.Roots](context.Background(), client, "ca.roots", struct{}{})
		if err == nil {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("the server of %s does not answer: %v", args[0], err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// signalServer sends a signal to the server of a data directory: signal {HUP|TERM} DIR
func signalServer(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 2, "signal {HUP|TERM} DIR")
	number, known := map[string]syscall.Signal{"HUP": syscall.SIGHUP, "TERM": syscall.SIGTERM}[args[0]]
	need(ts, false, known, "signal {HUP|TERM} DIR")
	pid, err := strconv.Atoi(strings.TrimSpace(ts.ReadFile(args[1] + "/chancery.db.lock")))
	ts.Check(err)
	ts.Check(syscall.Kill(pid, number))
}

// await waits until a file has a match: await FILE REGEXP
func await(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 2, "await FILE REGEXP")
	wanted, err := regexp.Compile(args[1])
	ts.Check(err)
	for end := time.Now().Add(30 * time.Second); !wanted.MatchString(ts.ReadFile(args[0])); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			ts.Fatalf("%s has no match for %s:\n%s", args[0], args[1], ts.ReadFile(args[0]))
		}
	}
}

// awaitOutput runs a command until what it says has a match, and puts the match's first
// group into a variable: awaitout NAME REGEXP COMMAND [ARG...]
func awaitOutput(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) > 2, "awaitout NAME REGEXP COMMAND [ARG...]")
	wanted, err := regexp.Compile(args[1])
	ts.Check(err)
	need(ts, false, wanted.NumSubexp() > 0, "awaitout NAME REGEXP COMMAND, with a group in REGEXP")
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		ts.Check(ts.Exec(args[2], args[3:]...))
		if found := wanted.FindStringSubmatch(ts.ReadFile("stdout")); found != nil {
			ts.Setenv(args[0], found[1])
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("%q never says %s", args[2:], args[1])
		}
	}
}

// fails runs a command that ends with this very status: fails STATUS chancery ARGS...
func fails(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) > 1, "fails STATUS COMMAND [ARG...]")
	err := ts.Exec(args[1], args[2:]...)
	status := 0
	if ended, ok := errors.AsType[*exec.ExitError](err); ok {
		status = ended.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(status) != args[0] {
		ts.Fatalf("exit status %d, want %s", status, args[0])
	}
}

// portFree finds a port that is nobody else's until the story ends: freeport NAME
func portFree(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 1, "freeport NAME")
	port, release, err := porttest.Take()
	ts.Check(err)
	ts.Defer(release)
	ts.Setenv(args[0], strconv.Itoa(port))
}

// capture puts what a file says, up to the first space, into a variable: capture NAME FILE
func capture(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 2, "capture NAME FILE")
	text := strings.Fields(ts.ReadFile(args[1]))
	if len(text) == 0 {
		ts.Fatalf("%s is empty", args[1])
	}
	ts.Setenv(args[0], text[0])
}

func writePEM(ts *testscript.TestScript, file, kind string, der []byte) {
	ts.Check(os.WriteFile(ts.MkAbs(file), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
}

// makeKey makes a key and keeps it in FILE.key.
func makeKey(ts *testscript.TestScript, file string) crypto.Signer {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	ts.Check(err)
	writePEM(ts, file+".key", "PRIVATE KEY", der)
	return key
}

// makeCSR makes FILE.key and FILE.csr: mkcsr FILE NAME... where a NAME with CN= or
// O= in front goes into the subject
func makeCSR(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) > 0, "mkcsr FILE [NAME...]")
	csr := x509.CertificateRequest{}
	for _, name := range args[1:] {
		kind, value, _ := strings.Cut(name, "=")
		switch ip := net.ParseIP(name); {
		case kind == "CN":
			csr.Subject.CommonName = value
		case kind == "O":
			csr.Subject.Organization = []string{value}
		case ip != nil:
			csr.IPAddresses = append(csr.IPAddresses, ip)
		default:
			csr.DNSNames = append(csr.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &csr, makeKey(ts, args[0]))
	ts.Check(err)
	writePEM(ts, args[0]+".csr", "CERTIFICATE REQUEST", der)
}

func authority(name string) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-time.Hour),
		NotAfter: now.AddDate(5, 0, 0), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
}

// makeRoot makes a foreign authority, FILE.key and FILE.pem: mkroot FILE NAME
func makeRoot(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 2, "mkroot FILE NAME")
	key := makeKey(ts, args[0])
	template := authority(args[1])
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	ts.Check(err)
	writePEM(ts, args[0]+".pem", "CERTIFICATE", der)
}

func readBlock(ts *testscript.TestScript, file string) []byte {
	block, _ := pem.Decode([]byte(ts.ReadFile(file)))
	if block == nil {
		ts.Fatalf("%s has no PEM", file)
	}
	return block.Bytes
}

func foreign(ts *testscript.TestScript, file string) (*x509.Certificate, crypto.Signer) {
	cert, err := x509.ParseCertificate(readBlock(ts, file+".pem"))
	ts.Check(err)
	key, err := x509.ParsePKCS8PrivateKey(readBlock(ts, file+".key"))
	ts.Check(err)
	return cert, key.(crypto.Signer)
}

// certify has a foreign root make an authority of a CSR: certify ROOT CSR CERTIFICATE
func certify(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 3, "certify ROOT CSR CERTIFICATE")
	root, key := foreign(ts, args[0])
	csr, err := x509.ParseCertificateRequest(readBlock(ts, args[1]))
	ts.Check(err)
	template := authority("")
	template.Subject, template.MaxPathLenZero = csr.Subject, true
	template.SubjectKeyId = []byte{1, 2, 3, 4}
	der, err := x509.CreateCertificate(rand.Reader, template, root, csr.PublicKey, key)
	ts.Check(err)
	writePEM(ts, args[2], "CERTIFICATE", der)
}

// makeCRL makes a foreign authority's CRL: mkcrl ROOT FILE SERIAL...; a serial
// "N+" stands for N of them, from 1.
func makeCRL(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) > 1, "mkcrl ROOT FILE [SERIAL...]")
	root, key := foreign(ts, args[0])
	list := &x509.RevocationList{Number: big.NewInt(7), ThisUpdate: time.Now(), NextUpdate: time.Now().AddDate(0, 0, 7)}
	add := func(serial *big.Int) {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: serial, RevocationTime: time.Now(), ReasonCode: 4})
	}
	for _, text := range args[2:] {
		if count, many := strings.CutSuffix(text, "+"); many {
			last, err := strconv.ParseInt(count, 10, 64)
			ts.Check(err)
			for n := range last {
				add(big.NewInt(n + 1))
			}
			continue
		}
		serial, good := new(big.Int).SetString(text, 16)
		need(ts, false, good, "serials in hex")
		add(serial)
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, root, key)
	ts.Check(err)
	writePEM(ts, args[1], "X509 CRL", der)
}

// verifyFile checks a chain as a relying party: verify ROOTS CHAIN NAME
func verifyFile(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: [!] verify ROOTS CHAIN NAME")
	}
	roots, above := x509.NewCertPool(), x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(ts.ReadFile(args[0])))
	above.AppendCertsFromPEM([]byte(ts.ReadFile(args[1])))
	cert, err := x509.ParseCertificate(readBlock(ts, args[1]))
	ts.Check(err)
	_, err = cert.Verify(x509.VerifyOptions{Roots: roots, Intermediates: above, DNSName: args[2]})
	if (err == nil) == neg {
		ts.Fatalf("verifying %s: %v", args[1], err)
	}
}

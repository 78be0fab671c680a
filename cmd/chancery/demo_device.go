package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"chancery/est"
	"chancery/internal/admin"
	"chancery/internal/config"
	"chancery/internal/daemon"
	"chancery/internal/desk"
	"chancery/internal/enroll/device"
	"chancery/internal/enroll/install"
)

// The names of the demo's third part: the authority of whoever runs the devices, the
// maker of one, and its serial number.
const (
	demoPlant  = "plant." + demoZone
	demoMaker  = "widget-works"
	demoSerial = "w-0042"
)

// yard is the demo's third part: a device that knows its maker alone, and the EST server
// of those who bought it.
type yard struct {
	*scene
	daemon *daemon.Daemon
	door   string // where the server really is
	maker  *demoCA
	device *device.Device
	first  *x509.Certificate // the first LDevID
	anchor *x509.Certificate // confirmed by its fingerprint
}

func (y *yard) acts() []act {
	return []act{
		{"A maker's own authority gives a device its IDevID (IEEE 802.1AR)", y.make},
		{"The buyer's authority, " + demoPlant + ", takes that maker's devices", y.open},
		{"The device meets it: one fingerprint is what it was told", y.meet},
		{"It asks what requests are to be like (csrattrs)", y.wishes},
		{"It shows its IDevID and gets an LDevID, tied to the TLS connection", y.enrol},
		{"It renews that with itself and a new key", y.renew},
		{"Somebody else's certificate, in the same names as the LDevID, gets nothing", y.stranger},
	}
}

func (y *yard) close() {
	if y.daemon == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := y.daemon.Close(ctx); err != nil {
		y.program.warn("%s did not stop cleanly: %v", demoPlant, err)
	}
}

// make plays the factory.
func (y *yard) make(context.Context) (string, error) {
	name, err := asn1.Marshal(pkix.Name{Organization: []string{"Widget Works"}, CommonName: "Widget Works Devices"}.ToRDNSequence())
	if err != nil {
		return "", err
	}
	if y.maker, err = newDemoCA(name); err != nil {
		return "", err
	}
	if err := os.WriteFile(y.path("maker.pem"), install.EncodeCertificates(y.maker.cert), 0o644); err != nil {
		return "", err
	}
	module, err := hardwareModule(demoSerial)
	if err != nil {
		return "", err
	}
	cert, err := y.maker.certify(x509.Certificate{
		Subject:  pkix.Name{Organization: []string{"Widget Works"}, SerialNumber: demoSerial},
		NotAfter: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), // RFC 5280 §4.1.2.5
		KeyUsage: x509.KeyUsageDigitalSignature, ExtraExtensions: []pkix.Extension{module},
	}, y.path("idevid"))
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("serial number %s, a HardwareModuleName, valid until %s", cert.Subject.SerialNumber, day(cert.NotAfter)), nil
}

const demoPlantProfile = `# Made by chancery demo.
summary = "machines of the plant"
rooms = ["est"]
identifiers = ["dns"]
evidence = ["client-certificate"]
keys = ["ecdsa-p384"]
key_usage = ["digital-signature"]
ext_key_usage = ["client-auth"]
life = "30d"
max_life = "90d"
backdate = "1h"
subject.take = ["serial_number"]
`

const demoPlantConfig = `# Made by chancery demo.
data = "%[1]s"
profiles = "profiles"

[listen]
public = "127.0.0.1:%[2]d"

[url]
base = "https://%[1]s"
status = "http://%[1]s:%[2]d"

[hierarchy]
organization = "%[1]s"
domains = ["demo.test"]

[[est.maker]]
name = "%[3]s"
roots = "maker.pem"
revocation = "none"           # this maker publishes no CRL

[[est.label]]
name = "machines"             # https://%[1]s/.well-known/est/machines
profile = "machine"
accept = ["maker", "certificate"]
makers = ["%[3]s"]
names = ["{serial}.demo.test", "SN={serial}"]
require_linking = true        # each request tied to its TLS connection
`

func (y *yard) open(ctx context.Context) (string, error) {
	port, err := freePort()
	if err != nil {
		return "", err
	}
	if err := os.Mkdir(y.path("profiles"), 0o700); err != nil {
		return "", err
	}
	file := y.path(demoPlant + ".toml")
	if err := errors.Join(os.WriteFile(y.path("profiles/machine.toml"), []byte(demoPlantProfile), 0o600),
		os.WriteFile(file, fmt.Appendf(nil, demoPlantConfig, demoPlant, port, demoMaker), 0o600)); err != nil {
		return "", err
	}
	c, _, err := config.Load(file, config.Overrides{}, nil)
	if err != nil {
		return "", err
	}
	y.daemon, err = daemon.Start(ctx, daemon.Options{Config: c, ConfigPath: file, Logger: slog.New(slog.NewTextHandler(y.log, nil))})
	if err != nil {
		return "", err
	}
	y.door, y.anchor = fmt.Sprintf("127.0.0.1:%d", port), y.daemon.Roots()[0]
	return "label machines: " + demoMaker + "'s devices, each for its own serial number", nil
}

// state gives a device, in a directory of its own; it reaches the server where the
// DNS would say.
func (y *yard) state(directory, identity string) (*device.Device, error) {
	var dialer net.Dialer
	d, err := device.Open(y.path(directory), device.Options{
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, y.door)
		},
		Observe: func(e device.Event) { fmt.Fprintf(y.log, "%s: %s: %s\n", directory, e.Kind, e.Message) },
	})
	if err != nil {
		return nil, err
	}
	return d, y.locked(d, func(s *device.Settings) (err error) {
		s.Server, s.Label, s.DNS = demoPlant, "machines", []string{demoSerial + "." + demoZone}
		s.Subject, err = asn1.Marshal(pkix.Name{SerialNumber: demoSerial}.ToRDNSequence())
		s.Maker = &device.Files{Cert: y.path(identity + ".pem"), Key: y.path(identity + ".key")}
		return err
	}, func(*device.State) error { return nil })
}

// locked does something with a device's state.
func (y *yard) locked(d *device.Device, change func(*device.Settings) error, do func(*device.State) error) error {
	unlock, err := d.Lock(context.Background())
	if err != nil {
		return err
	}
	defer unlock()
	s, err := d.Configure(change)
	if err != nil {
		return err
	}
	return do(s)
}

func unchanged(*device.Settings) error { return nil }

// meet has the device refuse a root with another fingerprint, and take the right one
// (RFC 7030 §4.1.1).
func (y *yard) meet(ctx context.Context) (string, error) {
	var err error
	if y.device, err = y.state("device", "idevid"); err != nil {
		return "", err
	}
	right, wrong := est.Fingerprint(y.anchor.Raw, "sha256"), est.Fingerprint(y.maker.cert.Raw, "sha256")
	err = y.locked(y.device, unchanged, func(s *device.State) error {
		if err := y.device.Bootstrap(ctx, s, wrong); err == nil {
			return errors.New("a root with another fingerprint was taken")
		}
		return y.device.Bootstrap(ctx, s, right)
	})
	return fmt.Sprintf("another one is refused; trusted is %.30s...", right), err
}

func (y *yard) wishes(ctx context.Context) (text string, err error) {
	err = y.locked(y.device, unchanged, func(s *device.State) error {
		list, err := y.device.Wishes(ctx, s, device.Ask{})
		if err != nil {
			return err
		}
		w, err := est.Want(list)
		if err == nil && (w.Key != "ecdsa-p384" || !w.IdentityLinking || !w.Template) {
			err = fmt.Errorf("the server wants %+v", w)
		}
		text = "a template (RFC 9908): a key of " + w.Key + "; and proof of the connection (RFC 7894)"
		return err
	})
	return text, err
}

func (y *yard) enrol(ctx context.Context) (string, error) {
	var got *device.Outcome
	err := y.locked(y.device, unchanged, func(s *device.State) (err error) {
		got, err = y.device.Enroll(ctx, s, device.Ask{})
		return err
	})
	if err != nil {
		return "", err
	}
	if !got.Linked || got.Server.Version != tls.VersionTLS13 || got.Server.Verified != est.ByExplicit {
		return "", fmt.Errorf("the request was tied to its connection: %t, over %s, of a server verified by %s anchors", got.Linked, tls.VersionName(got.Server.Version), got.Server.Verified)
	}
	if y.first, err = y.machine(); err != nil {
		return "", err
	}
	by, err := y.recorded(ctx, y.first)
	if err == nil && !strings.HasPrefix(by, "maker:"+demoMaker) {
		err = fmt.Errorf("the authority's record says that %q asked", by)
	}
	return fmt.Sprintf("%s, by tls-exporter; asked by %.25s...", describe(y.first), by), err
}

// machine gives the certificate in use, verified as a relying party does that was told of
// the authority's root alone.
func (y *yard) machine() (*x509.Certificate, error) {
	b, err := y.device.Bundle()
	if err != nil {
		return nil, err
	}
	o := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), DNSName: demoSerial + "." + demoZone, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	o.Roots.AddCert(y.anchor)
	for _, c := range b.Chain[1:] {
		o.Intermediates.AddCert(c)
	}
	if _, err := b.Chain[0].Verify(o); err != nil {
		return nil, err
	}
	if kind := b.Chain[0].Subject.SerialNumber + " " + install.KeyType(b.Chain[0].PublicKey); kind != demoSerial+" ecdsa-p384" {
		return nil, fmt.Errorf("the certificate is for %s", kind)
	}
	return b.Chain[0], nil
}

// recorded tells who asked for a certificate, by the authority's records.
func (y *yard) recorded(ctx context.Context, c *x509.Certificate) (string, error) {
	office := admin.Dial(admin.SocketPath(y.path(demoPlant)))
	defer office.Close()
	shown, err := admin.Call[desk.Which, desk.Whole](ctx, office, "cert.show", desk.Which{Certificate: c.Raw})
	return shown.By, err
}

func (y *yard) renew(ctx context.Context) (string, error) {
	var got *device.Outcome
	err := y.locked(y.device, unchanged, func(s *device.State) (err error) {
		got, err = y.device.Reenroll(ctx, s, device.Ask{})
		return err
	})
	if err != nil {
		return "", err
	}
	second, err := y.machine()
	if err != nil {
		return "", err
	}
	if !got.Linked || !got.Shown || second.Equal(y.first) || bytes.Equal(second.RawSubjectPublicKeyInfo, y.first.RawSubjectPublicKeyInfo) || !slices.Equal(second.DNSNames, y.first.DNSNames) {
		return "", errors.New("the renewed certificate is not another one with another key for the same names")
	}
	by, err := y.recorded(ctx, second)
	if err == nil && !strings.HasPrefix(by, "certificate:") {
		err = fmt.Errorf("the authority's record says that %q asked", by)
	}
	return fmt.Sprintf("%s; asked by %.25s...", describe(second), by), err
}

// stranger shows a certificate of an authority that has the name of the plant's issuer,
// in the name of the device's LDevID: names prove nothing, and each kind of anchors
// verifies its own (RFC 7030 §3.3.2).
func (y *yard) stranger(ctx context.Context) (string, error) {
	namesake, err := newDemoCA(y.first.RawIssuer)
	if err != nil {
		return "", err
	}
	_, err = namesake.certify(x509.Certificate{RawSubject: y.first.RawSubject, DNSNames: y.first.DNSNames, NotAfter: y.first.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: y.first.ExtKeyUsage}, y.path("stranger"))
	if err != nil {
		return "", err
	}
	d, err := y.state("stranger", "stranger")
	if err != nil {
		return "", err
	}
	err = y.locked(d, unchanged, func(s *device.State) error {
		_, err := d.Enroll(ctx, s, device.Ask{Fingerprint: est.Fingerprint(y.anchor.Raw, "sha256")})
		return err
	})
	refused, ok := errors.AsType[*est.StatusError](err)
	if !ok || refused.Status != http.StatusForbidden {
		return "", fmt.Errorf("it was not refused as it should be: %w", err)
	}
	words, _, _ := strings.Cut(refused.Text, ":")
	return fmt.Sprintf("%d: %.70s", refused.Status, words), nil
}

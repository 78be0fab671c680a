package lint

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/zmap/zcrypto/x509"
)

func TestParse(t *testing.T) {
	tests := []struct {
		names     []string
		has, lack string
	}{
		{[]string{"rfc"}, "e_serial_number_not_positive", "w_rfc_dnsname_underscore_in_trd"},
		{[]string{"rfc"}, "chancery_serial_entropy", "e_server_cert_valid_time_longer_than_47_days"},
		{[]string{"RFC"}, "e_crl_has_next_update", ""},
		{[]string{"rfc", "w_rfc_dnsname_underscore_in_trd"}, "w_rfc_dnsname_underscore_in_trd", ""},
		{[]string{"rfc5280"}, "w_rfc_dnsname_underscore_in_trd", "chancery_serial_entropy"},
		{[]string{"-chancery_serial_entropy", "rfc"}, "chancery_rsa_key_size", "chancery_serial_entropy"},
		{[]string{"rfc", "-chancery"}, "e_serial_number_not_positive", "chancery_rsa_key_size"},
		{[]string{"public-web"}, "e_server_cert_valid_time_longer_than_47_days", "chancery_serial_entropy"},
		{[]string{"chancery_crl_number"}, "chancery_crl_number", "chancery_rsa_key_size"},
		{nil, "", "chancery_rsa_key_size"},
	}
	for _, test := range tests {
		set, err := Parse(test.names)
		if err != nil {
			t.Errorf("%q: %v", test.names, err)
			continue
		}
		names := set.Names()
		if test.has != "" && !slices.Contains(names, test.has) {
			t.Errorf("%q lacks %s", test.names, test.has)
		}
		if slices.Contains(names, test.lack) {
			t.Errorf("%q has %s", test.names, test.lack)
		}
		if again, _ := Parse(test.names); again != set {
			t.Errorf("%q was filtered twice", test.names)
		}
	}
}

// Every name that stands for many lints must stand for some, and every lint
// must be reachable through a source, or the table is out of date.
func TestSourcesAreComplete(t *testing.T) {
	reached := map[*rule]bool{}
	for name := range sources {
		rules, err := find(name)
		if err != nil || len(rules) == 0 {
			t.Errorf("%s: %d rules, %v", name, len(rules), err)
		}
		for _, r := range rules {
			reached[r] = true
		}
	}
	for _, r := range known().sorted {
		if !reached[r] {
			t.Errorf("%s of %s is in no source", r.name, r.source)
		}
	}
	for name := range unfit {
		if known().byName[name] == nil {
			t.Errorf("%s does not exist any more", name)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	tests := []struct{ name, nearest string }{
		{"rfcs", "rfc"}, {"-cabf-br", "cabf_br"}, {"chancery_serial_entrpy", "chancery_serial_entropy"},
		{"mozila", "mozilla"}, {"E_SERIAL_NUMBER_NOT_POSITIVE", "e_serial_number_not_positive"},
	}
	for _, test := range tests {
		var unknown *UnknownError
		if _, err := Parse([]string{"rfc", test.name}); !errors.As(err, &unknown) || unknown.Nearest != test.nearest {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	if _, err := Parse([]string{"-rfc"}); err == nil {
		t.Error("a list that only takes away was accepted")
	}
	if _, err := Parse([]string{""}); err == nil {
		t.Error("an empty name was accepted")
	}
}

func TestPanicIsAnError(t *testing.T) {
	set := must(Parse([]string{"rfc"}))
	broken := &rule{name: "broken", certificate: func(*x509.Certificate) outcome { panic("no luck") }}
	set = &Set{certificate: append(slices.Clone(set.certificate), broken)}
	_, err := run(set.certificate, func(r *rule) outcome {
		if r == broken {
			return r.certificate(nil)
		}
		return outcome{Warn, "x"}
	})
	var panicked *PanicError
	if !errors.As(err, &panicked) || panicked.Lint != "broken" || !strings.Contains(err.Error(), "no luck") {
		t.Fatalf("got %v", err)
	}
}

// zlint's lints break down without a certificate, and zlint itself catches it.
func TestZlintPanicIsAnError(t *testing.T) {
	set := must(Parse([]string{"rfc5280"}))
	findings, err := run(set.certificate, func(r *rule) outcome { return r.certificate(nil) })
	var panicked *PanicError
	if !errors.As(err, &panicked) || findings != nil {
		t.Fatalf("got %v, %v", findings, err)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

package est

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"testing"
	"time"
)

func marshalSEC1(key crypto.Signer) ([]byte, error) {
	return x509.MarshalECPrivateKey(key.(*ecdsa.PrivateKey))
}

func marshalPKCS1(key crypto.Signer) []byte {
	return x509.MarshalPKCS1PrivateKey(key.(*rsa.PrivateKey))
}

func FuzzParseServerKey(f *testing.F) {
	der, err := marshalSEC1(pairs()["ecdsa-p256"])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(der)
	f.Add(marshalPKCS1(pairs()["rsa-2048"]))
	f.Fuzz(func(t *testing.T, der []byte) {
		if key, err := ParseServerKey(der); err == nil && key.Public() == nil {
			t.Fatal("a key without its public half")
		}
	})
}

var testMoment = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

func FuzzRetryAfter(f *testing.F) {
	f.Add("120")
	f.Add("Sun, 22 Nov 2026 10:05:00 GMT")
	f.Fuzz(func(t *testing.T, header string) {
		if wait, ok := RetryAfter(header, testMoment); ok && (wait < 0 || wait > retryMax) {
			t.Fatalf("%q: %v", header, wait)
		}
	})
}

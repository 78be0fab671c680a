package estserver

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
)

// The algorithms of Digest as [Credential.HA1] names them (RFC 7616 §3.3).
const (
	algorithmMD5    = "MD5"
	algorithmSHA256 = "SHA-256"
)

// DigestHA1 gives H(user:realm:password) under each algorithm, hex: what
// [Credential.HA1] keeps (RFC 7616 §3.4.2).
func DigestHA1(user, realm, password string) map[string]string {
	all := map[string]string{}
	for algorithm, hash := range digestHashes {
		all[algorithm] = hash(user + ":" + realm + ":" + password)
	}
	return all
}

var digestHashes = map[string]func(string) string{
	algorithmMD5:    func(s string) string { sum := md5.Sum([]byte(s)); return hex.EncodeToString(sum[:]) },
	algorithmSHA256: func(s string) string { sum := sha256.Sum256([]byte(s)); return hex.EncodeToString(sum[:]) },
}

// digestsOf gives the algorithms of Digest by which a password can log in in the present
// realm. One that was made before Digest was turned on, or under another realm, has none.
func (s *Server) digestsOf(k *Credential) []string {
	all := []string{}
	for _, algorithm := range []string{algorithmSHA256, algorithmMD5} {
		if k.HA1[algorithm] != "" && k.Realm == s.Realm {
			all = append(all, algorithm)
		}
	}
	return all
}

// undigestedMost is how many passwords [Server.undigested] looks at.
const undigestedMost = 10_000

// undigested counts the passwords that are good still and have no form for Digest, while
// it is offered.
func (s *Server) undigested(ctx context.Context) (n int, err error) {
	if s.Digest == DigestOff {
		return 0, nil
	}
	const page = 1000
	cursor := ""
	for range undigestedMost / page {
		list, next, err := s.Credentials.ListCredentials(ctx, cursor, page)
		if err != nil {
			return n, err
		}
		for i := range list {
			k := &list[i]
			if k.ended(s.Clock()) || len(s.digestsOf(k)) > 0 {
				continue
			}
			if k.OneTime {
				if one, err := s.oneTimeShown(ctx, k); err != nil || one.State == StateSpent {
					continue
				}
			}
			n++
		}
		if cursor = next; next == "" {
			break
		}
	}
	return n, nil
}

// challenge sets WWW-Authenticate (RFC 9110 §11.6.1), spelt so: libest finds no field
// of another case, so it is not put in canonical form. With Digest on, Basic is taken
// from whoever sends it unasked, but not offered.
func (s *Server) challenge(h http.Header, stale bool) {
	var all []string
	end := ""
	if stale {
		end = ", stale=true"
	}
	switch s.Digest {
	case DigestMD5:
		// First and without an algorithm, which means MD5 (RFC 7616 §3.3): Bouncy Castle
		// cannot read one, and libest takes the first challenge or none.
		all = append(all, fmt.Sprintf(`Digest qop="auth", realm="%s", nonce="%s"%s`, s.Realm, s.Nonces.Mint(), end))
		fallthrough
	case DigestSHA256:
		all = append(all, fmt.Sprintf(`Digest qop="auth", realm="%s", nonce="%s", algorithm=SHA-256%s`, s.Realm, s.Nonces.Mint(), end))
	default:
		all = append(all, fmt.Sprintf(`Basic realm="%s", charset="UTF-8"`, s.Realm))
	}
	h["WWW-Authenticate"] = all
}

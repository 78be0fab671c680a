package cmc

import (
	"bytes"
	"crypto"
	"math/big"
)

// Publish is the control that makes these certificates, DER, trust anchors: by their
// SHA-256 (RFC 5272 §6.15). The sequence number is higher than any before.
func Publish(sequence *big.Int, certificates ...[]byte) (PublishTrustAnchors, error) {
	f, err := functionOf(crypto.SHA256)
	if err != nil {
		return PublishTrustAnchors{}, err
	}
	v := PublishTrustAnchors{Sequence: sequence, Hash: f.algorithm()}
	for _, der := range certificates {
		v.Hashes = append(v.Hashes, f.sum(der))
	}
	return v, nil
}

// Anchors picks the certificates, DER, whose hashes the control has, in its order; missing
// are the hashes that none has, whose certificates have to come from elsewhere
// (RFC 5272 §6.15). Whether the signer may publish, whether the time of the signature
// is near and the sequence number is higher are for the caller to check.
func (v PublishTrustAnchors) Anchors(certificates [][]byte, o Options) (found, missing [][]byte, err error) {
	f, err := o.digest(v.Hash)
	if err != nil {
		return nil, nil, err
	}
	sums := make([][]byte, len(certificates))
	for i, der := range certificates {
		sums[i] = f.sum(der)
	}
hashes:
	for _, want := range v.Hashes {
		for i := range sums {
			if bytes.Equal(sums[i], want) {
				found = append(found, certificates[i])
				continue hashes
			}
		}
		missing = append(missing, want)
	}
	return found, missing, nil
}

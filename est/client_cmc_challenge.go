package est

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"

	"chancery/cms/cmc"
)

// askChallenge says that possession is going to be proved by a challenge (RFC 4211 §4.2).
func (m *fullMessage) askChallenge(message *cmc.CertReqMsg) error {
	public := m.public()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return because(Unsupported, "the key cannot be certified", err)
	}
	message.Request.Template.PublicKey = der
	later := cmc.ChallengeResponse
	way := &cmc.POPPrivKey{Subsequent: &later}
	message.POP = &cmc.POP{KeyAgreement: way}
	if _, ok := public.(*rsa.PublicKey); ok {
		message.POP = &cmc.POP{KeyEncipherment: way}
	}
	m.sealed = message
	return nil
}

// prove answers the server's challenge: the next message holds the same request, and the
// proof that its key could read the challenge (RFC 5272 §6.7).
func (m *fullMessage) prove(a *FullAnswer) error {
	if m.sealed == nil {
		return &AnswerError{Operation: FullCMC, Reason: "challenges a key that can sign"}
	}
	proof, err := a.challenge.Open(m.Sealed, cmc.Options{})
	if err != nil {
		return &AnswerError{Operation: FullCMC, Reason: "holds a challenge that the key cannot answer", Err: err}
	}
	answer, err := a.challenge.Answer(proof, cmc.Request{ID: m.sealed.Request.ID, CRMF: m.sealed}, cmc.Options{})
	if err != nil {
		return &AnswerError{Operation: FullCMC, Reason: "holds a challenge that cannot be answered", Err: err}
	}
	m.answer, m.answers = &answer, a.nonce
	m.nonce = make([]byte, 16)
	_, _ = rand.Read(m.nonce) // it never fails
	return nil
}

package estserver

import (
	"context"
	"net/http"
	"unicode/utf8"

	"chancery/cms/cmc"
	"chancery/est"
	"chancery/internal/ca"
)

// readPassphrase takes revocationChallenge from a request that has one, and says so in the
// record; a *est.Error when it is no text (RFC 7894 §3.2). One that can be guessed is
// refused: whoever guesses it revokes the certificate.
func (a *Ask) readPassphrase(p *est.Parsed) error {
	text, has, err := p.RevocationChallenge()
	if err != nil || !has {
		return err
	}
	if n := utf8.RuneCountInString(text); n < leastPassword {
		return refuse(http.StatusBadRequest, "the request's revocationChallenge has %d characters, and could be guessed: %d are the least; make a random one (openssl rand -hex 16), or send none", n, leastPassword)
	}
	a.Passphrase = text
	return nil
}

// passphraseIn is readPassphrase for a request in a CMC message.
func (a *Ask) passphraseIn(q cmc.Request) error {
	attributes, err := q.Attributes()
	if err != nil {
		return err
	}
	return a.readPassphrase(&est.Parsed{Attributes: attributes}) // a CRMF request has them as controls
}

// hash makes the hash of what shall revoke the certificate, if anything and if that was
// not done: before the certificate, so that none is made when there is no room for it.
func (s *Server) hash(c *call, ask *Ask) error {
	if ask.Passphrase == "" || ask.hashed != "" {
		return nil
	}
	done, err := s.passwords.turn(c)
	if err != nil {
		return err
	}
	defer done()
	ask.hashed = HashPassword(ask.Passphrase)
	return nil
}

// keep stores by what the certificate can be revoked, unless it is what is stored: repeats
// get the same certificate. After a failure the client repeats its request; a key that we
// made comes but once, and is delivered all the same.
func (s *Server) keep(ctx context.Context, c *call, ask *Ask, serial ca.Serial) error {
	if ask.hashed == "" {
		return nil
	}
	ctx = context.WithoutCancel(ctx)
	err := s.keepNew(ctx, c, ask, serial)
	if err == nil || ask.Key != nil {
		return err
	}
	c.log.Error("the passphrase that revokes a certificate could not be kept: revoke it in another way", "serial", serial, "error", err)
	if err := s.Certificates.Note(ctx, c.challengeEvent("lost", serial)); err != nil {
		c.log.Error("that the passphrase was lost could not be recorded either", "serial", serial, "error", err)
	}
	return nil
}

func (s *Server) keepNew(ctx context.Context, c *call, ask *Ask, serial ca.Serial) error {
	k, err := s.Passphrases.Passphrase(ctx, serial)
	switch {
	case ca.KindOf(err) == ca.NotFound:
	case err != nil:
		return err
	case k.Hash == ask.hashed: // of a request that waited
		return nil
	default:
		if same, err := s.passwords.verify(c, ask.Passphrase, k.Hash); same || err != nil {
			return err
		}
	}
	return s.Passphrases.KeepPassphrase(ctx, Passphrase{Serial: serial, Hash: ask.hashed, Created: c.now}, c.challengeEvent("kept", serial))
}

// challengeEvent says what became of a revocationChallenge: kept or lost.
func (c *call) challengeEvent(what string, serial ca.Serial) ca.Event {
	e := c.who.principal().Event(c.now, "certificate.revocation-challenge-"+what, string(serial))
	e.Detail = map[string]string{"label": c.label.Name, "operation": string(c.op), "address": c.address}
	return e
}

// fitsPassphrase tells whether the secret is the one that was given with the request, to
// revoke its certificate (RFC 5272 §6.11).
func (x *exchange) fitsPassphrase(serial ca.Serial, secret []byte) (bool, error) {
	k, err := x.Passphrases.Passphrase(x.ctx(), serial)
	switch {
	case ca.KindOf(err) == ca.NotFound:
		return false, nil
	case err != nil:
		return false, err
	}
	return x.passwords.verify(x.call, string(secret), k.Hash)
}

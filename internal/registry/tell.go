package registry

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"

	"chancery/internal/ca"
)

const (
	lettersAtOnce = 50
	mailTimeout   = time.Minute
	firstAgain    = 2 * time.Minute // more than mailTimeout: nobody else takes up a letter that is being sent
	lastAgain     = time.Hour
	keptHashes    = 8 * sha256.Size
	keptLetters   = 7 * 24 * time.Hour // so long after the end a link says that it ended
)

// Tell sends letters that are due: one call's worth of background work, on each
// replica. A letter is claimed, sent and marked; whoever dies in between leaves it
// to be sent again, so that one may come twice and none is lost. Each sending has
// a secret of its own, of which only the hash is stored, and all of them count. The
// error joins those of the mail system.
func (r *Registry) Tell(ctx context.Context) error {
	if r.Mailer == nil {
		return nil
	}
	now := r.now()
	if last := r.swept.Load(); now.Unix()-last > 3600 && r.swept.CompareAndSwap(last, now.Unix()) {
		if err := r.Store.SweepLetters(ctx, now.Add(-keptLetters)); err != nil {
			return err
		}
	}
	due, err := r.Store.DueLetters(ctx, now, lettersAtOnce)
	if err != nil {
		return err
	}
	var failed []error
	for _, d := range due {
		if err := r.send(ctx, d); err != nil {
			failed = append(failed, err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(failed...)
}

func (r *Registry) send(ctx context.Context, was Due) error {
	secret, hash := newCode()
	if was.Kind == letterBinding {
		secret, hash = newToken()
	}
	next := was
	next.Hashes = append(bytes.Clone(was.Hashes), hash...)
	next.Hashes = next.Hashes[max(0, len(next.Hashes)-keptHashes):]
	next.Tries++
	next.At = r.now().Add(min(lastAgain, firstAgain<<min(was.Tries, 10)))
	if err := r.Store.ClaimLetter(ctx, was, next); err != nil {
		if ca.KindOf(err) == ca.Conflict {
			return nil
		}
		return err
	}
	letter, kind := r.codeLetter(was, secret), "contact.told"
	if was.Kind == letterBinding {
		letter, kind = r.bindingLetter(was, secret), "binding.told"
	}
	mailing, cancel := context.WithTimeout(ctx, mailTimeout)
	defer cancel()
	if err := r.Mailer.Mail(mailing, letter); err != nil {
		return fmt.Errorf("a letter about the %s %s is tried again at %s: %w", was.Kind, was.Subject, next.At.Format(time.RFC3339), err)
	}
	return r.Store.LetterSent(ctx, was, r.event(event{ca.Principal{Room: "registry"}, kind, was.Subject, map[string]string{"address": was.Address}}))
}

// newToken gives a link's secret, 128 bits, and its hash.
func newToken() (string, []byte) {
	token := rand.Text()
	hash := sha256.Sum256([]byte(token))
	return token, hash[:]
}

// Look shows what the link in a letter is about, and confirms nothing. Kind
// NotFound for a token that was not in a letter on that binding.
func (r *Registry) Look(ctx context.Context, id, token string) (Binding, Customer, error) {
	unknown := ca.Errorf(ca.NotFound, "this link is not one that was sent, or it is too old")
	if !ca.WellFormedID(id) || len(token) > 64 {
		return Binding{}, Customer{}, unknown
	}
	all, err := r.Store.LetterHashes(ctx, letterBinding, id)
	if err != nil {
		return Binding{}, Customer{}, err
	}
	if !among(bytes.Join(all, nil), token) {
		return Binding{}, Customer{}, unknown
	}
	b, err := r.Binding(ctx, id)
	if err != nil {
		return Binding{}, Customer{}, err
	}
	c, err := r.Customer(ctx, b.Customer)
	return b, c, err
}

// name is what the authority calls itself in a letter.
func (r *Registry) name() string {
	if r.Name != "" {
		return r.Name
	}
	return "the certification authority at " + r.Base
}

func (r *Registry) bindingLetter(d Due, token string) Letter {
	b := &d.Binding
	var t strings.Builder
	fmt.Fprintf(&t, "An ACME account wants to get certificates on behalf of %q,\na customer of %s.\n\n", b.CustomerName, r.name())
	fmt.Fprintf(&t, "  account     %s\n", b.AccountURL)
	for _, line := range [][2]string{{"its key", b.Thumbprint}, {"domain", b.Domain}, {"contact", b.Contact}} {
		if line[1] != "" {
			fmt.Fprintf(&t, "  %-11s %s\n", line[0], line[1])
		}
	}
	fmt.Fprintf(&t, "  asked at    %s\n\n", b.AskedAt.UTC().Format("2006-01-02 15:04 UTC"))
	if b.Via == ViaDomain {
		t.WriteString("The account has proven that it controls the domain. The contact, if there is one,\nis what it says of itself and was not checked.\n\n")
	} else {
		t.WriteString("ANYBODY CAN CAUSE THIS LETTER: the account only says that this address is its\ncontact, and has proven nothing. Confirm only what you have set up yourself just\nnow, and compare the account's URL with the one that your program shows.\n\n")
	}
	fmt.Fprintf(&t, "If it is yours, open this page, sign in with your passphrase and confirm:\n\n  %s%s%s/%s\n\n", r.Base, BindingPath, b.ID, token)
	fmt.Fprintf(&t, "Opening the page confirms nothing. If the account is not yours, refuse it there, or\ndo nothing: the question ends at %s, and nothing is granted.\n\n", b.ExpiresAt.UTC().Format("2006-01-02 15:04 UTC"))
	fmt.Fprintf(&t, "Beware of phishing: the page is at %s and nowhere else. Nobody will ask you by\nmail or telephone for your passphrase or to confirm this.\n\n", r.Base)
	fmt.Fprintf(&t, "Number of this question: %s\n", b.ID)
	return Letter{To: d.Address, Subject: "Is this ACME account yours? Confirm or refuse", Text: t.String()}
}

func (r *Registry) codeLetter(d Due, code string) Letter {
	return Letter{To: d.Address, Subject: "Your code: is this address yours?", Text: fmt.Sprintf(
		"Somebody at %s entered this address for the customer\n%q. To prove that it is yours, tell them this code:\n\n  %s\n\n"+
			"It is good until %s. If you do not know what this is about, do\nnothing: without the code the address is not used.\n",
		r.name(), d.Binding.CustomerName, code, d.Dies.UTC().Format("2006-01-02 15:04 UTC"))}
}

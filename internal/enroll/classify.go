package enroll

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"time"

	"chancery/acme"
	"chancery/internal/enroll/directory"
	"chancery/internal/enroll/guard"
)

// verdict is a failure, judged.
type verdict struct {
	class  Class
	advice string
	// after is how long the CA asked to be left alone; 0 if it did not.
	after time.Duration
}

// inabilityError is a failure before anything was ordered: the client lacks something.
type inabilityError struct {
	class  Class // ClassUnable, ClassAction or ClassSkipped
	reason string
	advice string
	cause  error // nil: the reason is all
}

func (e *inabilityError) Error() string { return e.reason }
func (e *inabilityError) Unwrap() error { return e.cause }

// localError marks what no CA can be blamed for.
type localError struct{ err error }

func (e *localError) Error() string { return e.err.Error() }
func (e *localError) Unwrap() error { return e.err }

// solverError is a failure to put the answer to a challenge where it is looked for.
type solverError struct{ err error }

func (e *solverError) Error() string { return e.err.Error() }
func (e *solverError) Unwrap() error { return e.err }

// unfinishedError is an order that the CA had not decided when time was up.
type unfinishedError struct {
	what string
	err  error
}

func (e *unfinishedError) Error() string { return e.what + " was not finished in time" }
func (e *unfinishedError) Unwrap() error { return e.err }

// classify is the one place that says what a failure means. ended tells that the run
// itself, and not only the time for this CA, is over.
func classify(err error, ended bool) verdict {
	var (
		inability  *inabilityError
		local      *localError
		solver     *solverError
		unfinished *unfinishedError
		wrong      *WrongError
		found      *directory.Error
		refused    *guard.RefusedError
		problem    *acme.Problem
	)
	switch {
	case err == nil:
		return verdict{}
	case errors.As(err, &local):
		return verdict{class: ClassLocal, advice: "mend this on this machine and run again"}
	case ended:
		return verdict{class: ClassStopped}
	case errors.As(err, &inability):
		return verdict{class: inability.class, advice: inability.advice}
	case errors.As(err, &wrong):
		return verdict{class: ClassWrong, advice: wrong.advice()}
	case errors.As(err, &solver):
		return verdict{class: ClassUser, advice: adviceSolver}
	case errors.As(err, &unfinished):
		return verdict{class: ClassUnfinished, advice: "the order is kept and taken up by the next run; the CA may be waiting for a person to confirm something"}
	case unknownRoot(err):
		return verdict{class: ClassFinal, advice: adviceRoots}
	case errors.As(err, &found):
		return classifyDirectory(found)
	case errors.As(err, &refused):
		return verdict{class: ClassFinal, advice: adviceGuard}
	case errors.As(err, &problem):
		return classifyProblem(err, problem)
	case errors.Is(err, context.DeadlineExceeded):
		return verdict{class: ClassUnavailable, advice: adviceDown}
	}
	// No problem document: no connection, no TLS, or an answer that is not ACME.
	return verdict{class: ClassUnavailable, advice: adviceDown}
}

const (
	adviceDown    = "the CA cannot be reached or does not answer as an ACME server; nothing to do here but to wait, or to look at the network of this machine"
	adviceSolver  = "the answer to the challenge could not be put in place; look at the challenge's settings of this certificate"
	adviceServed  = "the CA looked for the answer to the challenge and did not find it: check that the name points to this machine, that the port is reachable from the Internet or the CA's network, or that the DNS shows the record"
	adviceRoots   = "the certificate of the CA's server leads to no root that is trusted here: if you trust that CA, give its root by --roots FILE, or by roots under [discovery] or under its [[ca]] in client.toml"
	adviceClosed  = "the CA refuses this request; its words above say why. If it closed the account, \"chancery account remove CA\" forgets it here, and the next run makes another"
	adviceGuard   = "a stranger may not send this client there; allow the address in the configuration if it is yours"
	adviceRefused = "the CA refuses this request; its words above say why"
)

// unknownRoot tells that a CA's server showed a certificate that leads to no trusted root.
func unknownRoot(err error) bool {
	_, is := errors.AsType[x509.UnknownAuthorityError](err)
	return is
}

// classifyDirectory judges a failure to get the directory (D10).
func classifyDirectory(e *directory.Error) verdict {
	switch e.Kind {
	case directory.WrongCA:
		return verdict{class: ClassFinal, advice: "the directory does not say that it is this CA's: ask the CA, or set caa_identities = \"ignore\" under its [[ca]] in client.toml if you know better"}
	case directory.Unproven:
		return verdict{class: ClassFinal, advice: "the server could not show by its TLS certificate that it is this CA's: tell the CA, or name the roots that its certificate leads to (\"roots\" under its [[ca]] in client.toml) if you trust them"}
	case directory.Refused:
		return verdict{class: ClassFinal, advice: adviceGuard}
	case directory.NotThere:
		if dns, ok := errors.AsType[*net.DNSError](e); ok && dns.IsNotFound {
			return verdict{class: ClassFinal, advice: "the name of the CA does not exist, as far as this machine's resolver knows (the [dns] servers are for CAA alone): check how the CAA record spells it, or give its directory's URL in the configuration"}
		}
		return verdict{class: ClassFinal, advice: "the CA serves no /.well-known/acme; give its directory's URL in the configuration"}
	case directory.NotADirectory:
		return verdict{class: ClassUnavailable, advice: "what the CA serves is no ACME directory; give its directory's URL in the configuration if it has another"}
	}
	return verdict{class: ClassUnavailable, after: e.RetryAfter, advice: adviceDown}
}

// finals are the ACME errors that are final at a CA, with what to do about them.
var finals = map[string]string{
	acme.TypeRejectedIdentifier:    "the CA does not certify this name; ask it why, or name another CA in CAA",
	acme.TypeUnsupportedIdentifier: "the CA does not certify this form of name",
	acme.TypeCAA:                   "the CA read other CAA records than this client: check that inside and outside see the same DNS, and validationmethods and accounturi",
	acme.TypeBadCSR:                "the CA does not take this key or these names: try another key type",
	acme.TypeBadPublicKey:          "the CA does not take keys of this type: try another",
	acme.TypeBadSignatureAlgorithm: "the CA does not take account keys of this type: set another",
	acme.TypeExternalAccountRequired: "the CA wants an external account binding: get a key identifier and a MAC key from it and enter them " +
		"(chancery account eab add)",
	acme.TypeInvalidProfile:     "the CA does not offer this profile to this account: check profiles for it in the configuration",
	acme.TypeInvalidContact:     "the CA does not take the contact address: correct it",
	acme.TypeUnsupportedContact: "the CA does not take this kind of contact address: correct it",
	acme.TypeMalformed:          "the CA did not understand the request; report this to the CA or to the makers of this client",
}

// served are the ACME errors that say that a challenge was not met.
var served = map[string]bool{
	acme.TypeConnection: true, acme.TypeDNS: true, acme.TypeTLS: true,
	acme.TypeIncorrectResponse: true, acme.TypeUnauthorized: true,
}

// classifyProblem judges what the CA itself said.
func classifyProblem(err error, p *acme.Problem) verdict {
	var authorization *acme.AuthorizationError
	inChallenge := errors.As(err, &authorization)
	switch {
	case p.Type == acme.TypeRateLimited || p.Status == http.StatusTooManyRequests:
		return verdict{class: ClassLimited, after: p.RetryAfter, advice: "the CA limits how often it is asked; it is left alone until then"}
	case p.Type == acme.TypeUserActionRequired:
		return classifyAction(p)
	case inChallenge && served[p.Type]:
		return verdict{class: ClassUser, advice: adviceServed}
	case finals[p.Type] != "":
		return verdict{class: ClassFinal, advice: finals[p.Type]}
	case p.Type == acme.TypeUnauthorized, p.Type == acme.TypeAccountDoesNotExist:
		return verdict{class: ClassFinal, advice: adviceClosed}
	case p.Type == acme.TypeCompound:
		return classifyCompound(p, inChallenge)
	case p.Type == acme.TypeBadNonce, p.Type == acme.TypeServerInternal, p.Status >= 500:
		return verdict{class: ClassUnavailable, after: p.RetryAfter, advice: adviceDown}
	case p.Type == acme.TypeBlank && p.Status != http.StatusForbidden && p.Status != http.StatusUnauthorized:
		return verdict{class: ClassUnavailable, after: p.RetryAfter, advice: adviceDown}
	case p.Type == acme.TypeOrderNotReady:
		return verdict{class: ClassUnavailable, after: p.RetryAfter, advice: adviceDown}
	}
	return verdict{class: ClassFinal, advice: adviceRefused}
}

// classifyAction judges a wish that a person visit a page (RFC 8555 §7.3.3). Only a web
// page is shown as one: what else a stranger writes there is nothing to click on.
func classifyAction(p *acme.Problem) verdict {
	if guard.CheckURL(p.Instance) != nil {
		return verdict{class: ClassAction, advice: "somebody has to do something at the CA, but it names no page on the web that says what: ask it"}
	}
	return verdict{class: ClassAction, advice: "somebody has to visit the page that the CA names: " + guard.Shown(p.Instance)}
}

// classifyCompound judges several reasons: challenges alone make it the user's fault.
func classifyCompound(p *acme.Problem, inChallenge bool) verdict {
	for _, s := range p.Subproblems {
		if !inChallenge || !served[s.Type] {
			if advice := finals[s.Type]; advice != "" {
				return verdict{class: ClassFinal, advice: advice}
			}
			return verdict{class: ClassFinal, advice: adviceRefused}
		}
	}
	return verdict{class: ClassUser, advice: adviceServed}
}

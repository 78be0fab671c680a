package estserver

import (
	"fmt"
	"net/http"

	"chancery/cms"
	"chancery/est"
	"chancery/internal/ca"
)

// simpleEnroll certifies a key for whoever may have the names (RFC 7030 §4.2.1).
func (s *Server) simpleEnroll(c *call) error {
	ask, err := s.asked(c)
	if err != nil {
		return err
	}
	change, err := s.nameChange(c)
	if err != nil {
		return err
	}
	if change != nil {
		// §4.2.1: with a third party's certificate. The request repeats the names of that
		// one (RFC 6402 §2.8), of which some may be no names that are certified here.
		if c.who.Maker == "" {
			return refuse(http.StatusForbidden, "a change of the subject's name is for simplereenroll, or for enrolment with a maker's certificate (RFC 7030 section 4.2.1)")
		}
		if !names(c.request).same(c.who.Certificate) {
			return refuse(http.StatusForbidden, "a request with ChangeSubjectName has the subject and the alternative names of your present certificate, and the new ones in the attribute alone (RFC 6402 section 2.8)")
		}
	}
	return s.enrol(c, ask, change)
}

// simpleReenroll renews or rekeys a certificate (RFC 7030 §4.2.2): subject and
// alternative names MUST be those of the certificate being renewed.
func (s *Server) simpleReenroll(c *call) error {
	ask, err := s.asked(c)
	if err != nil {
		return err
	}
	if ask.Renews, err = s.renewed(c, names(c.request)); err != nil {
		return err
	}
	change, err := s.nameChange(c)
	if err != nil {
		return err
	}
	return s.enrol(c, ask, change)
}

// asked proves possession of the key by the request's signature, whatever key usage is
// asked for (RFC 7030 §4.2.1), and looks at the linking.
func (s *Server) asked(c *call) (Ask, error) {
	if err := c.request.CheckSignature(); err != nil {
		return Ask{}, err
	}
	ask := Ask{Key: c.request.PublicKey, CSR: c.request.DER}
	ask.Detail = map[string]string{}
	if c.label.MACAddress {
		mac, has, err := c.request.MACAddress()
		if err != nil {
			return ask, err
		}
		if has {
			ask.Detail["mac_address"] = clip(mac)
		}
	}
	var err error
	ask.Linking, err = s.link(c)
	return ask, err
}

// nameChange gives the change of name that the request asks for; nil: none.
func (s *Server) nameChange(c *call) (*est.NameChange, error) {
	change, err := c.request.ChangeSubjectName()
	if change != nil && !c.label.ChangeSubject {
		return nil, refuse(http.StatusForbidden, "names cannot be changed here; leave the attribute ChangeSubjectName out")
	}
	return change, err
}

// enrol has the names certified that the request says, or its change of them: a field
// that is absent there empties the subject or removes the alternative names (RFC 6402
// §2.8).
func (s *Server) enrol(c *call, ask Ask, change *est.NameChange) error {
	n := names(c.request)
	if change != nil {
		n = requestNames{subject: change.Subject, san: change.SAN}
		ask.Detail["changed_from"] = rdnText(c.request.RawSubject)
	}
	var err error
	if ask.Subject, err = n.wanted(); err != nil {
		return err
	}
	if n.san != nil {
		if ask.Names, err = ca.NamesOf(n.san); err != nil {
			return err
		}
	}
	if change == nil {
		s.meant(c, n, &ask)
	}
	result, err := s.issue(c.r.Context(), c, ask)
	if err != nil {
		return err
	}
	if result.Pending != nil {
		return c.sendPending(result.Pending)
	}
	return c.sendCertificate(&result.Record)
}

// sendCertificate sends exactly the issued certificate, no chain (RFC 7030 §4.2.3).
func (c *call) sendCertificate(r *ca.Record) error {
	der, err := cms.Bag{Certificates: [][]byte{r.DER}}.Marshal()
	if err != nil {
		return fmt.Errorf("wrapping the certificate %s: %w", r.Serial, err)
	}
	if err := c.send(answer{mediaType: certsOnly, body: der, encode: true}); err != nil {
		// It stands in the ledger; the client asks again and gets one anew.
		c.log.Info("the certificate could not be delivered", "serial", r.Serial, "error", err)
	}
	return nil
}

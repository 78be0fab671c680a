package estserver

// IssueID is the id under which the core knows what was issued upon the request
// ([ca.Ledger.ByRequest]). A one-time password has the same with or without
// approval, so that it is good for one certificate wherever it is used.
func (p Pending) IssueID() string {
	if p.Password != "" {
		return oneTimeID(p.Password)
	}
	return "est:" + p.ID
}

// oneTimeID is the request id of what a one-time password gets: issuance itself spends
// it (RFC 7030 §6), in the intent's transaction.
func oneTimeID(credential string) string { return "est:otp:" + credential }

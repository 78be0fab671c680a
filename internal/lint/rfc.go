package lint

// unfit are the lints that "rfc" leaves out, and why. They can still be asked
// for by name or by their RFC's number. TestLegitimatePasses found them, and
// TestUnfitIsNeeded fails when one no longer gets in the way.
var unfit = map[string]string{
	// RFC 5280 §4.2.1.6 wants dNSName in the preferred name syntax of RFC 1034
	// §3.5, which has no underscore. Inside a company there are Active Directory
	// domains, build hosts and SRV names (RFC 2782) that have one, and every
	// verifier accepts them. Which names may be certified is for the profile.
	"w_rfc_dnsname_underscore_in_trd": "internal host names have underscores",
	"e_rfc_dnsname_underscore_in_sld": "internal domains have underscores",
}

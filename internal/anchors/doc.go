// Package anchors verifies certificates of somebody else's authorities: those that a
// device's maker put into it (IEEE 802.1AR), under the roots that an administrator
// named. It is the Implicit TA database of RFC 7030 §1.1 with the revocation that
// RFC 5280 §6.3 wants.
//
// It says whose a certificate is and whether it is good, never what its holder may
// have. It knows no room and not our own authority: what it verifies counts for nothing
// that a certificate of ours would count for (RFC 7030 §3.3.2).
package anchors

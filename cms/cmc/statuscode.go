package cmc

import (
	"encoding/asn1"
	"fmt"

	tags "golang.org/x/crypto/cryptobyte/asn1"
)

// String is the RFC's name of the status.
func (s Status) String() string {
	return named(int(s), "success", "", "failed", "pending", "noSupport", "confirmRequired", "popRequired", "partial")
}

// String is the RFC's name of the reason.
func (f FailInfo) String() string {
	return named(int(f), "badAlg", "badMessageCheck", "badRequest", "badTime", "badCertId", "unsupportedExt",
		"mustArchiveKeys", "badIdentity", "popRequired", "popFailed", "noKeyReuse", "internalCAError", "tryLater", "authDataFail")
}

func named(n int, names ...string) string {
	if n >= 0 && n < len(names) && names[n] != "" {
		return names[n]
	}
	return fmt.Sprint(n)
}

// OID is id-cmc-statusInfoV2.
func (StatusInfoV2) OID() asn1.ObjectIdentifier { return OIDStatusInfoV2 }

// OID is id-cmc-statusInfo.
func (StatusInfo) OID() asn1.ObjectIdentifier { return OIDStatusInfo }

func (v StatusInfoV2) write(b builder) {
	if count(v.Fail != nil, v.Pend != nil, v.Extended != nil) > 1 {
		b.refuse("statusInfoV2: more than one of fail, pend and extended info")
		return
	}
	b.sequence(func(b builder) {
		b.AddASN1Int64(int64(v.Status))
		b.references(v.Bodies, "statusInfoV2")
		if v.Text != "" || v.emptyText {
			b.text(v.Text, "status string")
		}
		writeOtherInfo(b, v.Fail, v.Pend)
		if e := v.Extended; e != nil {
			tag := tags.SEQUENCE
			if e.tagged {
				tag = constructed(1)
			}
			b.in(tag, func(b builder) {
				b.AddASN1ObjectIdentifier(e.Type)
				b.element(e.Value, "extended fail info")
			})
		}
	})
}

func (v StatusInfo) write(b builder) {
	if v.Fail != nil && v.Pend != nil {
		b.refuse("statusInfo: both fail and pend info")
		return
	}
	b.sequence(func(b builder) {
		b.AddASN1Int64(int64(v.Status))
		b.bodyParts(v.Bodies, some("statusInfo"))
		if v.Text != "" || v.emptyText {
			b.text(v.Text, "status string")
		}
		writeOtherInfo(b, v.Fail, v.Pend)
	})
}

func writeOtherInfo(b builder, fail *FailInfo, pend *PendInfo) {
	if fail != nil {
		b.AddASN1Int64(int64(*fail))
	}
	if pend != nil {
		b.sequence(func(b builder) {
			b.AddASN1OctetString(pend.Token)
			b.generalized(pend.Time, "pend time")
		})
	}
}

func readStatusInfoV2(r *reader) Value {
	var v StatusInfoV2
	r.sub(tags.SEQUENCE, "status", func(r *reader) {
		v.Status = Status(r.small(tags.INTEGER, "status"))
		v.Bodies = r.references("body list")
		v.Text, v.emptyText = readStatusString(r)
		switch {
		case r.next(tags.INTEGER):
			v.Fail = readFailInfo(r)
		case r.next(constructed(1)):
			// RFC 6402's second module tags it; the first and RFC 5272 §6.1.1 do not.
			v.Extended = &ExtendedFailInfo{tagged: true}
			r.sub(constructed(1), "extended fail info", v.Extended.read)
		case r.more():
			r.sub(tags.SEQUENCE, "other info", func(r *reader) {
				if r.next(tags.OBJECT_IDENTIFIER) {
					v.Extended = &ExtendedFailInfo{}
					v.Extended.read(r)
				} else {
					v.Pend = readPendInfo(r)
				}
			})
		}
	})
	return v
}

func readStatusInfo(r *reader) Value {
	var v StatusInfo
	r.sub(tags.SEQUENCE, "status", func(r *reader) {
		v.Status = Status(r.small(tags.INTEGER, "status"))
		v.Bodies = r.bodyParts(some("body list"))
		v.Text, v.emptyText = readStatusString(r)
		switch {
		case r.next(tags.INTEGER):
			v.Fail = readFailInfo(r)
		case r.more():
			r.sub(tags.SEQUENCE, "pend info", func(r *reader) { v.Pend = readPendInfo(r) })
		}
	})
	return v
}

func readStatusString(r *reader) (text string, empty bool) {
	if !r.next(tags.UTF8String) {
		return "", false
	}
	text = r.text("status string")
	return text, text == ""
}

func readFailInfo(r *reader) *FailInfo {
	fail := FailInfo(r.small(tags.INTEGER, "fail info"))
	return &fail
}

func readPendInfo(r *reader) *PendInfo {
	return &PendInfo{Token: r.octets("pend token"), Time: r.generalized("pend time")}
}

func (e *ExtendedFailInfo) read(r *reader) {
	e.Type = r.oid("extended fail info")
	e.Value = r.element("extended fail info")
}

func count(choices ...bool) (n int) {
	for _, set := range choices {
		if set {
			n++
		}
	}
	return n
}

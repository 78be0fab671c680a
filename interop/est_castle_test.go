package interop_test

import (
	"strings"
	"testing"
)

// What Bouncy Castle can do beyond what all clients can: requests bound to the connection
// (of TLS 1.2, as its ESTService fails on others), and waiting.
func TestESTBouncyCastle(t *testing.T) {
	lab := newESTLab(t, estServer)
	c := lab.castle(t)
	old := " tls=TLSv1.2 server=" + lab.at(lab.v2)
	names := func(name string) string {
		return " name=" + name + " cn=" + name + ".iot.example dns=" + name + ".iot.example"
	}

	t.Run("linking", func(t *testing.T) {
		l := lab.on(t)
		c.must(t, "enroll-pop"+names("pop")+castleUser+old, "ok made=false")
		l.sound("pop.pem", "pop.key", "pop.iot.example")
		c.must(t, "enroll-pop label=bound"+names("bound")+castleUser+old, "ok made=false")
		c.must(t, "reenroll-pop label=bound present=bound key=same"+names("bound")+old, "ok made=false")
		l.sound("bound.pem", "bound.key", "bound.iot.example")
		if said := c.does(t, "enroll label=bound"+names("loose")+castleUser+old); !strings.HasPrefix(said, "error") || !strings.Contains(said, "status 403") {
			t.Errorf("without what label bound demands Bouncy Castle says %s", said)
		}
		if n := strings.Count(lab.said.String(), `linking="tls-unique by challengePassword"`); n != 3 {
			t.Errorf("%d certificates are said to be linked", n)
		}
		if said := c.must(t, "csrattrs label=bound", "ok "); !strings.Contains(said, "1.2.840.113549.1.9.7") {
			t.Errorf("csrattrs of a label that demands linking: %s", said)
		}
	})
	t.Run("wrong password", func(t *testing.T) {
		if said := c.does(t, "enroll"+names("wrong")+" user="+estUser+" password=wrong"); !strings.HasPrefix(said, "error") || !strings.Contains(said, "401") {
			t.Errorf("Bouncy Castle says %s", said)
		}
	})
	t.Run("one-time password", func(t *testing.T) {
		l := lab.on(t)
		password := l.oneTime("line", "--name", "*.iot.example")
		c.must(t, "enroll"+names("once")+" user=line password="+password, "ok made=false")
		l.sound("once.pem", "once.key", "once.iot.example")
		if said := c.does(t, "enroll"+names("twice")+" user=line password="+password); !strings.HasPrefix(said, "error") {
			t.Errorf("a password of one certificate got two: %s", said)
		}
	})
	t.Run("approval", func(t *testing.T) {
		l := lab.on(t)
		const waits = "202 later=true"
		c.must(t, "enroll label=manual"+names("late")+castleUser, waits)
		c.must(t, "enroll key=same label=manual"+names("late")+castleUser, waits)
		l.decide("approve")
		// The request again, as it was: its Digest is of another nonce by then.
		c.must(t, "enroll key=same label=manual"+names("late")+castleUser, "ok made=false")
		l.sound("late.pem", "late.key", "late.iot.example")
		// Bound to each connection anew, so that no octets are the same, it is still known.
		c.must(t, "enroll-pop label=manual"+names("late2")+castleUser+old, waits)
		c.must(t, "enroll-pop key=same label=manual"+names("late2")+castleUser+old, waits)
		l.decide("approve")
		c.must(t, "enroll-pop key=same label=manual"+names("late2")+castleUser+old, "ok made=false")
		l.sound("late2.pem", "late2.key", "late2.iot.example")
		c.must(t, "enroll label=manual"+names("never")+castleUser, waits)
		l.decide("refuse", "--reason", "no such device")
		if said := c.does(t, "enroll key=same label=manual"+names("never")+castleUser); !strings.HasPrefix(said, "error") || !strings.Contains(said, "status 403") {
			t.Errorf("Bouncy Castle says %s", said)
		}
	})
}

// A server that asks for passwords by Basic, and has a person approve what clients ask
// for that know no labels.
func TestESTBasicAndApproval(t *testing.T) {
	lab := newESTLab(t, estManual)
	c := lab.castle(t)
	t.Run("Bouncy Castle", func(t *testing.T) {
		l := lab.on(t)
		const who = " name=basic cn=basic.iot.example dns=basic.iot.example"
		c.must(t, "enroll"+who+castleUser, "202 later=true")
		l.decide("approve")
		// Its own way to ask again, which repeats the request to the octet, password included.
		c.must(t, "again name=basic", "ok made=false")
		l.sound("basic.pem", "basic.key", "basic.iot.example")
		// Only the first certificate needs a person.
		c.must(t, "reenroll key=same present=basic"+who, "ok made=false")
	})
	t.Run("strongSwan", func(t *testing.T) { strongSwanPolls(t, lab.on(t)) })
	t.Run("curl", func(t *testing.T) {
		l := lab.on(t)
		l.request("basic2")
		got := l.post("simpleenroll", "basic2").is(t, 401)
		if ways := got.field("WWW-Authenticate"); len(ways) != 1 || ways[0] != `Basic realm="EST", charset="UTF-8"` || got.body != "" {
			t.Errorf("the challenge is %q with the body %q", ways, got.body)
		}
		got = l.post("simpleenroll", "basic2", "-u", estUser+":"+estPassword)
		got.says(t, 202, "waits for an administrator's approval")
		if wait := got.field("Retry-After"); len(wait) != 1 || wait[0] != "1" {
			t.Errorf("Retry-After is %q", wait)
		}
		l.decide("refuse", "--reason", "no such device")
		l.post("simpleenroll", "basic2", "-u", estUser+":"+estPassword).says(t, 403, "no such device")
	})
}

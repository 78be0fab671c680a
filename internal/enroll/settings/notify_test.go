package settings_test

import (
	"fmt"
	"testing"

	"chancery/internal/enroll/settings"
	"chancery/internal/notify"
)

// What the settings accept is what notices are sent by: the client may not find
// out when the first one is due. This room may not import notify, so it has the
// rules once more; here they are held together.
func TestNotifyAgrees(t *testing.T) {
	accepted := func(section, key, value string) bool {
		_, err := settings.Parse("/c.toml", fmt.Appendf(nil, "[notify.%s]\n%s = %q\n", section, key, value), nil)
		return err == nil
	}
	for value, want := range map[string]bool{
		"https://chat.example.org/hooks/1": true, "https://192.0.2.1/": true, "https://chat.example.org:8443/x?y=z": true,
		"http://127.0.0.1:8080/x": true, "http://localhost/x": true, "http://[::1]:9/x": true, "http://127.9.9.9/": true,
		"http://chat.example.org/hooks/1": false, "http://192.0.2.1/": false, "http://10.0.0.1/": false, "http://localhost.example/": false,
		"ftp://chat.example.org/": false, "chat.example.org": false, "https:///x": false, "http:///x": false, "https://%zz/": false,
	} {
		_, err := notify.Webhook{URL: value}.Channel()
		if got := accepted("webhook", "url", value); got != want || (err == nil) != want {
			t.Errorf("webhook %s: settings accept it: %t, notices: %v; want %t", value, got, err, want)
		}
	}
	for value, want := range map[string]bool{
		"udp://log.example:514": true, "tcp://192.0.2.1:601": true, "tls://log.example:6514": true, "unix:///dev/log": true,
		"udp://log.example": true, "tcp://[2001:db8::1]": true, "tls://log.example": true,
		"udp://log.example:514/": false, "tls://u:p@log.example": false, "unix://log.example/dev/log": false, "unix://": false,
		"log.example:514": false, "https://log.example": false, "udp://": false, "udp://:514": false, "/dev/log": false,
	} {
		_, err := notify.Syslog{Server: value}.Channel()
		if got := accepted("syslog", "server", value); got != want || (err == nil) != want {
			t.Errorf("syslog %s: settings accept it: %t, notices: %v; want %t", value, got, err, want)
		}
	}
}

func TestMailAgrees(t *testing.T) {
	for name, test := range map[string]struct {
		mail notify.SMTP
		want bool
	}{
		"plain":              {notify.SMTP{Server: "mail.example:587", From: "ca@example.org"}, true},
		"with a name":        {notify.SMTP{Server: "mail.example:587", From: "CA <ca@example.org>"}, true},
		"without a port":     {notify.SMTP{Server: "mail.example", From: "ca@example.org"}, false},
		"from nobody":        {notify.SMTP{Server: "mail.example:587", From: "the CA"}, false},
		"log-in":             {notify.SMTP{Server: "mail.example:465", From: "ca@example.org", TLS: notify.ImplicitTLS, User: "u"}, true},
		"log-in in plain":    {notify.SMTP{Server: "127.0.0.1:25", From: "ca@example.org", TLS: notify.NoTLS, User: "u"}, false},
		"here":               {notify.SMTP{Server: "127.0.0.1:25", From: "ca@example.org", TLS: notify.NoTLS}, true},
		"unknown encryption": {notify.SMTP{Server: "127.0.0.1:25", From: "ca@example.org", TLS: "ssl"}, false},
	} {
		text := fmt.Sprintf("[notify.mail]\nto = ['a@example.org']\nserver = %q\nfrom = %q\nuser = %q\n", test.mail.Server, test.mail.From, test.mail.User)
		if test.mail.User != "" {
			text += "password = 'file:/x'\n"
			test.mail.Password = func() (string, error) { return "x", nil }
		}
		if test.mail.TLS != "" {
			text += fmt.Sprintf("security = %q\n", test.mail.TLS)
		}
		_, err := settings.Parse("/c.toml", []byte(text), nil)
		if said := test.mail.Check(); (err == nil) != test.want || (said == nil) != test.want {
			t.Errorf("%s: settings: %v; notices: %v; want accepted: %t", name, err, said, test.want)
		}
	}
}

package registry

import "context"

// Letter is a mail to one address.
type Letter struct {
	To      string
	Subject string
	Text    string // UTF-8, lines end in "\n"
}

// Mailer hands letters to a mail system. When Mail returns nil, the letter is in
// that system's hands; after an error it is tried again later.
type Mailer interface {
	Mail(ctx context.Context, l Letter) error
}

// Texts looks up TXT records; internal/resolver fits. The text of its errors is for
// the person who has to mend the DNS, and is shown to him.
type Texts interface {
	TXT(ctx context.Context, name string) ([]string, error)
}

// BindingPath is where, below Config.Base, letters point: BindingPath + ID + "/"
// + TOKEN. The token stands in the path, not the fragment, so that the page works
// without a script. It opens a view of that one question and nothing more: to
// decide needs the customer's passphrase. The page must send
// "Referrer-Policy: no-referrer" and keep its path out of access logs.
const BindingPath = "/account/binding/"

package main

import (
	"context"

	"chancery/internal/enroll/device"
	"chancery/internal/enroll/install"
	"chancery/internal/plain"
	"chancery/internal/token"

	"github.com/spf13/cobra"
)

// addKeyIn defines where keys are made.
func (f *estFlags) addKeyIn(cmd *cobra.Command) {
	estTexts(cmd, textFlag{&f.keyIn, "key-in", "make the key, and those of renewals, in this token or TPM, which they never leave: `NAME` as pkcs11:token=T?module-path=/…&pin-source=file:/…, or tpm: ('' for files)"})
}

// estOwnKey reads the key that is to be certified, or its name.
func (p *program) estOwnKey(f *estFlags, ask *device.Ask) error {
	if f.ownKey == "" {
		return nil
	}
	if token.IsName(f.ownKey) {
		ref, err := token.Parse(f.ownKey)
		if err != nil {
			return badInput("--own-key: %v", err)
		}
		ask.Token, f.ownToken = &ref, true
		return nil
	}
	text, whose, err := p.readJudged(f.ownKey)
	if err != nil {
		return err
	}
	defer clear(text)
	ref, named, err := token.ParseFile(text)
	if named && whose != nil { // its library would be loaded, and get the PIN that it says
		return badInput("%s names a key in a token or TPM, and others could have written that: name the key itself, --own-key pkcs11:… or tpm:…, if it is yours (%v)", f.ownKey, whose)
	}
	if err != nil {
		return badInput("%s: %v", f.ownKey, err)
	}
	if named {
		ask.Token, f.ownToken = &ref, true
		return nil
	}
	if ask.Key, err = install.ParseKey(text); err != nil {
		return badInput("%s: %v", f.ownKey, err)
	}
	return nil
}

// askPIN reads the PIN of a token, or a TPM's key, from the terminal, unseen.
func (p *program) askPIN(_ context.Context, of string) ([]byte, error) {
	word, err := p.askPassword("PIN of " + plain.Line(of, 300) + ": ")
	return []byte(word), err
}

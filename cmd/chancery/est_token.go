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
	text, err := p.readInput(f.ownKey)
	if err != nil {
		return err
	}
	ref, named, err := token.ParseFile(text)
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

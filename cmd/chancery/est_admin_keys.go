package main

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"io"
	"strings"

	"chancery/internal/estserver"

	"github.com/spf13/cobra"
)

func (p *program) estKey() *cobra.Command {
	cmd := group("key", "devices' keys, to which keys that the server makes are encrypted", `A device that has its key made by the server (serverkeygen) can name a key of its own that
is known here, and gets the made one encrypted to it (RFC 7030 §4.4): a symmetric key
(decryptKeyIdentifier), or a certificate or public key (asymmetricDecryptKeyIdentifier).
Certificates of this authority need not be registered.`)
	cmd.AddCommand(p.estKeyAdd(), p.estKeyList(), p.estKeyRemove())
	return cmd
}

func (p *program) estKeyAdd() *cobra.Command {
	var in estserver.KeyWanted
	var symmetric bool
	cmd := &cobra.Command{
		Use: "add {FILE.pem | --symmetric} [--id ID] [--comment TEXT]", Short: "register a key",
		Long: `Registers a certificate or public key from a PEM file, or with --symmetric an AES key that
standard input has as a line of hex. --id is how the device names it, a text, or octets as
hex:6b31; pairs of hexadecimal digits alone are octets, too. Without, it is the certificate's subject key identifier, or the SHA-1 of the public key (RFC 5280 §4.2.1.2).
A symmetric key is kept encrypted; who has the database has not the key.`,
		Example: "  chancery est key add device-17.pem\n  chancery est key add --symmetric --id device-17 < key.hex",
		Args:    between(0, 1, "a PEM file, or --symmetric"),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if symmetric == (len(args) > 0) {
				return &usageError{cmd: cmd, text: "say what to register: a PEM file with a certificate or public key, or --symmetric"}
			}
			if symmetric {
				in.Key, err = p.readHexKey()
			} else {
				var text []byte
				text, err = p.readInput(args[0])
				in.Public = string(text)
			}
			if err != nil {
				return err
			}
			k, err := call[estserver.KeyWanted, estserver.KeyShown](cmd.Context(), p, "est.key.add", in)
			if err != nil {
				return err
			}
			return p.show(k, func(w io.Writer) {
				pairs(w, [2]string{"kind", string(k.Kind)}, [2]string{"id", k.ID}, [2]string{"as text", k.Text}, [2]string{"key", k.Key}, [2]string{"comment", k.Comment})
			})
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&symmetric, "symmetric", false, "an AES key, in hex on the first line of standard input")
	flags.StringVar(&in.ID, "id", "", "the `ID` by which the device names it: a text, or hex:…; devices of this program take the same forms")
	flags.StringVar(&in.Comment, "comment", "", "a line of `TEXT` for people")
	return cmd
}

// readHexKey reads a key from standard input. Errors do not repeat what was read.
func (p *program) readHexKey() ([]byte, error) {
	line, err := bufio.NewReader(io.LimitReader(p.in, 4096)).ReadString('\n')
	if err != nil && err != io.EOF {
		return nil, badInput("reading the key: %v", err)
	}
	key, err := hex.DecodeString(strings.TrimSpace(line))
	if err != nil {
		return nil, badInput("the key is not hex: write it on the first line of standard input, as \"openssl rand -hex 32\" does")
	}
	return key, nil
}

func (p *program) estKeyList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "list the keys, newest first", Args: between(0, 0, "list takes no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			all := estserver.KeysShown{Keys: []estserver.KeyShown{}}
			err := pages(func(cursor string) (string, error) {
				page, err := call[estserver.Page, estserver.KeysShown](cmd.Context(), p, "est.key.list", estserver.Page{Cursor: cursor, Limit: 1000})
				all.Keys = append(all.Keys, page.Keys...)
				return page.Cursor, err
			})
			if err != nil {
				return err
			}
			return p.show(all, func(w io.Writer) {
				if len(all.Keys) == 0 {
					fmt.Fprintln(w, "There are no registered keys.")
					return
				}
				fmt.Fprintln(w, "KIND\tID\tTEXT\tCREATED\tKEY\tCOMMENT")
				for _, k := range all.Keys {
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", k.Kind, k.ID, orDash(k.Text), day(k.Created), k.Key, orDash(k.Comment))
				}
			})
		},
	}
}

func (p *program) estKeyRemove() *cobra.Command {
	var symmetric bool
	cmd := &cobra.Command{
		Use: "remove ID [--symmetric]", Short: "remove a key: nothing is encrypted to it any more", Args: between(1, 1, "the key's id; see: chancery est key list"),
		RunE: func(cmd *cobra.Command, args []string) error {
			in := estserver.KeyNamed{Kind: estserver.Asymmetric, ID: args[0]}
			if symmetric {
				in.Kind = estserver.Symmetric
			}
			return do(cmd.Context(), p, deed[estserver.KeyNamed]{"est.key.remove", in, [2]string{"removed", args[0]}})
		},
	}
	cmd.Flags().BoolVar(&symmetric, "symmetric", false, "a symmetric key")
	return cmd
}

func (p *program) estArchive() *cobra.Command {
	return &cobra.Command{
		Use: "archive SERIAL", Short: "fetch the encrypted copy of a key that was made for a certificate",
		Long: `Writes the copy that a label with keys_archive keeps, as CMS in PEM: it is encrypted to the
archive's certificate, whose private key alone opens it. What is in it is PKCS #8.`,
		Example: "  chancery est archive SERIAL | \\\n    openssl cms -decrypt -inform PEM -inkey archive.key | openssl pkey -inform DER",
		Args:    between(1, 1, "the certificate's serial number; see: chancery cert list"),
		RunE: func(cmd *cobra.Command, args []string) error {
			out, err := call[estserver.CertificateNamed, estserver.ArchivedKey](cmd.Context(), p, "est.archive.get", estserver.CertificateNamed{Serial: args[0]})
			if err != nil {
				return err
			}
			if p.json {
				return p.showJSON(out)
			}
			_, err = fmt.Fprint(p.out, out.CMS)
			return err
		},
	}
}

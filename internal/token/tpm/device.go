package tpm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"slices"
	"syscall"
	"time"

	"chancery/internal/token/fault"

	"github.com/google/go-tpm/tpm2"
)

// mostOctets is more than a TPM's longest answer.
const mostOctets = 16 << 10

// patience is how long a TPM may take for one thing: real ones make a long RSA key for
// minutes.
const patience = 5 * time.Minute

// device is a TPM behind a file or a socket.
type device struct {
	path   string
	file   io.ReadWriteCloser
	socket net.Conn // nil: it is a character device
}

// openDevice opens it.
func openDevice(path string) (*device, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, absent(path, err)
	}
	if info.Mode()&fs.ModeSocket != 0 {
		connection, err := net.DialTimeout("unix", path, 10*time.Second)
		if err != nil {
			return nil, absent(path, err)
		}
		return &device{path, connection, connection}, nil
	}
	if info.Mode()&fs.ModeCharDevice == 0 {
		return nil, &fault.Error{Kind: fault.Absent, Reason: path + " is neither a TPM's device nor a socket of an emulator: see device= of the key's name"}
	}
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, absent(path, err)
	}
	return &device{path, file, nil}, nil
}

func absent(path string, err error) error {
	next := "see device= of the key's name"
	switch {
	case errors.Is(err, fs.ErrNotExist):
		next = "this machine has no TPM 2.0, it is off in the firmware, or its driver is not loaded; another device is named by device="
	case errors.Is(err, fs.ErrPermission):
		next = "this user may not use it: on most systems the group tss may"
	case errors.Is(err, syscall.EBUSY):
		next = "another program has it open: use " + DefaultDevice + ", which several may"
	}
	return &fault.Error{Kind: fault.Absent, Reason: "the TPM " + path + " cannot be opened: " + next, Err: err}
}

// Close closes it.
func (d *device) Close() error { return d.file.Close() }

// header is what an answer begins with: tag, length, code.
const header = 10

// later are the codes by which a TPM says that it did not begin, and wants the very same
// command again (Part 3, §5.5; RETRY, TESTING, YIELDED).
var later = []uint32{0x922, 0x90a, 0x908}

// mostAgain is how often a command is given again.
const mostAgain = 12

// Send gives one command to the TPM and takes its answer.
func (d *device) Send(command []byte) (answer []byte, err error) {
	for again := range mostAgain {
		answer, err = d.once(command)
		if err != nil || len(answer) < header || !slices.Contains(later, binary.BigEndian.Uint32(answer[6:])) {
			break
		}
		time.Sleep(time.Millisecond << again)
	}
	return answer, err
}

func (d *device) once(command []byte) ([]byte, error) {
	if d.socket != nil {
		if err := d.socket.SetDeadline(time.Now().Add(patience)); err != nil {
			return nil, err
		}
	}
	if _, err := d.file.Write(command); err != nil {
		return nil, gone(d.path, err)
	}
	answer := make([]byte, mostOctets)
	if d.socket == nil { // a device gives it in one piece
		n, err := d.file.Read(answer)
		if err != nil {
			return nil, gone(d.path, err)
		}
		return answer[:n], nil
	}
	if _, err := io.ReadFull(d.socket, answer[:header]); err != nil {
		return nil, gone(d.path, err)
	}
	length := binary.BigEndian.Uint32(answer[2:])
	if length < header || length > mostOctets {
		return nil, gone(d.path, fmt.Errorf("an answer of %d octets", length))
	}
	if _, err := io.ReadFull(d.socket, answer[header:length]); err != nil {
		return nil, gone(d.path, err)
	}
	return answer[:length], nil
}

func gone(path string, err error) error {
	return &fault.Error{Kind: fault.Gone, Reason: "the TPM " + path + " does not answer: try again", Err: err}
}

// said are the TPM's refusals in words: what is wrong, and what to do.
var said = []struct {
	code  tpm2.TPMRC
	kind  fault.Kind
	words string
}{
	{tpm2.TPMRCLockout, fault.Locked, "is locked, as wrong passwords were tried: wait until it lets one be tried again (tpm2_getcap properties-variable), or clear the lockout (tpm2_dictionarylockout --clear-lockout)"},
	{tpm2.TPMRCAuthFail, fault.WrongPIN, "refused the key's password, and it is not tried again, as TPMs lock after some: correct what pin-source names (or type the right one)"},
	{tpm2.TPMRCBadAuth, fault.WrongPIN, "refused the key's password, and it is not tried again: correct what pin-source names (or type the right one)"},
	{tpm2.TPMRCIntegrity, fault.Missing, "did not make this key, or was cleared since: a key file is of use with the one TPM that made it"},
	{tpm2.TPMRCHandle, fault.Missing, "has no key under this handle (tpm2_getcap handles-persistent lists them)"},
	{tpm2.TPMRCInitialize, fault.Absent, "was not started up: that is the firmware's, or for an emulator its starter's, to do"},
	{tpm2.TPMRCCurve, fault.Unfit, "does not know this elliptic curve"},
	{tpm2.TPMRCScheme, fault.Unfit, "does not sign with this key in this way"},
	{tpm2.TPMRCValue, fault.Unfit, "does not do this: the kind or length of the key is not one of its own; most know ecdsa-p256 and rsa-2048"},
	{tpm2.TPMRCKeySize, fault.Unfit, "does not make keys of this length: most know rsa-2048"},
	{tpm2.TPMRCHash, fault.Unfit, "does not know this hash"},
	{tpm2.TPMRCAttributes, fault.Unfit, "may not use this key for signatures"},
	{tpm2.TPMRCKey, fault.Unfit, "may not use this key for signatures"},
	{tpm2.TPMRCObjectMemory, fault.Full, "has no room left for a key, as other programs leave theirs: use " + DefaultDevice + ", which makes room"},
	{tpm2.TPMRCSessionMemory, fault.Full, "has no room left for a session, as other programs leave theirs: use " + DefaultDevice + ", which makes room"},
}

// explain puts a refusal into words.
func (d *device) explain(doing string, err error) error {
	if _, known := errors.AsType[*fault.Error](err); known || err == nil {
		return err
	}
	for _, s := range said {
		if errors.Is(err, s.code) {
			return &fault.Error{Kind: s.kind, Reason: "the TPM " + d.path + " " + s.words, Err: fmt.Errorf("%s: %w", doing, err)}
		}
	}
	return &fault.Error{Kind: fault.Refused, Reason: "the TPM " + d.path + " refused", Err: fmt.Errorf("%s: %w", doing, err)}
}

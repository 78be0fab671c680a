//go:build cgo

package loader

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"unsafe"

	"chancery/internal/token/wire"

	"github.com/miekg/pkcs11"
)

// mostSessions is how many signatures are made at a time.
const mostSessions = 8

// module is a token behind its library.
type module struct {
	p    *pkcs11.Ctx
	slot uint
	base pkcs11.SessionHandle // open as long as the process: the login is its
	free chan pkcs11.SessionHandle

	mutex  sync.Mutex
	opened int // sessions for signatures
}

func newToken() token { return &module{free: make(chan pkcs11.SessionHandle, mostSessions)} }

// Faults of the library by what they mean for whoever asked. What is not here is Refused.
var codes = map[pkcs11.Error]wire.Code{
	pkcs11.CKR_PIN_INCORRECT: wire.WrongPIN, pkcs11.CKR_PIN_LOCKED: wire.Locked,
	pkcs11.CKR_PIN_INVALID: wire.BadPIN, pkcs11.CKR_PIN_LEN_RANGE: wire.BadPIN, pkcs11.CKR_PIN_EXPIRED: wire.BadPIN,
	pkcs11.CKR_TOKEN_NOT_PRESENT: wire.Gone, pkcs11.CKR_DEVICE_REMOVED: wire.Gone, pkcs11.CKR_DEVICE_ERROR: wire.Gone, pkcs11.CKR_SLOT_ID_INVALID: wire.Gone,
	pkcs11.CKR_SESSION_HANDLE_INVALID: wire.Gone, pkcs11.CKR_SESSION_CLOSED: wire.Gone, pkcs11.CKR_USER_NOT_LOGGED_IN: wire.Gone,
	pkcs11.CKR_OBJECT_HANDLE_INVALID: wire.Gone, pkcs11.CKR_KEY_HANDLE_INVALID: wire.Gone, pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED: wire.Gone,
	pkcs11.CKR_MECHANISM_INVALID: wire.Unfit, pkcs11.CKR_MECHANISM_PARAM_INVALID: wire.Unfit, pkcs11.CKR_KEY_TYPE_INCONSISTENT: wire.Unfit,
	pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED: wire.Unfit, pkcs11.CKR_KEY_SIZE_RANGE: wire.Unfit, pkcs11.CKR_FUNCTION_NOT_SUPPORTED: wire.Unfit,
	pkcs11.CKR_DOMAIN_PARAMS_INVALID: wire.Unfit, pkcs11.CKR_CURVE_NOT_SUPPORTED: wire.Unfit, pkcs11.CKR_TOKEN_WRITE_PROTECTED: wire.Unfit,
	pkcs11.CKR_DEVICE_MEMORY: wire.Full,
}

// failed says what the library could not do.
func failed(doing string, err error) error {
	number, ok := errors.AsType[pkcs11.Error](err)
	if !ok {
		return faulty(wire.Refused, "%s: %v", doing, err)
	}
	code, known := codes[number]
	if !known {
		code = wire.Refused
	}
	return faulty(code, "%s: %v", doing, number)
}

// open loads the library and finds the one token that is meant.
func (m *module) open(o *wire.Open) (*wire.Token, error) {
	if _, err := os.Stat(o.Module); err != nil {
		return nil, faulty(wire.NoModule, "%v", err)
	}
	if m.p = pkcs11.New(o.Module); m.p == nil {
		return nil, faulty(wire.NoModule, "%s is no PKCS#11 library of this machine's kind, or lacks a library itself (ldd %s)", o.Module, o.Module)
	}
	if err := m.p.Initialize(); err != nil {
		return nil, faulty(wire.NoModule, "%s does not start: %v", o.Module, err)
	}
	slots, err := m.p.GetSlotList(true)
	if err != nil {
		return nil, failed("looking for tokens", err)
	}
	var found []pkcs11.TokenInfo
	var names []string
	for _, slot := range slots {
		info, err := m.p.GetTokenInfo(slot)
		if err != nil || info.Flags&pkcs11.CKF_TOKEN_INITIALIZED == 0 {
			continue
		}
		names = append(names, fmt.Sprintf("%q (serial %s)", trimmed(info.Label), trimmed(info.SerialNumber)))
		if matches(o, slot, info) {
			found, m.slot = append(found, info), slot
		}
	}
	there := "there are none"
	if len(names) > 0 {
		there = "there are " + strings.Join(names[:min(len(names), 10)], ", ")
	}
	switch {
	case len(found) == 0:
		return nil, faulty(wire.NoToken, "%s", there)
	case len(found) > 1:
		return nil, faulty(wire.ManyTokens, "%s", there)
	}
	if m.base, err = m.p.OpenSession(m.slot, pkcs11.CKF_SERIAL_SESSION); err != nil {
		return nil, failed("opening a session", err)
	}
	return described(found[0]), nil
}

// trimmed is a text of the library: padded with spaces, or by careless ones with zeros.
func trimmed(text string) string { return strings.TrimRight(text, " \x00") }

func matches(o *wire.Open, slot uint, info pkcs11.TokenInfo) bool {
	is := func(wanted, there string) bool { return wanted == "" || wanted == trimmed(there) }
	return is(o.Token, info.Label) && is(o.Manufacturer, info.ManufacturerID) && is(o.Model, info.Model) && is(o.Serial, info.SerialNumber) &&
		(o.Slot == nil || uint64(slot) == *o.Slot)
}

func described(info pkcs11.TokenInfo) *wire.Token {
	has := func(flag uint) bool { return info.Flags&flag != 0 }
	return &wire.Token{
		Label: trimmed(info.Label), Serial: trimmed(info.SerialNumber), Model: trimmed(info.Model),
		Login: has(pkcs11.CKF_LOGIN_REQUIRED), PINPad: has(pkcs11.CKF_PROTECTED_AUTHENTICATION_PATH), Unset: !has(pkcs11.CKF_USER_PIN_INITIALIZED),
		Low: has(pkcs11.CKF_USER_PIN_COUNT_LOW), Last: has(pkcs11.CKF_USER_PIN_FINAL_TRY), Locked: has(pkcs11.CKF_USER_PIN_LOCKED),
	}
}

// login shows the PIN, once. The text is the request's own octets, which are overwritten
// afterwards; the copy that is made for C, and the library's, are not.
func (m *module) login(l *wire.Login) error {
	err := m.p.Login(m.base, pkcs11.CKU_USER, unsafe.String(unsafe.SliceData(l.PIN), len(l.PIN)))
	if errors.Is(err, pkcs11.Error(pkcs11.CKR_USER_ALREADY_LOGGED_IN)) {
		err = nil
	}
	if err != nil {
		return failed("logging in", err)
	}
	return nil
}

// session lends a session: one that is free, or a new one as long as there may be more.
func (m *module) session() (pkcs11.SessionHandle, error) {
	select {
	case s := <-m.free:
		return s, nil
	default:
	}
	m.mutex.Lock()
	if m.opened < mostSessions {
		s, err := m.p.OpenSession(m.slot, pkcs11.CKF_SERIAL_SESSION)
		if err == nil {
			m.opened++
		}
		full := errors.Is(err, pkcs11.Error(pkcs11.CKR_SESSION_COUNT)) && m.opened > 0
		if !full {
			m.mutex.Unlock()
			if err != nil {
				return 0, failed("opening a session", err)
			}
			return s, nil
		}
	}
	m.mutex.Unlock()
	return <-m.free, nil
}

// back takes a session back. After a failure it may be in the midst of something, and is
// closed.
func (m *module) back(s pkcs11.SessionHandle, err error) {
	if err == nil {
		m.free <- s
		return
	}
	m.mutex.Lock()
	defer m.mutex.Unlock()
	// Somebody may wait for a session: they get a new one in its place, if one can be had.
	_ = m.p.CloseSession(s)
	if next, err := m.p.OpenSession(m.slot, pkcs11.CKF_SERIAL_SESSION); err == nil {
		m.free <- next
		return
	}
	m.opened--
	if m.opened == 0 { // nobody could ever be served: the other side starts anew
		os.Exit(1)
	}
}

// objects finds what matches, up to 20.
func (m *module) objects(s pkcs11.SessionHandle, template []*pkcs11.Attribute) ([]pkcs11.ObjectHandle, error) {
	if err := m.p.FindObjectsInit(s, template); err != nil {
		return nil, failed("looking for keys", err)
	}
	found, _, err := m.p.FindObjects(s, 20)
	if done := m.p.FindObjectsFinal(s); err == nil {
		err = done
	}
	if err != nil {
		return nil, failed("looking for keys", err)
	}
	return found, nil
}

// template is what an object with this label and id has.
func template(class uint, object string, id []byte) []*pkcs11.Attribute {
	t := []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CLASS, class)}
	if object != "" {
		t = append(t, pkcs11.NewAttribute(pkcs11.CKA_LABEL, object))
	}
	if len(id) > 0 {
		t = append(t, pkcs11.NewAttribute(pkcs11.CKA_ID, id))
	}
	return t
}

// value reads one attribute; nil if the object does not have it.
func (m *module) value(s pkcs11.SessionHandle, o pkcs11.ObjectHandle, kind uint) []byte {
	got, err := m.p.GetAttributeValue(s, o, []*pkcs11.Attribute{pkcs11.NewAttribute(kind, nil)})
	if err != nil || len(got) != 1 {
		return nil
	}
	return got[0].Value
}

// remove deletes a key pair that was made by Make.
func (m *module) remove(r *wire.Remove) (err error) {
	if r.Object == "" || len(r.Key) == 0 {
		return faulty(wire.Confused, "a key that is to be deleted is named by its label and its id")
	}
	s, err := m.p.OpenSession(m.slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	if err != nil {
		return failed("opening a session", err)
	}
	defer m.p.CloseSession(s)
	for _, class := range []uint{pkcs11.CKO_PRIVATE_KEY, pkcs11.CKO_PUBLIC_KEY} {
		found, err := m.objects(s, template(class, r.Object, r.Key))
		if err != nil {
			return err
		}
		for _, o := range found {
			if err := m.p.DestroyObject(s, o); err != nil {
				return failed("deleting a key", err)
			}
		}
	}
	return nil
}

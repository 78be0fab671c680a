//go:build cgo

package loader

import (
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"chancery/internal/peertest"
	"chancery/internal/token/wire"
)

// asHelper is under which name the test's program is the helper.
const asHelper = "chancery-pkcs11"

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == asHelper {
		os.Exit(Main())
	}
	os.Exit(m.Run())
}

// hangs is a library with one token. It writes an octet to descriptor 4 and hangs: where
// CONSTRUCTOR is defined when it is loaded, else in each signature.
const hangs = `
#include <string.h>
#include <unistd.h>

typedef unsigned long number;

static void hang(void) {
	while (write(4, "h", 1) != 1) {}
	for (;;) pause();
}

#ifdef CONSTRUCTOR
__attribute__((constructor)) static void loaded(void) { hang(); }
#endif

/* as PKCS #11 has them: 68 functions behind a version */
static struct { unsigned char major, minor; void *functions[68]; } list;

static number fine(void) { return 0; }
static number slots(unsigned char present, number *slots, number *count) {
	if (slots) slots[0] = 7;
	*count = 1;
	return 0;
}
static number token(number slot, char *info) { /* label, maker, model, serial: 96 octets */
	memset(info, ' ', 96);
	memset(info + 96, 0, sizeof(number));
	*(number *)(info + 96) = 0x400; /* CKF_TOKEN_INITIALIZED */
	return 0;
}
static number session(number slot, number flags, void *with, void *notify, number *handle) {
	static number last;
	*handle = __atomic_add_fetch(&last, 1, __ATOMIC_SEQ_CST);
	return 0;
}
static number sign(void) { hang(); return 0; }

number C_GetFunctionList(void **all) {
	for (int i = 0; i < 68; i++) list.functions[i] = fine;
	list.major = 2;
	list.minor = 40;
	list.functions[4] = slots;
	list.functions[6] = token;
	list.functions[12] = session;
	list.functions[43] = sign;
	*all = &list;
	return 0;
}
`

// The helper ends when its socket is closed, and nobody kills it, also when its library
// hangs while it is loaded, and when as many requests as are worked on at a time hang and
// more wait.
func TestEndsThoughItsLibraryHangs(t *testing.T) {
	compiler := peertest.Need(t, "gcc")
	dir := t.TempDir()
	text := filepath.Join(dir, "hangs.c")
	if err := os.WriteFile(text, []byte(hangs), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		flag      string
		requests  int // for signatures
		hang, get int // how many octets and answers are awaited
	}{
		"constructor": {"-DCONSTRUCTOR", 0, 1, 0},
		"signatures":  {"-DSIGNATURES", 2 * together, mostSessions, 1},
		"waiting":     {"-DCONSTRUCTOR", 2 * together, 1, 0},
	} {
		library := filepath.Join(dir, name+".so")
		if out, err := exec.Command(compiler, "-shared", "-fPIC", "-w", test.flag, "-o", library, text).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		h := begin(t)
		h.say(&wire.Request{ID: 1, Open: &wire.Open{Module: library}})
		for range test.get {
			if answer, err := wire.ReadAnswer(h.socket); err != nil || answer.Fault != nil || answer.Token == nil {
				t.Fatalf("%s: %+v, %v", name, answer, err)
			}
		}
		for i := range test.requests {
			h.say(&wire.Request{ID: uint64(i + 2), Sign: &wire.Sign{Handle: 1, Scheme: "ecdsa", Digest: make([]byte, 32)}})
		}
		if _, err := io.ReadFull(h.signs, make([]byte, test.hang)); err != nil {
			t.Fatalf("%s: it does not hang: %v", name, err)
		}
		h.socket.Close()
		if err := h.cmd.Wait(); err != nil {
			t.Errorf("%s: the helper outlives its socket: %v", name, err)
		}
	}
}

// helper is one at work.
type helper struct {
	t      *testing.T
	cmd    *exec.Cmd
	socket net.Conn
	signs  *os.File // of hanging
}

// begin starts one. It is killed if it is there in two minutes still, for the test to fail.
func begin(t *testing.T) *helper {
	t.Helper()
	ends, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(ends[0]), "ours"), os.NewFile(uintptr(ends[1]), "theirs")
	defer ours.Close()
	defer theirs.Close()
	signs, octets, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer octets.Close()
	t.Cleanup(func() { signs.Close() })
	socket, err := net.FileConn(ours)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, self)
	cmd.Args, cmd.ExtraFiles = []string{asHelper}, []*os.File{theirs, octets}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return &helper{t, cmd, socket, signs}
}

func (h *helper) say(r *wire.Request) {
	h.t.Helper()
	if err := wire.WriteRequest(h.socket, r); err != nil {
		h.t.Fatal(err)
	}
}

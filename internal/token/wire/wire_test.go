package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
)

var slot = uint64(3)

var requests = []*Request{
	{ID: 1, Open: &Open{Module: "/usr/lib/softhsm/libsofthsm2.so", Token: "t <&>", Slot: &slot}},
	{ID: 2, Login: &Login{PIN: []byte("1234")}},
	{ID: 3, Find: &Find{Object: "k", Key: []byte{1}}},
	{ID: 4, Make: &Make{Object: "k", Key: []byte{1}, Kind: "ecdsa-p256"}},
	{ID: 5, Sign: &Sign{Handle: 9, Scheme: "pss", Hash: "sha256", Digest: make([]byte, 32), Salt: 32}},
	{ID: 6, Decrypt: &Crypt{Handle: 9, Text: []byte{1, 2}}},
	{ID: 7, Derive: &Crypt{Handle: 9, Text: []byte{4, 2}}},
	{ID: 1<<64 - 1, Remove: &Remove{Object: "k", Key: []byte{1}}},
}

var answers = []*Answer{
	{ID: 1, Token: &Token{Label: "t", Serial: "1", Login: true, Low: true}},
	{ID: 2},
	{ID: 3, Key: &Key{Handle: 4, Public: []byte{0x30}, ID: []byte{1}}},
	{ID: 4, Octets: []byte{1, 2, 3}},
	{ID: 5, Fault: &Fault{Code: WrongPIN, Text: "no"}},
}

func TestMessages(t *testing.T) {
	var b bytes.Buffer
	for _, m := range requests {
		if err := WriteRequest(&b, m); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range requests {
		got, err := ReadRequest(&b)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, %v", got, err)
		}
	}
	if _, err := ReadRequest(&b); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
	for _, m := range answers {
		if err := WriteAnswer(&b, m); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range answers {
		got, err := ReadAnswer(&b)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, %v", got, err)
		}
	}
}

func frame(text string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...)
}

func TestUnusualMessages(t *testing.T) {
	good := `{"id":2,"login":{"pin":"MTIzNA=="}}` + "\n"
	if _, err := ReadRequest(bytes.NewReader(frame(good))); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{
		"no line break":   frame(strings.TrimSpace(good)),
		"space":           frame(" " + good),
		"another member":  frame(`{"id":2,"login":{"pin":"MTIzNA=="},"x":1}` + "\n"),
		"a member twice":  frame(`{"id":2,"id":2,"login":{"pin":"MTIzNA=="}}` + "\n"),
		"capital letters": frame(`{"ID":2,"login":{"pin":"MTIzNA=="}}` + "\n"),
		"two things":      frame(`{"id":2,"login":{"pin":""},"find":{}}` + "\n"),
		"nothing":         frame(`{"id":2}` + "\n"),
		"no object":       frame("[]\n"),
		"empty":           {0, 0, 0, 0},
		"cut off":         frame(good)[:20],
		"too long":        {0, 1, 0, 1, '{'},
		"enormous":        {0xff, 0xff, 0xff, 0xff},
	} {
		if m, err := ReadRequest(bytes.NewReader(text)); !errors.Is(err, ErrMessage) {
			t.Errorf("%s: %+v, %v", name, m, err)
		} else if strings.Contains(err.Error(), "MTIz") {
			t.Errorf("%s: the error tells the PIN: %v", name, err)
		}
	}
	if _, err := ReadAnswer(bytes.NewReader(frame(`{"id":2,"fault":{"code":"gone","text":""},"octets":"AA=="}` + "\n"))); !errors.Is(err, ErrMessage) {
		t.Errorf("a fault with an answer: %v", err)
	}
	if err := WriteAnswer(io.Discard, &Answer{Octets: make([]byte, Most)}); !errors.Is(err, ErrMessage) {
		t.Errorf("a message that is too long is written: %v", err)
	}
}

// What is read, written again, is the same octets.
func FuzzMessages(f *testing.F) {
	for _, m := range requests {
		var b bytes.Buffer
		if err := WriteRequest(&b, m); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	for _, m := range answers {
		var b bytes.Buffer
		if err := WriteAnswer(&b, m); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var again bytes.Buffer
		if m, err := ReadRequest(bytes.NewReader(text)); err == nil {
			if err := WriteRequest(&again, m); err != nil || !bytes.HasPrefix(text, again.Bytes()) {
				t.Errorf("%q is written as %q, %v", text, again.Bytes(), err)
			}
		}
		again.Reset()
		if m, err := ReadAnswer(bytes.NewReader(text)); err == nil {
			if err := WriteAnswer(&again, m); err != nil || !bytes.HasPrefix(text, again.Bytes()) {
				t.Errorf("%q is written as %q, %v", text, again.Bytes(), err)
			}
		}
	})
}

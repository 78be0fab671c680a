package admin

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

type greeting struct {
	Name string `json:"name"`
}

type greeted struct {
	Text string `json:"text"`
	By   string `json:"by"`
}

var (
	errFull  = errors.New("the shelf is full")
	errInner = errors.New("secret of the house")
)

func operations() []Operation {
	fail := func(err error) func(context.Context, Caller, struct{}) (struct{}, error) {
		return func(context.Context, Caller, struct{}) (struct{}, error) { return struct{}{}, err }
	}
	return []Operation{
		Op(Spec{"greet", Auditor, "greets"}, func(_ context.Context, c Caller, in greeting) (greeted, error) {
			return greeted{Text: "hello " + in.Name, By: c.Name}, nil
		}),
		Op(Spec{"missing", Administrator, "finds nothing"}, fail(&Error{Kind: NotFound, Detail: "no such thing"})),
		Op(Spec{"full", Administrator, "has no room"}, fail(errFull)),
		Op(Spec{"broken", Administrator, "breaks"}, fail(errInner)),
		Op(Spec{"public", Anyone, "tells all"}, fail(nil)),
		Op(Spec{"panic", Administrator, "panics"}, func(context.Context, Caller, struct{}) (struct{}, error) {
			panic("secret of the house")
		}),
	}
}

// start serves the operations on a real socket.
func start(t *testing.T) (c *Client, log *bytes.Buffer, data string) {
	t.Helper()
	data = t.TempDir()
	log = &bytes.Buffer{}
	s := NewServer(operations()...)
	s.Log = slog.New(slog.NewTextHandler(log, nil))
	s.Classify = func(err error) (kind, detail string, ok bool) {
		return Conflict, "no room: take something out", errors.Is(err, errFull)
	}
	l, err := Listen(SocketPath(data))
	if err != nil {
		t.Fatal(err)
	}
	h := s.HTTP()
	served := make(chan error)
	go func() { served <- h.Serve(l) }()
	c = Dial(SocketPath(data))
	t.Cleanup(func() {
		c.Close()
		if err := h.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return c, log, data
}

func TestCall(t *testing.T) {
	c, _, _ := start(t)
	out, err := Call[greeting, greeted](t.Context(), c, "greet", greeting{Name: "world"})
	if err != nil || out.Text != "hello world" || !strings.HasPrefix(out.By, "uid:") {
		t.Errorf("%+v, %v", out, err)
	}
	if os.Getuid() == 0 && out.By != "uid:0 (root)" {
		t.Errorf("root is called %q", out.By)
	}
}

func TestCallErrors(t *testing.T) {
	c, log, _ := start(t)
	for _, test := range []struct{ name, kind, detail string }{
		{"missing", NotFound, "no such thing"},
		{"full", Conflict, "take something out"},
		{"broken", Internal, "its log says why"},
		{"panic", Internal, "its log says why"},
		{"unheard-of", NotFound, "no operation \"unheard-of\""},
	} {
		_, err := Call[struct{}, struct{}](t.Context(), c, test.name, struct{}{})
		told, ok := errors.AsType[*Error](err)
		if !ok || told.Kind != test.kind || !strings.Contains(told.Detail, test.detail) || !errors.Is(err, &Error{Kind: test.kind}) {
			t.Errorf("%s: %#v", test.name, err)
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s told: %v", test.name, err)
		}
	}
	if n := strings.Count(log.String(), "secret of the house"); n != 2 {
		t.Errorf("%d of 2 internal errors were logged:\n%s", n, log)
	}
	_, err := Call[map[string]int, greeted](t.Context(), c, "greet", map[string]int{"nmae": 1})
	if !errors.Is(err, &Error{Kind: Invalid}) || !strings.Contains(err.Error(), "nmae") {
		t.Errorf("unknown field: %v", err)
	}
}

func TestRequests(t *testing.T) {
	s := NewServer(operations()...)
	auditor := &Caller{Name: "a", Role: Auditor}
	const form = "application/json"
	for name, test := range map[string]struct {
		caller             *Caller
		method, path       string
		contentType, input string
		status             int
		want               string
	}{
		"greets":            {auditor, "POST", "/v1/ops/greet", form, `{"name":"x"}`, 200, `{"text":"hello x","by":"a"}`},
		"empty is zero":     {auditor, "POST", "/v1/ops/greet", form, " ", 200, `"hello "`},
		"charset":           {auditor, "POST", "/v1/ops/greet", form + "; charset=utf-8", `{}`, 200, `"hello "`},
		"anyone":            {auditor, "POST", "/v1/ops/public", form, `{}`, 200, `{}`},
		"list":              {auditor, "GET", "/v1/ops", "", "", 200, `{"name":"greet","role":"auditor","summary":"greets","input":{"name":"text"},"output":{"by":"text","text":"text"}}`},
		"nobody":            {nil, "POST", "/v1/ops/greet", form, `{}`, 403, `"denied"`},
		"nobody lists":      {nil, "GET", "/v1/ops", "", "", 403, `"denied"`},
		"other role":        {auditor, "POST", "/v1/ops/missing", form, `{}`, 403, `needs the role administrator`},
		"no role":           {&Caller{Name: "a"}, "POST", "/v1/ops/greet", form, `{}`, 403, `"denied"`},
		"unknown operation": {auditor, "POST", "/v1/ops/x", form, `{}`, 404, `"not-found"`},
		"unknown path":      {auditor, "GET", "/v1/op", "", "", 404, `GET /v1/ops lists`},
		"GET an operation":  {auditor, "GET", "/v1/ops/greet", "", "", 405, `"invalid"`},
		"POST the list":     {auditor, "POST", "/v1/ops", form, "{}", 405, `"invalid"`},
		"text":              {auditor, "POST", "/v1/ops/greet", "text/plain", `{}`, 400, `application/json`},
		"two values":        {auditor, "POST", "/v1/ops/greet", form, `{}{}`, 400, `more than one`},
		"garbage behind":    {auditor, "POST", "/v1/ops/greet", form, `{}]`, 400, `more than one`},
		"unknown field":     {auditor, "POST", "/v1/ops/greet", form, `{"x":1}`, 400, `"invalid"`},
		"wrong type":        {auditor, "POST", "/v1/ops/greet", form, `{"name":1}`, 400, `"invalid"`},
		"too long":          {auditor, "POST", "/v1/ops/greet", form, `{"name":"` + strings.Repeat("x", bodyLimit) + `"}`, 400, `larger than 16 MiB`},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequestWithContext(t.Context(), test.method, test.path, strings.NewReader(test.input))
			if test.contentType != "" {
				r.Header.Set("Content-Type", test.contentType)
			}
			if test.caller != nil {
				r = r.WithContext(WithCaller(r.Context(), *test.caller))
			}
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			if w.Code != test.status || !strings.Contains(w.Body.String(), test.want) {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
	}
}

func TestList(t *testing.T) {
	c, _, _ := start(t)
	list, err := c.List(t.Context())
	if err != nil || len(list) != len(operations()) || list[0].Name != "broken" || list[0].Input != "nothing" {
		t.Errorf("%+v, %v", list, err)
	}
}

func TestShape(t *testing.T) {
	type tree struct {
		Name   string
		At     time.Time       `json:"at"`
		Below  []*tree         `json:"below,omitempty"`
		Bytes  []byte          `json:"bytes"`
		Counts map[string]int  `json:"counts"`
		Any    any             `json:"any"`
		Hidden string          `json:"-"`
		Role   Role            `json:"role"`
		Set    map[string]bool `json:"set"`
		secret int
	}
	_ = tree{secret: 1}
	got, ok := shapeFor[tree]().(map[string]Shape)
	if !ok || len(got) != 8 || got["at"] != "text" || got["bytes"] != "bytes (base64)" || got["any"] != "anything" ||
		got["below"].([]Shape)[0] != "as above" || got["counts"].(map[string]Shape)["*"] != "number" {
		t.Errorf("%v", got)
	}
}

func TestWrongOperationsPanic(t *testing.T) {
	do := func(context.Context, Caller, struct{}) (struct{}, error) { return struct{}{}, nil }
	for name, f := range map[string]func(){
		"name":    func() { Op(Spec{"A b", Auditor, "x"}, do) },
		"role":    func() { Op(Spec{"a", "king", "x"}, do) },
		"summary": func() { Op(Spec{"a", Auditor, ""}, do) },
		"twice":   func() { NewServer(Op(Spec{"a", Auditor, "x"}, do), Op(Spec{"a", Auditor, "x"}, do)) },
		"raw":     func() { NewServer(Operation{}) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("accepted")
				}
			}()
			f()
		})
	}
}

func TestNotRunning(t *testing.T) {
	data := t.TempDir()
	check := func() {
		t.Helper()
		_, err := Call[struct{}, struct{}](t.Context(), Dial(SocketPath(data)), "public", struct{}{})
		not, ok := errors.AsType[*ErrNotRunning](err)
		if !ok || not.Directory != data || !strings.Contains(err.Error(), "chancery serve --data "+data) {
			t.Errorf("%v", err)
		}
	}
	check() // nothing there
	abandon(t, SocketPath(data))
	check() // a dead process's socket
}

// abandon leaves a socket as a killed process does.
func abandon(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestListen(t *testing.T) {
	path := SocketPath(t.TempDir())
	abandon(t, path)
	l, err := Listen(path)
	if err != nil {
		t.Fatal("a dead process's socket is in the way:", err)
	}
	for where, want := range map[string]os.FileMode{filepath.Dir(path): os.ModeDir | 0o700, path: os.ModeSocket | 0o600} {
		if info, err := os.Stat(where); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, want %v (%v)", where, info.Mode(), want, err)
		}
	}
	if _, err := Listen(path); !errors.Is(err, ErrInUse) {
		t.Errorf("a live socket: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after Close the socket is still there: %v", err)
	}
}

func TestListenRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "socket")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(file); err == nil {
		t.Error("a file was replaced")
	}
	if content, err := os.ReadFile(file); err != nil || string(content) != "precious" {
		t.Errorf("the file is now %q, %v", content, err)
	}
	long := filepath.Join(t.TempDir(), strings.Repeat("x", 100))
	if _, err := Listen(long); err == nil || !strings.Contains(err.Error(), "shorter name") {
		t.Errorf("a long path: %v", err)
	}
	if _, err := Call[struct{}, struct{}](t.Context(), Dial(long), "x", struct{}{}); err == nil || !strings.Contains(err.Error(), "bytes") {
		t.Errorf("calling a long path: %v", err)
	}
}

func FuzzInput(f *testing.F) {
	f.Add(`{"name":"x"}`)
	f.Add(`{"name":1}{}`)
	f.Add(`[`)
	f.Fuzz(func(t *testing.T, text string) {
		var in greeting
		if err := decodeStrictly([]byte(text), &in); err != nil {
			return
		}
		out, err := NewServer(operations()...).operations["greet"].do(t.Context(), Caller{}, []byte(text))
		if got, ok := out.(greeted); err != nil || !ok || got.Text != "hello "+in.Name {
			t.Fatalf("%v, %v", out, err)
		}
	})
}

package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

const (
	bodyLimit = 16 << 20 // bytes of input: an imported authority's CRL may have 300,000 entries
	prefix    = "/v1/ops"
)

// Server answers POST /v1/ops/NAME with the output of that operation, and GET
// /v1/ops with the list of all. It is an http.Handler for connections whose
// caller is known: use HTTP, or put the caller into the context by WithCaller.
type Server struct {
	// Classify turns an error of a room into its kind and detail; false = not
	// one that it knows. nil = only *Error is known. Set it before serving.
	Classify func(error) (kind, detail string, ok bool)
	// Log gets what callers are not told. nil = slog.Default().
	Log *slog.Logger

	operations map[string]Operation
	names      []string // sorted
}

// NewServer offers the operations. Two of one name are a mistake in the program
// and panic.
func NewServer(operations ...Operation) *Server {
	s := &Server{operations: map[string]Operation{}}
	for _, o := range operations {
		if o.do == nil {
			panic("admin: an operation that Op did not make")
		}
		if _, twice := s.operations[o.Name]; twice {
			panic(fmt.Sprintf("admin: two operations are called %q", o.Name))
		}
		s.operations[o.Name] = o
		s.names = append(s.names, o.Name)
	}
	slices.Sort(s.names)
	return s
}

// Description is one operation in the list.
type Description struct {
	Name    string `json:"name"`
	Role    Role   `json:"role"`
	Summary string `json:"summary"`
	Input   Shape  `json:"input"`
	Output  Shape  `json:"output"`
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, known := CallerOf(r.Context())
	name, isOperation := strings.CutPrefix(r.URL.Path, prefix+"/")
	switch {
	case !known:
		s.refuse(w, r, &Error{Kind: Denied, Detail: "nobody knows who is calling"})
	case r.URL.Path == prefix && r.Method == http.MethodGet:
		answer(w, http.StatusOK, s.list())
	case isOperation && r.Method == http.MethodPost:
		s.call(w, r, name)
	case isOperation || r.URL.Path == prefix:
		w.Header().Set("Allow", map[bool]string{true: http.MethodPost, false: http.MethodGet}[isOperation])
		answer(w, http.StatusMethodNotAllowed, &Error{Kind: Invalid, Detail: "POST " + prefix + "/NAME calls an operation, GET " + prefix + " lists them"})
	default:
		s.refuse(w, r, &Error{Kind: NotFound, Detail: "nothing is here: GET " + prefix + " lists the operations"})
	}
}

func (s *Server) list() []Description {
	list := []Description{}
	for _, name := range s.names {
		o := s.operations[name]
		list = append(list, Description{Name: o.Name, Role: o.Role, Summary: o.Summary, Input: o.Input, Output: o.Output})
	}
	return list
}

func (s *Server) call(w http.ResponseWriter, r *http.Request, name string) {
	caller, _ := CallerOf(r.Context())
	o, ok := s.operations[name]
	if !ok {
		s.refuse(w, r, &Error{Kind: NotFound, Detail: fmt.Sprintf("this server knows no operation %q: is it older than the command?", name)})
		return
	}
	if !caller.Role.may(o.Role) {
		s.refuse(w, r, &Error{Kind: Denied, Detail: fmt.Sprintf("%s needs the role %s; %s is %s", name, o.Role, caller.Name, caller.Role)})
		return
	}
	// A browser can be made to post text to anything; it cannot be made to post
	// JSON without asking first.
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		s.refuse(w, r, &Error{Kind: Invalid, Detail: "the input must come as Content-Type: application/json"})
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, bodyLimit))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		s.refuse(w, r, &Error{Kind: Invalid, Detail: "the input is larger than 16 MiB"})
		return
	} else if err != nil {
		s.refuse(w, r, &Error{Kind: Invalid, Detail: "the input broke off"})
		return
	}
	out, err := s.do(r.Context(), o, caller, body)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	encoded, err := json.Marshal(out)
	if err != nil {
		s.refuse(w, r, fmt.Errorf("output of %s: %w", name, err))
		return
	}
	answer(w, http.StatusOK, json.RawMessage(encoded))
}

// do turns a panic into an error: one operation's mistake must not take the
// server, which issues certificates meanwhile, with it.
func (s *Server) do(ctx context.Context, o Operation, caller Caller, body []byte) (out any, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return o.do(ctx, caller, body)
}

// refuse answers an error. What has no kind is internal and its text stays here.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	told, ok := errors.AsType[*Error](err)
	if !ok && s.Classify != nil {
		if kind, detail, known := s.Classify(err); known {
			told, ok = &Error{Kind: kind, Detail: detail}, true
		}
	}
	if !ok {
		log := s.Log
		if log == nil {
			log = slog.Default()
		}
		log.ErrorContext(r.Context(), "an administrator's operation failed", "path", r.URL.Path, "error", err)
		told = &Error{Kind: Internal, Detail: "the server failed at this; its log says why"}
	}
	answer(w, statusOf(told.Kind), told)
}

func answer(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// An error here is the caller's broken connection, and nobody is left to tell.
	_ = json.NewEncoder(w).Encode(value)
}

// HTTP wraps the handler for a listener made by Listen: it takes callers from
// the socket. There is no ReadTimeout, as it would also end the context of an
// operation that takes longer, and nobody but the own user gets this far.
func (s *Server) HTTP() *http.Server {
	return &http.Server{
		Handler:           s,
		ConnContext:       callerFromSocket,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    64 << 10,
	}
}

// Guard lets only callers who may do what the role may reach next: for what is
// served beside the operations. Others get an Error of kind Denied.
func (s *Server) Guard(role Role, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch caller, known := CallerOf(r.Context()); {
		case !known:
			s.refuse(w, r, &Error{Kind: Denied, Detail: "nobody knows who is calling"})
		case !caller.Role.may(role):
			s.refuse(w, r, &Error{Kind: Denied, Detail: fmt.Sprintf("%s needs the role %s; %s is %s", r.URL.Path, role, caller.Name, caller.Role)})
		default:
			next.ServeHTTP(w, r)
		}
	})
}

type callerKey struct{}

// WithCaller says who calls: for whoever has found it out by other means than
// the socket's, and after checking.
func WithCaller(ctx context.Context, caller Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, caller)
}

// CallerOf is who calls; false = nobody known.
func CallerOf(ctx context.Context) (Caller, bool) {
	caller, ok := ctx.Value(callerKey{}).(Caller)
	return caller, ok
}

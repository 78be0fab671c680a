package daemon

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// A connection that never carried a request does not hold up the end; one whose
// request is under way does, until it is answered.
func TestShutdownDropsUnusedConnections(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	begun, goOn := make(chan struct{}), make(chan struct{})
	s := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(begun)
		<-goOn
		w.WriteHeader(http.StatusNoContent)
	})}
	dropUnused(s)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	spare, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer spare.Close()
	answered := make(chan error, 1)
	go func() {
		response, err := http.Get("http://" + l.Addr().String())
		if err == nil && response.StatusCode != http.StatusNoContent {
			err = errors.New(response.Status)
		}
		if response != nil {
			response.Body.Close()
		}
		answered <- err
	}()
	<-begun // the spare connection came first, so it is accepted by now
	// A shutdown without patience closes nothing by itself, so what closes the
	// spare connection is ours; without it, Read would wait for good.
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := spare.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := spare.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the spare connection was not closed: %v", err)
	}
	close(goOn)
	if err := <-answered; err != nil {
		t.Error(err)
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
	if err := s.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
}

package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// fetchRoot reads the root certificates of a server that is not trusted yet.
// TLS is not verified: the caller accepts only what has the fingerprint that the
// person gave, so that a liar on the way gains nothing.
func fetchRoot(ctx context.Context, text string) ([]byte, error) {
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" {
		return nil, badInput("%q is no URL of a server, as https://ca.corp.example:8443", text)
	}
	if !strings.HasSuffix(u.Path, ".pem") {
		u.Path, u.RawQuery = "/roots.pem", ""
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	client := http.Client{
		Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("the root cannot be fetched: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s: is it a chancery?", u, response.Status)
	}
	return io.ReadAll(io.LimitReader(response.Body, inputLimit))
}

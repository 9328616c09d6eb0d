package bearer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"time"
)

// Limits of a request to the issuer.
const (
	fetchTimeout    = 5 * time.Second // from connecting to the last byte
	maxAnswerBytes  = 1 << 20
	maxAnswerHeader = 64 << 10
)

// errPlainHTTP is returned for an issuer whose keys somebody on the way could
// exchange.
var errPlainHTTP = errors.New("the JWKS URL must be https, but on this machine")

// fetcher asks the issuer for its keys.
type fetcher struct {
	url    string
	client *http.Client
}

func newFetcher(jwksURL string) (*fetcher, error) {
	u, err := url.Parse(jwksURL)
	switch {
	case err != nil || u.Hostname() == "":
		return nil, errors.New("the JWKS URL is not a URL with a host") // url.Parse repeats the text
	case u.User != nil:
		return nil, errors.New("the JWKS URL must not hold a user name or a password")
	case u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())):
		return nil, errPlainHTTP
	}
	return &fetcher{url: jwksURL, client: &http.Client{
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DisableKeepAlives:      true, // minutes lie between two requests, and nothing must outlive Run
			MaxResponseHeaderBytes: maxAnswerHeader,
		},
		// Where else the keys are is the operator's to say: a redirection could lead
		// to plain HTTP.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback() || host == "localhost"
}

// get gives the body of the issuer's answer. The error does not repeat the URL,
// in which there may be a secret.
func (f *fetcher) get(ctx context.Context) (_ []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	defer func() {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err
		}
	}()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, f.url, http.NoBody)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/jwk-set+json, application/json")
	answer, err := f.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the answer has status %d", answer.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswerBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if len(body) > maxAnswerBytes {
		return nil, fmt.Errorf("the answer is longer than %d bytes", maxAnswerBytes)
	}
	return body, nil
}

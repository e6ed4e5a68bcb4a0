package hubtest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
)

// AuthenticatorCase is a request and how an authenticator must judge it.
type AuthenticatorCase struct {
	// Name is the subtest's.
	Name string
	// Request is never changed; the authenticator gets clones of it.
	Request *http.Request
	// Valid says that the request is accepted, and UserID as whom.
	Valid  bool
	UserID string
	// Forbidden says that it is refused with an error that wraps
	// hub.ErrForbidden. Other refusals must not wrap it.
	Forbidden bool
}

// TestAuthenticator checks that an authenticator keeps the contract of
// hub.Authenticator: that it judges the given cases as they say, and that it
// bears what strangers send. At least one case must be Valid; from its request
// the suite learns which headers, cookies and query parameters matter. Run it
// under the race detector too:
//
//	hubtest.TestAuthenticator(t, mine, hubtest.AuthenticatorCase{
//		Name: "good token", Request: request, Valid: true, UserID: "alice",
//	})
func TestAuthenticator(t *testing.T, a hub.Authenticator, cases ...AuthenticatorCase) {
	for _, c := range authenticatorChecks {
		t.Run(c.name, func(t *testing.T) {
			c.run(&authenticatorBed{TB: t, a: a, cases: cases, patience: time.Minute})
		})
	}
}

type authenticatorBed struct {
	testing.TB
	a        hub.Authenticator
	cases    []AuthenticatorCase
	patience time.Duration
}

var authenticatorChecks = []struct {
	name string
	run  func(b *authenticatorBed)
}{
	{"JudgesTheCases", checkCases},
	{"RefusesTheEmptyRequest", checkEmptyRequest},
	{"RefusesGarbage", checkGarbage},
	{"LeavesTheRequestAlone", checkUnchanged},
	{"MayBeCalledConcurrently", checkConcurrentAuth},
	{"ReturnsWhenTheContextIsOver", checkContext},
	{"RefusalsHideTheCredential", checkHidden},
}

// judge calls the authenticator. A panic is an error of the check.
func (b *authenticatorBed) judge(what string, r *http.Request) (result hub.AuthResult) {
	b.Helper()
	defer func() {
		if p := recover(); p != nil {
			b.Errorf("%s: panic: %v\n%s", what, p, debug.Stack())
			result = hub.AuthResult{}
		}
	}()
	return b.a.Authenticate(r)
}

func (b *authenticatorBed) compare(c AuthenticatorCase, got hub.AuthResult) {
	b.Helper()
	if got.Valid != c.Valid || got.Valid && got.UserID != c.UserID {
		b.Errorf("%s: got valid %v, user %q, error %v, want valid %v, user %q", c.Name, got.Valid, got.UserID, got.Error, c.Valid, c.UserID)
	}
	if forbidden := errors.Is(got.Error, hub.ErrForbidden); !got.Valid && forbidden != c.Forbidden {
		b.Errorf("%s: got error %v, want one that says forbidden: %v", c.Name, got.Error, c.Forbidden)
	}
}

func checkCases(b *authenticatorBed) {
	valid := 0
	for _, c := range b.cases {
		b.compare(c, b.judge(c.Name, c.Request.Clone(context.Background())))
		if c.Valid {
			valid++
		}
	}
	if valid == 0 {
		b.Error("got no valid case, want one: the suite learns from it")
	}
}

// checkEmptyRequest asks about the least that an HTTP server hands on.
func checkEmptyRequest(b *authenticatorBed) {
	for what, r := range map[string]*http.Request{
		"empty request":           {Method: http.MethodGet, URL: &url.URL{Path: "/ws"}, Header: http.Header{}},
		"request without headers": {Method: http.MethodGet, URL: &url.URL{}},
	} {
		if b.judge(what, r).Valid {
			b.Errorf("%s: got valid, want a refusal", what)
		}
	}
}

// imitate makes a request like that of a valid case, with another value in the
// place of every credential that it may carry.
func imitate(like *http.Request, value string) *http.Request {
	r := &http.Request{
		Method: like.Method, URL: &url.URL{Path: "/ws"}, Host: like.Host,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{},
	}
	for name, values := range like.Header {
		if name == "Cookie" {
			continue
		}
		for range values {
			r.Header.Add(name, value)
		}
	}
	for _, c := range like.Cookies() {
		r.Header.Add("Cookie", c.Name+"="+value)
	}
	if like.URL != nil {
		query := url.Values{}
		for name := range like.URL.Query() {
			query.Set(name, value)
		}
		r.URL.RawQuery = query.Encode()
	}
	return r
}

// garbage are values that no credential has.
func garbage() []string {
	return []string{
		"", " ", "Bearer", "Bearer ", "Bearer\t", "bearer  ", "Basic Og==", "Bearer \x00", "\xff\xfe", "a\r\nb: c",
		"Bearer one two", ";=&%zz", "Bearer " + strings.Repeat("x", 1<<20), strings.Repeat("Bearer ", 1000),
	}
}

func checkGarbage(b *authenticatorBed) {
	for _, c := range b.cases {
		if !c.Valid {
			continue
		}
		for _, value := range garbage() {
			what := c.Name + " with garbage " + message{payload: value}.String()
			r := imitate(c.Request, value)
			if b.judge(what, r).Valid {
				b.Errorf("%s: got valid, want a refusal", what)
			}
			r = imitate(c.Request, value)
			r.URL.RawQuery = value
			for name, values := range r.Header {
				r.Header[name] = append(values, value)
			}
			if b.judge(what+", twice", r).Valid {
				b.Errorf("%s, twice: got valid, want a refusal", what)
			}
		}
	}
}

// untouched is a body that must not be read.
type untouched struct{ read atomic.Bool }

func (u *untouched) Read([]byte) (int, error) {
	u.read.Store(true)
	return 0, io.EOF
}

func (u *untouched) Close() error {
	u.read.Store(true)
	return nil
}

func checkUnchanged(b *authenticatorBed) {
	for _, c := range b.cases {
		r := c.Request.Clone(context.Background())
		body := &untouched{}
		r.Body = body
		before := r.Clone(context.Background())
		b.judge(c.Name, r)
		got, want := reflect.ValueOf(*r), reflect.ValueOf(*before)
		for i := range got.NumField() {
			f := got.Type().Field(i)
			if f.IsExported() && f.Type.Kind() != reflect.Func && !reflect.DeepEqual(got.Field(i).Interface(), want.Field(i).Interface()) {
				b.Errorf("%s: the authenticator changed the request's %s", c.Name, f.Name)
			}
		}
		if body.read.Load() {
			b.Errorf("%s: the authenticator touched the body", c.Name)
		}
	}
}

func checkConcurrentAuth(b *authenticatorBed) {
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				for _, c := range b.cases {
					b.compare(c, b.judge(c.Name, c.Request.Clone(context.Background())))
				}
			}
		})
	}
	wg.Wait()
}

func checkContext(b *authenticatorBed) {
	for _, c := range b.cases {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		done := make(chan struct{})
		go func() {
			defer close(done)
			b.judge(c.Name, c.Request.Clone(ctx))
		}()
		timer := time.NewTimer(b.patience)
		select {
		case <-done:
		case <-timer.C:
			b.Errorf("%s: did not return within %v though the context is over", c.Name, b.patience)
		}
		timer.Stop()
	}
}

func checkHidden(b *authenticatorBed) {
	const canary = "hubtest-canary-7d1c0b"
	for _, c := range b.cases {
		if !c.Valid {
			continue
		}
		for _, value := range []string{canary, "Bearer " + canary, "Basic " + canary, "Bearer " + canary + " " + canary, "Bearer " + canary + "\x00"} {
			got := b.judge(c.Name, imitate(c.Request, value))
			if got.Valid {
				b.Errorf("%s: got valid with a made-up credential, want a refusal", c.Name)
			}
			if got.Error != nil && strings.Contains(got.Error.Error(), canary) {
				b.Errorf("%s: the refusal's Error has the credential in it: %v", c.Name, got.Error)
			}
			if strings.Contains(got.Challenge, canary) || strings.ContainsAny(got.Challenge, "\r\n") {
				b.Errorf("%s: the refusal's Challenge is not fit for a header: %q", c.Name, got.Challenge)
			}
		}
	}
}

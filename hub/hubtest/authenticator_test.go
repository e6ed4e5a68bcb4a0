package hubtest_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
)

// tokenCases are those of an authenticator that looks for "Bearer good" in the
// Authorization header, a cookie or the query.
func tokenCases() []hubtest.AuthenticatorCase {
	header := httptest.NewRequest("GET", "/ws", nil)
	header.Header.Set("Authorization", "Bearer good")
	query := httptest.NewRequest("GET", "/ws?token=good", nil)
	cookie := httptest.NewRequest("GET", "/ws", nil)
	cookie.AddCookie(&http.Cookie{Name: "token", Value: "good"})
	banned := httptest.NewRequest("GET", "/ws?token=banned", nil)
	return []hubtest.AuthenticatorCase{
		{Name: "header", Request: header, Valid: true, UserID: "alice"},
		{Name: "query", Request: query, Valid: true, UserID: "alice"},
		{Name: "cookie", Request: cookie, Valid: true, UserID: "alice"},
		{Name: "nothing", Request: httptest.NewRequest("GET", "/ws", nil)},
		{Name: "banned", Request: banned, Forbidden: true},
	}
}

// goodToken is an authenticator that does all right.
func goodToken(r *http.Request) hub.AuthResult {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if c, err := r.Cookie("token"); err == nil {
		token = c.Value
	}
	if r.URL != nil && r.URL.Query().Has("token") {
		token = r.URL.Query().Get("token")
	}
	switch token {
	case "good":
		return hub.AuthResult{Valid: true, UserID: "alice"}
	case "banned":
		return hub.AuthResult{Error: fmt.Errorf("banned: %w", hub.ErrForbidden)}
	}
	return hub.AuthResult{Error: errors.New("no good token")}
}

func TestAuthenticatorConformanceOfAGoodOne(t *testing.T) {
	hubtest.TestAuthenticator(t, hub.AuthenticatorFunc(goodToken), tokenCases()...)
}

func TestAuthenticatorSuiteSeesFaults(t *testing.T) {
	over := make(chan struct{})
	defer close(over)
	var calls atomic.Int64
	faults := []struct {
		check, fault string
		f            hub.AuthenticatorFunc
	}{
		{"JudgesTheCases", "refuses all", func(*http.Request) hub.AuthResult { return hub.AuthResult{} }},
		{"JudgesTheCases", "accepts all", func(*http.Request) hub.AuthResult {
			return hub.AuthResult{Valid: true, UserID: "alice"}
		}},
		{"JudgesTheCases", "another user", func(r *http.Request) hub.AuthResult {
			a := goodToken(r)
			a.UserID = "bob"
			return a
		}},
		{"JudgesTheCases", "not forbidden", func(r *http.Request) hub.AuthResult {
			return hub.AuthResult{Valid: goodToken(r).Valid, UserID: "alice"}
		}},
		{"RefusesTheEmptyRequest", "panics without a header", func(r *http.Request) hub.AuthResult {
			return hub.AuthResult{Valid: r.Header["Authorization"][0] == "Bearer token"}
		}},
		{"RefusesTheEmptyRequest", "accepts who says nothing", func(r *http.Request) hub.AuthResult {
			return hub.AuthResult{Valid: r.Header.Get("Authorization") == ""}
		}},
		{"RefusesGarbage", "accepts what is there", func(r *http.Request) hub.AuthResult {
			return hub.AuthResult{Valid: r.Header.Get("Authorization") != ""}
		}},
		{"RefusesGarbage", "panics at Bearer alone", func(r *http.Request) hub.AuthResult {
			if h := r.Header.Get("Authorization"); h != "" {
				_ = strings.Split(h, " ")[1]
			}
			return hub.AuthResult{}
		}},
		{"LeavesTheRequestAlone", "takes the header off", func(r *http.Request) hub.AuthResult {
			defer r.Header.Del("Authorization")
			return goodToken(r)
		}},
		{"LeavesTheRequestAlone", "parses the form", func(r *http.Request) hub.AuthResult {
			r.FormValue("token")
			return goodToken(r)
		}},
		{"LeavesTheRequestAlone", "reads the body", func(r *http.Request) hub.AuthResult {
			r.Body.Read(make([]byte, 1))
			return goodToken(r)
		}},
		{"MayBeCalledConcurrently", "every hundredth is lost", func(r *http.Request) hub.AuthResult {
			if calls.Add(1)%100 == 0 {
				return hub.AuthResult{Valid: true}
			}
			return goodToken(r)
		}},
		{"ReturnsWhenTheContextIsOver", "waits on", func(r *http.Request) hub.AuthResult {
			<-over
			return goodToken(r)
		}},
		{"RefusalsHideTheCredential", "in the error", func(r *http.Request) hub.AuthResult {
			return hub.AuthResult{Error: fmt.Errorf("bad header %q", r.Header.Get("Authorization"))}
		}},
		{"RefusalsHideTheCredential", "in the challenge", func(r *http.Request) hub.AuthResult {
			return hub.AuthResult{Challenge: `Bearer error="` + r.Header.Get("Authorization") + `"`}
		}},
	}
	seen := map[string]bool{}
	for _, f := range faults {
		seen[f.check] = true
		r := record(t, func(tb testing.TB) {
			hubtest.RunAuthenticatorCheck(tb, f.f, f.check, 100*time.Millisecond, tokenCases()...)
		})
		if !r.Failed() {
			t.Errorf("%s, %s: the check passed, want a failure", f.check, f.fault)
		}
	}
	for _, name := range hubtest.AuthenticatorCheckNames() {
		if !seen[name] {
			t.Errorf("no fault is shown to %s", name)
		}
	}
}

func TestAuthenticatorSuiteAsksForAValidCase(t *testing.T) {
	r := record(t, func(tb testing.TB) {
		hubtest.RunAuthenticatorCheck(tb, hub.AuthenticatorFunc(goodToken), "JudgesTheCases", time.Second, tokenCases()[3:]...)
	})
	if !r.Failed() {
		t.Error("the check passed without a valid case, want a failure")
	}
}

package auth_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"forge.lthn.ai/core/go-ws/auth"
	"forge.lthn.ai/core/go-ws/hub"
)

// A few programs, each with a key of its own.
func ExampleNewAPIKeyAuth() {
	a := auth.NewAPIKeyAuth(map[string]string{"k-7f3a": "billing", "k-91c2": "reports"})

	r := httptest.NewRequest("GET", "/ws", nil)
	r.Header.Set("Authorization", "Bearer k-7f3a")
	result := a.Authenticate(r)
	fmt.Println(result.Valid, result.UserID)

	r.Header.Set("Authorization", "Bearer k-0000")
	result = a.Authenticate(r)
	fmt.Println(result.Valid, result.Error)
	// Output:
	// true billing
	// false auth: invalid credentials
}

// Sessions that a login has put into a table, with the time of their end.
func ExampleNewCookie() {
	type session struct {
		user   string
		ends   time.Time
		banned bool
	}
	sessions := map[string]session{
		"s1": {user: "alice", ends: time.Now().Add(time.Hour)},
		"s2": {user: "mallory", ends: time.Now().Add(time.Hour), banned: true},
	}
	a := auth.NewCookie("session", func(_ context.Context, token string) hub.AuthResult {
		s, ok := sessions[token]
		switch {
		case !ok || time.Now().After(s.ends):
			return hub.AuthResult{Error: auth.ErrInvalid} // 401
		case s.banned:
			return hub.AuthResult{Error: fmt.Errorf("%s is banned: %w", s.user, hub.ErrForbidden)} // 403
		}
		return hub.AuthResult{Valid: true, UserID: s.user, ExpiresAt: s.ends}
	})

	for _, token := range []string{"s1", "s2", "s3"} {
		r := httptest.NewRequest("GET", "/ws", nil)
		r.AddCookie(&http.Cookie{Name: "session", Value: token})
		result := a.Authenticate(r)
		fmt.Println(result.Valid, result.UserID, result.Error)
	}
	// Output:
	// true alice <nil>
	// false  mallory is banned: hub: forbidden
	// false  auth: invalid credentials
}

// Programs come with a key, browsers with a ticket in the URL.
func ExampleNewFirstOf() {
	a := auth.NewFirstOf(
		auth.NewAPIKeyAuth(map[string]string{"k-7f3a": "billing"}),
		auth.NewQueryToken("ticket", func(_ context.Context, token string) hub.AuthResult {
			return hub.AuthResult{Valid: token == "t1", UserID: "alice"}
		}),
	)
	result := a.Authenticate(httptest.NewRequest("GET", "/ws?ticket=t1", nil))
	fmt.Println(result.Valid, result.UserID)
	result = a.Authenticate(httptest.NewRequest("GET", "/ws", nil))
	fmt.Println(result.Valid, result.Error)
	// Output:
	// true alice
	// false auth: no credentials: no Authorization header
}

package auth_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"

	"forge.lthn.ai/core/go-ws/auth"
	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
)

// answer is an authenticator that says the same to everyone, and counts.
func answer(result hub.AuthResult, asked *int) hub.Authenticator {
	return hub.AuthenticatorFunc(func(*http.Request) hub.AuthResult {
		*asked++
		return result
	})
}

func TestFirstOfAsksUntilOneAccepts(t *testing.T) {
	none := hub.AuthResult{Error: fmt.Errorf("a: %w", auth.ErrNoCredentials)}
	none2 := hub.AuthResult{Error: fmt.Errorf("b: %w", auth.ErrNoCredentials)}
	invalid := hub.AuthResult{Error: auth.ErrInvalid, Challenge: "X"}
	forbidden := hub.AuthResult{Error: hub.ErrForbidden}
	alice := hub.AuthResult{Valid: true, UserID: "alice"}
	bob := hub.AuthResult{Valid: true, UserID: "bob"}
	for name, c := range map[string]struct {
		answers []hub.AuthResult
		want    hub.AuthResult
		asked   int
	}{
		"first accepts":          {[]hub.AuthResult{alice, bob}, alice, 1},
		"second accepts":         {[]hub.AuthResult{none, bob, alice}, bob, 2},
		"accepts after invalid":  {[]hub.AuthResult{invalid, forbidden, bob}, bob, 3},
		"none found any":         {[]hub.AuthResult{none, none2}, none, 2},
		"second found some":      {[]hub.AuthResult{none, invalid, forbidden}, invalid, 3},
		"first found some":       {[]hub.AuthResult{forbidden, none, invalid}, forbidden, 3},
		"refusal without reason": {[]hub.AuthResult{none, {}, invalid}, hub.AuthResult{}, 3},
		"nobody to ask":          {nil, hub.AuthResult{Error: auth.ErrNoCredentials}, 0},
	} {
		asked := 0
		var as []hub.Authenticator
		for _, a := range c.answers {
			as = append(as, answer(a, &asked))
		}
		got := auth.NewFirstOf(as...).Authenticate(request())
		if got.Valid != c.want.Valid || got.UserID != c.want.UserID || got.Error != c.want.Error || got.Challenge != c.want.Challenge {
			t.Errorf("%s: got %+v, want %+v", name, got, c.want)
		}
		if asked != c.asked {
			t.Errorf("%s: got %d asked, want %d", name, asked, c.asked)
		}
	}
}

func TestFirstOfDoesNotSwallowAPanic(t *testing.T) {
	asked := 0
	a := auth.NewFirstOf(
		hub.AuthenticatorFunc(func(*http.Request) hub.AuthResult { panic("boom") }),
		answer(hub.AuthResult{Valid: true}, &asked),
	)
	defer func() {
		if p := recover(); p != "boom" || asked != 0 {
			t.Errorf("got panic %v after asking %d more, want boom and none", p, asked)
		}
	}()
	a.Authenticate(request())
}

func TestFirstOfStopsWhenTheContextIsOver(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	asked := 0
	a := auth.NewFirstOf(
		hub.AuthenticatorFunc(func(*http.Request) hub.AuthResult { cancel(); return hub.AuthResult{} }),
		answer(hub.AuthResult{Valid: true}, &asked),
	)
	if got := a.Authenticate(request().WithContext(ctx)); got.Valid || !errors.Is(got.Error, context.Canceled) || asked != 0 {
		t.Errorf("got %+v after asking %d more, want the context's error", got, asked)
	}
}

func TestFirstOfKeepsACopy(t *testing.T) {
	asked, other := 0, 0
	as := []hub.Authenticator{answer(hub.AuthResult{Valid: true}, &asked)}
	a := auth.NewFirstOf(as...)
	as[0] = answer(hub.AuthResult{}, &other)
	if got := a.Authenticate(request()); !got.Valid || other != 0 {
		t.Errorf("got %+v, want the answer of the one that was given", got)
	}
}

func TestFirstOfConformance(t *testing.T) {
	a := auth.NewFirstOf(keys(), auth.NewCookie("session", validate), auth.NewQueryToken("token", validate))
	hubtest.TestAuthenticator(t, a,
		hubtest.AuthenticatorCase{Name: "key", Request: request("Bearer key-of-bob"), Valid: true, UserID: "bob"},
		hubtest.AuthenticatorCase{Name: "cookie", Request: withCookies("session=secret-of-alice"), Valid: true, UserID: "alice"},
		hubtest.AuthenticatorCase{Name: "query", Request: withQuery("token=secret-of-alice"), Valid: true, UserID: "alice"},
		hubtest.AuthenticatorCase{Name: "forbidden", Request: withCookies("session=secret-of-mallory"), Forbidden: true},
		hubtest.AuthenticatorCase{Name: "nobody", Request: request()},
	)
}

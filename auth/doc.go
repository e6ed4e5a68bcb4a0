// Package auth has ready-made authenticators for a hub: who may connect is
// decided before anything is upgraded.
//
//   - [APIKeyAuthenticator] knows its keys: "Authorization: Bearer <key>".
//   - [NewBearer], [NewQueryToken] and [NewCookie] find a token and leave
//     judging it to a function of yours. A JSON Web Token is checked there, with
//     the library that you choose; this module depends on none.
//   - [NewFirstOf] tries several in order.
//
// Anything else is a [hub.Authenticator] of your own; hubtest.TestAuthenticator
// tests it.
//
// What they have in common: all may be called concurrently, never change the
// request, and do not panic whatever it carries. A refusal is answered 401, with
// a WWW-Authenticate header, or 403 where its error wraps [hub.ErrForbidden].
// Its error wraps one of this package's, or is the function's; none of this
// package's ever contains the credential, so it may be logged.
package auth

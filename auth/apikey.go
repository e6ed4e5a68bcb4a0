package auth

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"maps"
	"net/http"
	"sync"

	"forge.lthn.ai/core/go-ws/hub"
)

// APIKeyAuthenticator accepts requests with "Authorization: Bearer <key>" whose
// key it knows. The scheme's case does not matter, the key's does.
//
// How long the answer takes tells nothing about the keys but their number: what
// is compared are hashes under a secret of this process, all of them, each in
// constant time. It is meant for hundreds of keys; for more, look them up in a
// function given to NewBearer.
//
// The zero value refuses everyone. All methods may be called concurrently.
type APIKeyAuthenticator struct {
	// Keys has the user id for each key; several keys may share one, and an
	// empty one makes the client anonymous. It is read once, when the first
	// request comes, and must not be changed after that. A key that no header
	// can carry (empty, longer than MaxToken, other than printable ASCII
	// without spaces) is never accepted.
	Keys map[string]string

	once    sync.Once
	secret  [sha256.Size]byte
	digests []keyDigest
}

type keyDigest struct {
	sum  [sha256.Size]byte
	user string
}

// NewAPIKeyAuth returns an authenticator for a copy of keys, from key to user
// id.
func NewAPIKeyAuth(keys map[string]string) *APIKeyAuthenticator {
	return &APIKeyAuthenticator{Keys: maps.Clone(keys)}
}

// Authenticate implements hub.Authenticator.
func (a *APIKeyAuthenticator) Authenticate(r *http.Request) hub.AuthResult {
	a.once.Do(a.digestKeys)
	key, err := bearerToken(r.Header)
	return bearerChallenge(judge(r, key, err, a.find))
}

func (a *APIKeyAuthenticator) digestKeys() {
	rand.Read(a.secret[:]) // never fails, see its documentation
	for key, user := range a.Keys {
		a.digests = append(a.digests, keyDigest{a.digest(key), user})
	}
}

func (a *APIKeyAuthenticator) digest(key string) (sum [sha256.Size]byte) {
	mac := hmac.New(sha256.New, a.secret[:])
	mac.Write([]byte(key))
	mac.Sum(sum[:0])
	return sum
}

func (a *APIKeyAuthenticator) find(_ context.Context, key string) hub.AuthResult {
	sum := a.digest(key)
	found := -1
	for i := range a.digests {
		equal := subtle.ConstantTimeCompare(sum[:], a.digests[i].sum[:])
		found = subtle.ConstantTimeSelect(equal, i, found)
	}
	if found < 0 {
		return hub.AuthResult{Error: ErrInvalid}
	}
	return hub.AuthResult{Valid: true, UserID: a.digests[found].user}
}

package client

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"forge.lthn.ai/core/go-ws/hub/wire"
)

// verdict is what the end of a connection or of an attempt means.
type verdict struct {
	// final: coming back is in vain.
	final bool
	// delay that the server asked for; hinted where it is this client's alone.
	delay  time.Duration
	hinted bool
	// credentials: come back at once with new ones.
	credentials bool
}

// judge reads the tables of docs/protocol.md. renews says whether there is a
// Credentials function.
func judge(err error, renews bool) verdict {
	if errors.Is(err, ErrRefused) { // by Credentials
		return verdict{final: true}
	}
	if status, ok := errors.AsType[*StatusError](err); ok {
		return judgeStatus(status, renews)
	}
	if closed, ok := errors.AsType[*CloseError](err); ok {
		return judgeClose(closed)
	}
	return verdict{} // the network's
}

func judgeStatus(e *StatusError, renews bool) verdict {
	switch e.Status {
	case http.StatusUnauthorized:
		return verdict{final: !renews}
	case http.StatusForbidden, http.StatusUpgradeRequired, http.StatusBadRequest,
		http.StatusMethodNotAllowed, http.StatusHTTPVersionNotSupported, http.StatusInternalServerError:
		return verdict{final: true}
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return verdict{delay: e.RetryAfter}
	}
	// Not a hub's: a balancer's, whose hub may be back in a moment.
	return verdict{}
}

func judgeClose(e *CloseError) verdict {
	v := verdict{final: !e.Code.Reconnect()}
	switch e.Code {
	case wire.CloseServiceRestart:
		v.delay, v.hinted = parseHint(e.Reason)
	case wire.CloseCredentialsExpired:
		v.credentials = true
	}
	return v
}

// parseHint reads the reason of a close frame with 1012. What can't be read is
// no hint.
func parseHint(reason string) (delay time.Duration, ok bool) {
	var hint struct {
		ReconnectAfter *float64 `json:"reconnectAfterMs"`
	}
	if json.Unmarshal([]byte(reason), &hint) != nil || hint.ReconnectAfter == nil {
		return 0, false
	}
	ms := *hint.ReconnectAfter
	if ms < 0 {
		return 0, false
	}
	return milliseconds(ms), true
}

// farOff is longer than any delay that is obeyed, and fits a time.Duration.
const farOff = 365 * 24 * time.Hour

func milliseconds(ms float64) time.Duration {
	return time.Duration(min(ms, float64(farOff/time.Millisecond)) * float64(time.Millisecond))
}

// parseRetryAfter reads the header (RFC 9110, section 10.2.3): seconds or a date,
// which is compared with the server's own clock where the answer has it. What
// can't be read, or is past, is zero.
func parseRetryAfter(h http.Header, now time.Time) time.Duration {
	value := strings.TrimSpace(h.Get("Retry-After"))
	if value == "" {
		return 0
	}
	if strings.Trim(value, "0123456789") == "" {
		seconds, err := strconv.ParseInt(value, 10, 64)
		if err != nil || seconds > int64(farOff/time.Second) {
			return farOff
		}
		return time.Duration(seconds) * time.Second
	}
	date, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	if server, err := http.ParseTime(h.Get("Date")); err == nil {
		now = server
	}
	return min(max(date.Sub(now), 0), farOff)
}

// statusError reads an answer that was no upgrade.
func statusError(resp *http.Response) *StatusError {
	e := &StatusError{Status: resp.StatusCode, RetryAfter: parseRetryAfter(resp.Header, time.Now())}
	if resp.Body != nil {
		// What can't be read of it is only missing in a text for people.
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 1024))
		line, _, _ := bytes.Cut(body, []byte("\n"))
		e.Cause = strings.ToValidUTF8(strings.TrimSpace(string(line[:min(len(line), 200)])), "\uFFFD")
	}
	return e
}

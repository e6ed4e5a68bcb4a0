package client_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"forge.lthn.ai/core/go-ws/client"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

const s, ms = time.Second, time.Millisecond

func TestBackoffDoublesUpToItsMaximum(t *testing.T) {
	bubble(t, client.ReconnectConfig{DisableJitter: true, MaxRetries: 7}, func(b *bed) {
		b.server.Fail(errors.New("no server"))
		err := b.client.Run(b.Context())
		if !errors.Is(err, client.ErrTooManyRetries) || !strings.Contains(err.Error(), "no server") {
			b.Errorf("Run: got %v, want ErrTooManyRetries and the last attempt's error", err)
		}
		b.wantDelays(1*s, 2*s, 4*s, 8*s, 16*s, 30*s, 30*s)
	})
}

func TestBackoffFollowsItsConfiguration(t *testing.T) {
	cfg := client.ReconnectConfig{
		DisableJitter: true, MaxRetries: 5,
		InitialBackoff: 250 * ms, BackoffMultiplier: 1.5, MaxBackoff: 700 * ms,
	}
	bubble(t, cfg, func(b *bed) {
		b.server.Fail(errors.New("no server"))
		_ = b.client.Run(b.Context())
		b.wantDelays(250*ms, 375*ms, 562500*time.Microsecond, 700*ms, 700*ms)
	})
}

func TestTheLongestDurationsDoNotOverflow(t *testing.T) {
	bubble(t, client.ReconnectConfig{InitialBackoff: math.MaxInt64, MaxServerDelay: math.MaxInt64}, func(b *bed) {
		b.server.Refuse(http.StatusServiceUnavailable, http.Header{"Retry-After": {"60"}})
		b.start()
		time.Sleep(time.Minute) // the delay is drawn between that and a year
		b.wantDelays()
	})
}

func TestJitterIsDrawnBetweenZeroAndTheBackoff(t *testing.T) {
	bubble(t, client.ReconnectConfig{MaxRetries: 5}, func(b *bed) {
		parts := []float64{0, 1, 0.5, 0.25, 0.1}
		var limits []time.Duration
		client.SetDraw(b.client, func(limit time.Duration) time.Duration {
			part := parts[len(limits)]
			limits = append(limits, limit)
			return time.Duration(part * float64(limit))
		})
		b.server.Fail(errors.New("no server"))
		_ = b.client.Run(b.Context())
		if got, want := fmt.Sprint(limits), fmt.Sprint([]time.Duration{1 * s, 2 * s, 4 * s, 8 * s, 16 * s}); got != want {
			b.Errorf("limits: got %v, want %v", got, want)
		}
		b.wantDelays(0, 2*s, 2*s, 2*s, 1600*ms)
	})
}

func TestJitterIsOnByDefaultAndFull(t *testing.T) {
	short, long := 0, 0
	for range 40 {
		bubble(t, client.ReconnectConfig{MaxRetries: 1}, func(b *bed) {
			b.server.Fail(errors.New("no server"))
			_ = b.client.Run(b.Context())
			switch d := b.delays()[0]; {
			case d < 0 || d > s:
				b.Errorf("delay: got %v, want up to 1 s", d)
			case d < s/2:
				short++
			default:
				long++
			}
		})
	}
	// Either has a chance of one in 10^12 to be none.
	if short == 0 || long == 0 {
		t.Errorf("delays: got %d below half a second and %d above, want some of each", short, long)
	}
}

func TestBackoffBeginsAnewOnlyAfterAConnectionHasLasted(t *testing.T) {
	bubble(t, client.ReconnectConfig{DisableJitter: true, StableAfter: 10 * s}, func(b *bed) {
		conn := b.connect()
		for _, lasts := range []time.Duration{9999 * ms, 0, 5 * s, 10 * s, 0} {
			time.Sleep(lasts)
			conn.Cut()
			conn = b.accepted()
		}
		b.wantDelays(9999*ms+1*s, 2*s, 5*s+4*s, 10*s+1*s, 2*s)
	})
}

func TestRetriesAreCountedFromTheLastConnectionThatLasted(t *testing.T) {
	bubble(t, client.ReconnectConfig{DisableJitter: true, StableAfter: 10 * s, MaxRetries: 2}, func(b *bed) {
		conn := b.connect()
		for range 3 { // each of them good
			time.Sleep(10 * s)
			conn.Cut()
			conn = b.accepted()
		}
		conn.Cut()
		b.accepted().Cut()
		if err := b.client.Wait(b.Context()); !errors.Is(err, client.ErrTooManyRetries) {
			b.Errorf("Wait: got %v, want ErrTooManyRetries", err)
		}
		if got, want := len(b.server.Attempts()), 5; got != want {
			b.Errorf("attempts: got %d, want %d", got, want)
		}
	})
}

func TestMaxRetriesZeroNeverGivesUp(t *testing.T) {
	bubble(t, client.ReconnectConfig{DisableJitter: true}, func(b *bed) {
		b.server.Fail(errors.New("no server"))
		ran := b.start()
		time.Sleep(24 * time.Hour)
		if got := len(b.server.Attempts()); got < 2800 {
			b.Errorf("attempts in a day: got %d, want about 2,880", got)
		}
		b.server.Admit()
		b.accepted()
		if got, want := b.client.State(), client.StateConnected; got != want {
			b.Errorf("state: got %v, want %v", got, want)
		}
		_ = b.client.Close()
		if err := <-ran; !errors.Is(err, client.ErrClosed) {
			b.Errorf("Run: got %v, want ErrClosed", err)
		}
	})
}

func TestTheHintOfAHubThatShutsDownIsObeyedToTheMillisecond(t *testing.T) {
	for _, c := range []struct {
		reason string
		want   time.Duration
	}{
		{`{"reason":"restart","reconnectAfterMs":2317}`, 2317 * ms},
		{`{"reason":"restart","reconnectAfterMs":0}`, 0},
		{`{"reconnectAfterMs":86400000,"later":true}`, 5 * time.Minute},
		{`{"reconnectAfterMs":1e300}`, 5 * time.Minute},
		{`{"reconnectAfterMs":-1}`, s},
		{`{"reconnectAfterMs":"soon"}`, s},
		{`{"reason":"restart"}`, s},
		{`restart`, s},
		{``, s},
	} {
		t.Run(c.reason, func(t *testing.T) {
			bubble(t, client.ReconnectConfig{DisableJitter: true}, func(b *bed) {
				if err := b.connect().Close(wire.CloseServiceRestart, c.reason); err != nil {
					b.Fatal(err)
				}
				b.accepted()
				b.wantDelays(c.want)
			})
		})
	}
}

func TestAfterAHintBackoffGoesOn(t *testing.T) {
	bubble(t, client.ReconnectConfig{DisableJitter: true}, func(b *bed) {
		conn := b.connect()
		b.server.Fail(errors.New("no server"))
		_ = conn.Close(wire.CloseServiceRestart, `{"reconnectAfterMs":100}`)
		time.Sleep(10 * s)
		b.wantDelays(100*ms, 2*s, 4*s)
	})
}

func TestRetryAfterIsObeyed(t *testing.T) {
	for _, status := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
		bubble(t, client.ReconnectConfig{DisableJitter: true, MaxRetries: 2}, func(b *bed) {
			b.server.Refuse(status, http.Header{"Retry-After": {"7"}})
			err := b.client.Run(b.Context())
			b.wantDelays(7*s, 7*s)
			refusal, ok := errors.AsType[*client.StatusError](err)
			if !ok || refusal.Status != status || refusal.RetryAfter != 7*s || refusal.Cause != http.StatusText(status) {
				b.Errorf("Run: got %v, want a StatusError of %d, 7 s and its text", err, status)
			}
		})
	}
}

func TestRetryAfterGetsTheJitterOnTop(t *testing.T) {
	bubble(t, client.ReconnectConfig{MaxRetries: 3}, func(b *bed) {
		client.SetDraw(b.client, func(limit time.Duration) time.Duration { return limit / 4 })
		b.server.Refuse(http.StatusServiceUnavailable, http.Header{"Retry-After": {"3600"}})
		_ = b.client.Run(b.Context())
		b.wantDelays(5*time.Minute+250*ms, 5*time.Minute+500*ms, 5*time.Minute+1*s)
	})
}

func TestExpiredCredentialsAreRenewedAtOnceButNotAgainAndAgain(t *testing.T) {
	var asked []error
	cfg := client.ReconnectConfig{
		DisableJitter: true,
		Credentials: func(_ context.Context, last error) (client.Credentials, error) {
			asked = append(asked, last)
			return client.Credentials{Header: http.Header{"Authorization": {fmt.Sprintf("Bearer %d", len(asked))}}}, nil
		},
	}
	bubble(t, cfg, func(b *bed) {
		conn := b.connect()
		for range 4 {
			_ = conn.Close(wire.CloseCredentialsExpired, "expired")
			conn = b.accepted()
		}
		b.wantDelays(0, 2*s, 0, 8*s)
		for i, a := range b.server.Attempts() {
			if got, want := a.Header.Get("Authorization"), fmt.Sprintf("Bearer %d", i+1); got != want {
				b.Errorf("attempt %d: got %q, want %q", i, got, want)
			}
		}
		if asked[0] != nil {
			b.Errorf("the first time: got %v, want nil", asked[0])
		}
		if closed, ok := errors.AsType[*client.CloseError](asked[1]); !ok || closed.Code != wire.CloseCredentialsExpired {
			b.Errorf("the second time: got %v, want the close code 4001", asked[1])
		}
	})
}

func TestClosecodesDecideWhetherToComeBack(t *testing.T) {
	stay := map[wire.CloseCode]bool{1000: true, 1002: true, 1003: true, 1007: true, 1008: true, 1009: true, 4500: true, 4999: true}
	for _, code := range []wire.CloseCode{
		1000, 1001, 1002, 1003, 1007, 1008, 1009, 1011, 1012, 1013, 1014, 3000,
		4000, 4001, 4002, 4003, 4004, 4499, 4500, 4999,
	} {
		bubble(t, client.ReconnectConfig{DisableJitter: true}, func(b *bed) {
			_ = b.connect().Close(code, "because")
			if !stay[code] {
				b.accepted()
				return
			}
			err := b.client.Wait(b.Context())
			closed, ok := errors.AsType[*client.CloseError](err)
			if !errors.Is(err, client.ErrRefused) || !ok || closed.Code != code || closed.Reason != "because" {
				b.Errorf("code %d: got %v, want ErrRefused and a CloseError", code, err)
			}
			time.Sleep(time.Hour)
			if got := len(b.server.Attempts()); got != 1 {
				b.Errorf("code %d: got %d attempts, want 1", code, got)
			}
		})
	}
}

func TestAnEndWithoutACloseFrameIs1006(t *testing.T) {
	bubble(t, client.ReconnectConfig{DisableJitter: true}, func(b *bed) {
		b.connect().Cut()
		b.accepted()
		closed, ok := errors.AsType[*client.CloseError](b.heard.errors()[0])
		if !ok || closed.Code != wire.CloseAbnormal {
			b.Errorf("OnDisconnect: got %v, want the code 1006", b.heard.errors()[0])
		}
		if got, want := b.heard.errors()[0].Error(), "connection lost: clienttest: connection reset"; got != want {
			b.Errorf("OnDisconnect: got %q, want %q", got, want)
		}
	})
}

func TestStatusesDecideWhetherToComeBack(t *testing.T) {
	final := map[int]bool{401: true, 403: true, 426: true, 400: true, 405: true, 505: true, 500: true}
	for _, status := range []int{200, 301, 400, 401, 403, 404, 405, 408, 426, 429, 500, 502, 503, 504, 505} {
		bubble(t, client.ReconnectConfig{DisableJitter: true, MaxRetries: 1}, func(b *bed) {
			b.server.Refuse(status, nil)
			err := b.client.Run(b.Context())
			refusal, ok := errors.AsType[*client.StatusError](err)
			if !ok || refusal.Status != status || errors.Is(err, client.ErrRefused) != final[status] {
				b.Errorf("status %d: got %v, want a StatusError, final: %v", status, err, final[status])
			}
			if got := len(b.server.Attempts()); final[status] && got != 1 || !final[status] && got != 2 {
				b.Errorf("status %d: got %d attempts", status, got)
			}
		})
	}
}

func TestARedirectIsAnAnswerToWaitAfter(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		for _, location := range []string{"/ws", "http://elsewhere.invalid/ws", "http://[::1?token=hunter2"} {
			bubble(t, client.ReconnectConfig{DisableJitter: true, MaxRetries: 2}, func(b *bed) {
				b.server.Refuse(status, http.Header{"Location": {location}})
				err := b.client.Run(b.Context())
				if refusal, ok := errors.AsType[*client.StatusError](err); !ok || refusal.Status != status {
					b.Errorf("%d to %s: got %v, want a StatusError", status, location, err)
				}
				b.wantDelays(1*s, 2*s)
				if text := b.log.String() + err.Error(); strings.Contains(text, "hunter") || strings.Contains(text, "elsewhere") {
					b.Errorf("%d to %s: got %s, want nothing of where it leads", status, location, text)
				}
			})
		}
	}
}

func Test401IsTriedAgainWithNewCredentials(t *testing.T) {
	var last []error
	cfg := client.ReconnectConfig{
		DisableJitter: true,
		Credentials: func(_ context.Context, why error) (client.Credentials, error) {
			last = append(last, why)
			return client.Credentials{Query: map[string][]string{"ticket": {fmt.Sprint(len(last))}}}, nil
		},
		URL: "ws://clienttest.invalid/ws?room=1",
	}
	bubble(t, cfg, func(b *bed) {
		b.server.Refuse(http.StatusUnauthorized, nil)
		b.start()
		time.Sleep(3500 * ms)
		b.server.Admit()
		b.accepted()
		b.wantDelays(1*s, 2*s, 4*s)
		if got, want := b.server.Attempts()[2].URI, "/ws?room=1&ticket=3"; got != want {
			b.Errorf("URI: got %q, want %q", got, want)
		}
		if refusal, ok := errors.AsType[*client.StatusError](last[1]); !ok || refusal.Status != 401 {
			b.Errorf("the second call was told %v, want 401", last[1])
		}
	})
}

func TestCredentialsMayFailForNowOrForGood(t *testing.T) {
	calls := 0
	cfg := client.ReconnectConfig{DisableJitter: true, HandshakeTimeout: 10 * s}
	cfg.Credentials = func(ctx context.Context, _ error) (client.Credentials, error) {
		calls++
		switch calls {
		case 1:
			return client.Credentials{}, errors.New("the token server is away")
		case 2:
			<-ctx.Done() // hangs
			return client.Credentials{}, ctx.Err()
		}
		return client.Credentials{}, fmt.Errorf("the account is gone: %w", client.ErrRefused)
	}
	bubble(t, cfg, func(b *bed) {
		err := b.client.Run(b.Context())
		if !errors.Is(err, client.ErrRefused) || !strings.Contains(err.Error(), "the account is gone") {
			b.Errorf("Run: got %v, want ErrRefused", err)
		}
		if got, want := time.Since(b.began), 1*s+10*s+2*s; got != want {
			b.Errorf("time: got %v, want %v", got, want)
		}
		if got := len(b.server.Attempts()); got != 0 {
			b.Errorf("attempts: got %d, want none", got)
		}
	})
}

func TestAHandshakeThatHangsIsGivenUp(t *testing.T) {
	bubble(t, client.ReconnectConfig{DisableJitter: true, HandshakeTimeout: 3 * s}, func(b *bed) {
		b.server.Hang()
		b.start()
		time.Sleep(4 * s)
		synctest.Wait()
		b.wantDelays(4 * s)
		b.server.Admit()
		b.accepted()
		if errs := b.heard.errors(); len(errs) != 1 || !errors.Is(errs[0], context.DeadlineExceeded) {
			b.Errorf("OnError: got %v, want one deadline exceeded", errs)
		}
	})
}

func TestASilentServerIsPingedAndGivenUp(t *testing.T) {
	bubble(t, client.ReconnectConfig{DisableJitter: true, PingInterval: 20 * s, PongTimeout: 10 * s}, func(b *bed) {
		conn := b.connect()
		time.Sleep(10 * time.Minute) // pongs are enough
		if got := len(b.server.Attempts()); got != 1 {
			b.Fatalf("attempts: got %d, want 1", got)
		}
		conn.Freeze()
		frozen := time.Now()
		again := b.accepted()
		if got := time.Since(frozen); got > 31*s || got < 11*s {
			b.Errorf("came back after %v, want 30 s at most and the backoff", got)
		}
		if err := b.heard.errors()[0]; !errors.Is(err, client.ErrPongTimeout) {
			b.Errorf("OnDisconnect: got %v, want ErrPongTimeout", err)
		}
		if again == conn {
			b.Error("the same connection")
		}
	})
}

func TestAnyBytesAreLife(t *testing.T) {
	bubble(t, client.ReconnectConfig{DisableJitter: true, PingInterval: 20 * s, PongTimeout: 10 * s}, func(b *bed) {
		conn := b.connect()
		for range 100 {
			time.Sleep(15 * s)
			b.publish("", "tick")
		}
		conn.Freeze()
		frozen := time.Now()
		b.accepted()
		if got, want := time.Since(frozen), 31*s; got != want {
			b.Errorf("came back after %v, want %v", got, want)
		}
	})
}

func TestPingsCanBeSwitchedOff(t *testing.T) {
	bubble(t, client.ReconnectConfig{PingInterval: -1}, func(b *bed) {
		b.connect().Freeze()
		time.Sleep(24 * time.Hour)
		if got, want := b.client.State(), client.StateConnected; got != want {
			b.Errorf("state: got %v, want %v", got, want)
		}
	})
}

func TestAMachineThatHasSleptPingsAtOnce(t *testing.T) {
	bubble(t, client.ReconnectConfig{DisableJitter: true, PingInterval: time.Hour, PongTimeout: 10 * s}, func(b *bed) {
		var asleep atomic.Int64
		client.SetWall(b.client, func() time.Time { return time.Now().Round(0).Add(time.Duration(asleep.Load())) })
		conn := b.connect()
		time.Sleep(time.Minute)
		conn.Freeze()
		synctest.Wait()
		asleep.Store(int64(8 * time.Hour)) // timers stood still
		woke := time.Now()
		b.accepted()
		if got := time.Since(woke); got > 5*s+10*s+1*s {
			b.Errorf("came back %v after waking, want 16 s at most", got)
		}
	})
}

func TestAMachineThatHasSleptDoesNotWaitForItsBackoff(t *testing.T) {
	bubble(t, client.ReconnectConfig{DisableJitter: true, InitialBackoff: 10 * time.Minute, MaxBackoff: 10 * time.Minute}, func(b *bed) {
		var asleep atomic.Int64
		client.SetWall(b.client, func() time.Time { return time.Now().Round(0).Add(time.Duration(asleep.Load())) })
		b.server.Fail(errors.New("no network"))
		b.start()
		time.Sleep(time.Minute + ms)
		b.server.Admit()
		asleep.Store(int64(8 * time.Hour))
		woke := time.Now()
		b.accepted()
		if got := time.Since(woke); got > 5*s {
			b.Errorf("connected %v after waking, want 5 s at most", got)
		}
	})
}

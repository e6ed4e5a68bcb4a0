package balancers_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"forge.lthn.ai/core/go-ws/examples/tests/internal/child"
)

// each runs a test with each balancer's configuration, with affinity and without.
func each(t *testing.T, test func(t *testing.T, b balancer, config string)) {
	for _, b := range balancers {
		plain, affinity := blocks(t, b.language)
		t.Run(b.name, func(t *testing.T) { test(t, b, plain) })
		t.Run(b.name+" with affinity", func(t *testing.T) { test(t, b, b.sticky(t, plain, affinity)) })
	}
}

// visit connects until a visitor is on each of the two gateways.
func visit(t *testing.T, addr string, first, second *gateway) (onFirst, onSecond *client, visitors [2]*visitor) {
	t.Helper()
	for range 64 {
		v := newVisitor(t)
		v.cookie(t, addr)
		before := first.connected(t)
		c := v.dial(t, addr)
		c.join("news")
		if first.connected(t) > before {
			onFirst, visitors[0] = c, v
		} else {
			onSecond, visitors[1] = c, v
		}
		if onFirst != nil && onSecond != nil {
			return
		}
	}
	t.Fatalf("64 visitors are on one gateway: got %d and %d connections, want some on each", first.connected(t), second.connected(t))
	return
}

// visits counts the visitors, so that each gets a cookie of its own.
var visits int

// cookie gives a visitor the cookie that the pages' server would set.
func (v *visitor) cookie(t *testing.T, addr string) {
	t.Helper()
	visits++
	u, err := url.Parse("http://" + addr)
	if err != nil {
		t.Fatal(err)
	}
	v.jar.SetCookies(u, []*http.Cookie{{Name: "sid", Value: fmt.Sprint("session-", visits)}})
}

func TestAMessageCrossesToAClientOnTheOtherGateway(t *testing.T) {
	each(t, func(t *testing.T, b balancer, config string) {
		first, second := pair(t)
		onFirst, onSecond, _ := visit(t, b.run(t, config, first, second), first, second)
		first.publish(t, "news", "from the first")
		onFirst.hears("news", "from the first")
		onSecond.hears("news", "from the first")
		second.publish(t, "news", "from the second")
		onFirst.hears("news", "from the second")
		onSecond.hears("news", "from the second")
	})
}

func TestClientsGoToTheOtherGatewayWhenOneDies(t *testing.T) {
	each(t, func(t *testing.T, b balancer, config string) {
		first, second := pair(t)
		addr := b.run(t, config, first, second)
		onFirst, onSecond, visitors := visit(t, addr, first, second)
		first.Kill()
		onFirst.closed()
		// With all the cookies that it has of the dead one.
		again := visitors[0].dial(t, addr)
		again.join("news")
		second.publish(t, "news", "who is left")
		again.hears("news", "who is left")
		onSecond.hears("news", "who is left")
	})
}

func TestADrainingGatewayTellsItsClientsToComeBack(t *testing.T) {
	each(t, func(t *testing.T, b balancer, config string) {
		first, second := pair(t)
		addr := b.run(t, config, first, second)
		_, onSecond, visitors := visit(t, addr, first, second)
		second.Terminate()
		end := onSecond.closed()
		var hint struct {
			Reason           string
			ReconnectAfterMs *int
		}
		if err := json.Unmarshal([]byte(end.Reason), &hint); end.Code != 1012 || err != nil || hint.ReconnectAfterMs == nil {
			t.Errorf("got close %d %q, want 1012 with a hint when to come back", end.Code, end.Reason)
		}
		second.Ends(0)
		again := visitors[1].dial(t, addr)
		again.join("news")
		first.publish(t, "news", "after the deploy")
		again.hears("news", "after the deploy")
	})
}

func TestAffinityBringsAVisitorBackToTheSameGateway(t *testing.T) {
	for _, b := range balancers {
		t.Run(b.name, func(t *testing.T) {
			first, second := pair(t)
			plain, affinity := blocks(t, b.language)
			addr := b.run(t, b.sticky(t, plain, affinity), first, second)
			_, _, visitors := visit(t, addr, first, second)
			for i, g := range []*gateway{first, second} {
				before := g.connected(t)
				const times = 8
				for range times {
					visitors[i].dial(t, addr).join("news")
				}
				if got, want := g.connected(t)-before, times; got != want {
					t.Errorf("visitor %d came back %d times: got %d of them on the same gateway, want all", i+1, want, got)
				}
			}
		})
	}
}

func TestTheClientsAddressAndOriginReachTheHub(t *testing.T) {
	each(t, func(t *testing.T, b balancer, config string) {
		first, second := pair(t, "-max-clients-per-address", "1")
		addr := b.run(t, config, first, second)
		// The limit counts on each gateway, so two from one address may find room.
		ann, ben := newVisitor(t), newVisitor(t)
		ann.from, ben.from = "127.0.0.2", "127.0.0.3"
		refused := func(headers ...string) *http.Response {
			for range 3 {
				if c, answer := ann.try(t, addr, headers...); c == nil {
					return answer
				}
			}
			return nil
		}
		for _, answer := range []*http.Response{refused(), refused("X-Forwarded-For", "198.51.100.7")} {
			if answer == nil || answer.StatusCode != http.StatusTooManyRequests {
				t.Fatalf("a third client of one address: got %v, want 429", answer)
			}
			if s, err := strconv.Atoi(answer.Header.Get("Retry-After")); err != nil || s <= 0 {
				t.Errorf("Retry-After: got %q, want seconds", answer.Header.Get("Retry-After"))
			}
		}
		ben.dial(t, addr, "Origin", "http://"+addr)
		cid := newVisitor(t)
		cid.from = "127.0.0.4"
		if c, answer := cid.try(t, addr, "Origin", "http://elsewhere.example"); c != nil || answer.StatusCode != http.StatusForbidden {
			t.Errorf("a page from elsewhere: got %s, want 403", answer.Status)
		}
	})
}

func TestTimeoutsAreLongerThanTheHeartbeat(t *testing.T) {
	binary, err := gatewayBinary()
	if err != nil {
		t.Fatal(err)
	}
	p := child.Start(t, nil, binary, "-h")
	<-p.Exited
	found := regexp.MustCompile(`(?s)-pong-timeout.*?\(default ([0-9ms]+)\)`).FindStringSubmatch(p.Output())
	if found == nil {
		t.Fatalf("the gateway does not say its -pong-timeout: %s", p.Output())
	}
	silent, err := time.ParseDuration(found[1])
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range balancers {
		plain, affinity := blocks(t, b.language)
		for _, name := range b.timeouts {
			value := setting(t, plain, name)
			if got, err := time.ParseDuration(value); err != nil || got <= silent {
				t.Errorf("%s: %s: got %s, want more than %v", b.name, name, value, silent)
			}
		}
		// Caddy has no idle timeout, and one for the whole life when it is asked.
		if strings.Contains(plain+affinity, "stream_timeout") {
			t.Errorf("%s bounds the whole life of a connection", b.name)
		}
	}
}

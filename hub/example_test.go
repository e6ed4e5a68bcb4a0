package hub_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
	"forge.lthn.ai/core/go-ws/hub/wire"
)

// A program has one hub, which it runs beside its HTTP server. Here the
// transport is the one for tests, so that the example needs no socket; a
// program uses the one of package transport.
func ExampleNew() {
	sockets := hubtest.NewTransport()
	h, err := hub.New(hub.Config{Transport: sockets, Logger: quiet})
	if err != nil {
		fmt.Println(err)
		return
	}
	http.NewServeMux().Handle("/ws", h.Handler())

	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	<-h.Started() // from here on it takes clients

	stop() // as a signal would
	fmt.Println("ended with", <-ended)
	// Output: ended with <nil>
}

// What can't work is refused when the hub is made. The error names every field.
func ExampleNew_invalid() {
	_, err := hub.New(hub.Config{OutboxBytes: -1})
	fmt.Println(err)
	// Output:
	// hub: Config.Transport: is required
	// hub: Config.OutboxBytes: is negative
}

func ExampleHub_SendToChannel() {
	h, connect, stop := exampleHub(hub.Config{})
	defer stop()
	ann := connect("/ws")
	ann.say(`{"type":"subscribe","data":"news"}`)
	ann.print()

	result, err := h.SendToChannel(context.Background(), "news", hub.Message{
		ID:   "article-17", // published again with this id, it is not delivered again
		Data: map[string]string{"title": "hello"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ann.print()
	fmt.Println("published as", result.ID)
	// Output:
	// subscribed news
	// event news {"title":"hello"}
	// published as article-17
}

// Who may join a channel is decided by OnSubscribe. A RequestError's code and
// text reach the client; those of any other error don't.
func ExampleConfig_onSubscribe() {
	_, connect, stop := exampleHub(hub.Config{
		OnSubscribe: func(ctx context.Context, c *hub.Client, channel string) error {
			if strings.HasPrefix(channel, "public:") {
				return nil
			}
			return &hub.RequestError{Code: wire.ErrorForbidden, Message: "members only"}
		},
	})
	defer stop()
	ann := connect("/ws")
	ann.say(`{"type":"subscribe","data":"public:news"}`)
	ann.print()
	ann.say(`{"type":"subscribe","data":"board","id":"7"}`)
	ann.print()
	// Output:
	// subscribed public:news
	// error board {"code":"forbidden","message":"members only"} (answers 7)
}

// A frame whose type is the application's is answered by what OnMessage
// returns, with the id that the client gave it.
func ExampleConfig_onMessage() {
	_, connect, stop := exampleHub(hub.Config{
		OnMessage: func(ctx context.Context, c *hub.Client, f wire.Frame) (*hub.Message, error) {
			var numbers []int
			if err := json.Unmarshal(f.Data, &numbers); f.Type != "sum" || err != nil {
				return nil, &hub.RequestError{Code: wire.ErrorInvalidFrame, Message: "want a sum of whole numbers"}
			}
			sum := 0
			for _, n := range numbers {
				sum += n
			}
			return &hub.Message{Data: sum}, nil
		},
	})
	defer stop()
	ann := connect("/ws")
	ann.say(`{"type":"sum","id":"1","data":[1,2,39]}`)
	ann.print()
	ann.say(`{"type":"sum","id":"2","data":"many"}`)
	ann.print()
	// Output:
	// reply 42 (answers 1)
	// error {"code":"invalid_frame","message":"want a sum of whole numbers"} (answers 2)
}

// An Authenticator of one's own reads what it likes of the request. One that
// asks a database uses the request's context, which ends with the handshake's
// time.
func ExampleAuthenticatorFunc() {
	sessions := map[string]string{"s3cret": "ann"}
	_, connect, stop := exampleHub(hub.Config{
		Authenticator: hub.AuthenticatorFunc(func(r *http.Request) hub.AuthResult {
			user, ok := sessions[r.URL.Query().Get("session")]
			if !ok {
				return hub.AuthResult{Error: errors.New("no such session")}
			}
			return hub.AuthResult{Valid: true, UserID: user, ExpiresAt: time.Now().Add(time.Hour)}
		}),
		OnConnect: func(ctx context.Context, c *hub.Client) error {
			fmt.Println("connected:", c.UserID())
			return nil
		},
		OnAuthFailure: func(r *http.Request, result hub.AuthResult) {
			fmt.Println("refused:", result.Error)
		},
	})
	defer stop()
	connect("/ws?session=guess")
	connect("/ws?session=s3cret")
	// Output:
	// refused: no such session
	// answered 401
	// connected: ann
}

// Shutdown sends every client elsewhere and waits until Run has returned.
func ExampleHub_Shutdown() {
	h, connect, stop := exampleHub(hub.Config{
		DrainSpread: -1, // all at once: there is one
		OnDisconnect: func(c *hub.Client, reason hub.DisconnectReason) {
			fmt.Println("disconnected:", reason)
		},
	})
	defer stop()
	ann := connect("/ws")

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := h.Shutdown(ctx); err != nil {
		fmt.Println(err)
	}
	ann.print()
	// Output:
	// disconnected: shutdown
	// closed 1012 {"reason":"restart","reconnectAfterMs":0}
}

var quiet = slog.New(slog.DiscardHandler)

// exampleHub runs a hub on a transport without sockets. connect dials it, and
// stop waits for its end.
func exampleHub(cfg hub.Config) (h *hub.Hub, connect func(url string) examplePeer, stop func()) {
	sockets := hubtest.NewTransport()
	cfg.Transport, cfg.Logger = sockets, quiet
	h, err := hub.New(cfg)
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := h.Run(ctx); err != nil {
			fmt.Println(err)
		}
	}()
	<-h.Started()
	connect = func(url string) examplePeer {
		peer, answer := sockets.Dial(h.Handler(), httptest.NewRequest(http.MethodGet, url, nil))
		if peer == nil {
			fmt.Println("answered", answer.Status)
		}
		return examplePeer{peer}
	}
	return h, connect, func() { cancel(); <-ended }
}

// examplePeer is a client as the examples have it.
type examplePeer struct{ *hubtest.Peer }

func (p examplePeer) say(frame string) {
	if err := p.SendText(frame); err != nil {
		fmt.Println(err)
	}
}

// print prints the next frame, without its timestamp, or how the connection
// ended.
func (p examplePeer) print() {
	_, payload, err := p.Receive(context.Background())
	if closed, ok := errors.AsType[*hub.CloseError](err); ok {
		fmt.Println("closed", closed.Code, closed.Reason)
		return
	}
	var f wire.Frame
	if err := json.Unmarshal(payload, &f); err != nil {
		fmt.Println(err)
		return
	}
	line := strings.Fields(fmt.Sprintln(f.Type, f.Channel))
	if f.Data != nil {
		line = append(line, string(f.Data))
	}
	if f.ID != "" {
		line = append(line, "(answers "+f.ID+")")
	}
	fmt.Println(strings.Join(line, " "))
}

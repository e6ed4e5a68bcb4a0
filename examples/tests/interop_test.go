package tests_test

import "testing"

// A page that knows nothing but docs/protocol.md, with what the browser has.
func TestABrowsersOwnWebSocketSpeaksTheProtocol(t *testing.T) {
	gateway := start(t, build(t, "gateway"), "-addr", "127.0.0.1:0")
	b := startBrowser(t)
	p := visit(b, gateway, "Ann", desktop, "light")
	p.eval(nil, `() => {
		window.heard = [];
		window.own = new WebSocket(location.origin.replace("http", "ws") + "/ws", "go-ws.v1.json");
		own.onmessage = m => heard.push(JSON.parse(m.data));
		own.onclose = c => heard.push({ type: "closed", code: c.code });
		own.onopen = () => own.send('{"type":"subscribe","data":"interop","id":"1"}');
	}`, nil)
	p.wait(`() => heard.some(f => f.type === "subscribed" && f.channel === "interop" && f.id === "1")`, nil)
	p.wait(`() => own.protocol === "go-ws.v1.json"`, nil)

	gateway.post("/publish", `{"channel":"interop","data":{"n":1}}`)
	p.wait(`() => heard.some(f => f.type === "event" && f.channel === "interop" && f.data.n === 1 && !isNaN(Date.parse(f.timestamp)))`, nil)

	p.eval(nil, `() => { own.send("no JSON"); own.send('{"type":"ping","id":"2"}'); }`, nil)
	p.wait(`() => heard.some(f => f.type === "error" && f.data.code === "invalid_frame")`, nil)
	p.wait(`() => heard.some(f => f.type === "pong" && f.id === "2")`, nil)

	p.eval(nil, `() => own.send('{"type":"unsubscribe","data":"interop","id":"3"}')`, nil)
	p.wait(`() => heard.some(f => f.type === "unsubscribed" && f.id === "3")`, nil)
	gateway.post("/publish", `{"channel":"interop","data":{"n":2}}`)
	p.eval(nil, `() => own.send('{"type":"ping","id":"4"}')`, nil)
	p.wait(`() => heard.some(f => f.type === "pong" && f.id === "4")`, nil)
	var after []any
	p.eval(&after, `() => heard.filter(f => f.type === "closed" || f.type === "event" && f.data.n === 2)`, nil)
	if len(after) != 0 {
		t.Errorf("after leaving: got %v, want nothing", after)
	}

	p.eval(nil, `() => own.close(1000)`, nil)
	p.wait(`() => heard.some(f => f.type === "closed" && f.code === 1000)`, nil)
	p.noComplaints()
}

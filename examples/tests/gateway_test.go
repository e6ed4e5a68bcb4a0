package tests_test

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// visit opens a gateway's page as somebody and waits until it is live.
func visit(b *browser, gateway *program, name string, size viewport, scheme string) *page {
	b.t.Helper()
	p := b.newPage(name, size, scheme)
	p.open(gateway.url)
	p.fill("#name", name)
	p.press("Tab")
	p.waitText("#state-text", "Connected")
	return p
}

func (p *page) join(channel string) {
	p.b.t.Helper()
	p.fill("#join-channel", channel)
	p.press("Enter")
	p.waitText("#talk-title", "#"+channel)
	p.wait(`() => document.querySelector("#talk-sub").textContent !== "Joining…"`, nil)
}

func (p *page) say(text string) {
	p.b.t.Helper()
	p.fill("#text", text)
	p.press("Enter")
	// The field empties when the gateway has taken the message.
	p.wait(`() => document.querySelector("#text").value === ""`, nil)
}

// hears waits until the log's last entry is this text, whoever said it.
func (p *page) hears(text string) {
	p.b.t.Helper()
	p.wait(`t => document.querySelector("#log > :last-child > :last-child")?.textContent === t`, text)
}

// shows waits until the page's figures are these. More may be delivered: pongs
// count too, and a page pings when it has heard nothing for 20 s.
func (p *page) shows(want figures) {
	p.b.t.Helper()
	for _, f := range []struct {
		name  string
		value int
	}{{"clients", want.Clients}, {"channels", want.Channels}, {"published", want.Published}} {
		p.waitText("#figure-"+f.name, strconv.Itoa(f.value))
	}
	p.wait(`n => Number(document.querySelector("#figure-delivered").textContent) >= n`, want.Delivered)
}

func TestTwoPagesChatAndFiguresEqualWhatWasSent(t *testing.T) {
	gateway := start(t, build(t, "gateway"), "-addr", "127.0.0.1:0")
	b := startBrowser(t)
	began := time.Now()
	ann := visit(b, gateway, "Ann", desktop, "light")
	ben := visit(b, gateway, "Ben", desktop, "dark")
	ann.join("news")
	ben.join("news")
	// Each page is on lobby and news: four answers to subscribing so far.
	ann.shows(figures{Clients: 2, Channels: 2, Published: 0, Delivered: 4})

	ann.say("hello Ben")
	ben.hears("hello Ben")
	ben.say("hello Ann")
	ann.hears("hello Ann")
	gateway.post("/publish", `{"channel":"news","data":{"price":42}}`)
	ann.hears(`{"price":42}`)
	ben.hears(`{"price":42}`)
	gateway.post("/publish", `{"channel":"nobody is here","data":1}`)
	gateway.post("/broadcast", `{"data":"to all"}`)

	// Three messages on news and one broadcast, each to two pages.
	want := figures{Clients: 2, Channels: 2, Published: 5, Delivered: 4 + 8}
	ann.shows(want)
	ben.shows(want)
	got := gateway.stats()
	pongs := 2 * int(time.Since(began)/(20*time.Second))
	if got.Delivered < want.Delivered || got.Delivered > want.Delivered+pongs {
		t.Errorf("/stats: got %d delivered, want %d and up to %d pongs", got.Delivered, want.Delivered, pongs)
	}
	want.Delivered = got.Delivered
	if got != want {
		t.Errorf("/stats: got %+v, want %+v", got, want)
	}

	ben.reload()
	ben.waitText("#state-text", "Connected")
	ben.waitText("#talk-title", "#news")
	ben.waitText("#talk-sub", "2 are here")
	ann.say("still there?")
	ben.hears("still there?")
	// The reload joined two channels anew.
	want.Published, want.Delivered = 6, want.Delivered+2+2
	ann.shows(want)

	ann.click("#leave")
	ann.waitText("#talk-title", "#lobby")
	ben.waitText("#talk-sub", "Only you are here")
	ann.noComplaints()
	ben.noComplaints()
}

func TestChannelsNotOnShowCountWhatIsUnread(t *testing.T) {
	gateway := start(t, build(t, "gateway"), "-addr", "127.0.0.1:0")
	b := startBrowser(t)
	ann := visit(b, gateway, "Ann", desktop, "light")
	ann.join("news")
	gateway.post("/publish", `{"channel":"lobby","data":"one"}`)
	gateway.post("/broadcast", `{"data":"two"}`)
	gateway.post("/publish", `{"channel":"lobby","data":"three"}`)
	ann.wait(`() => document.querySelector("#rooms").innerText.replace(/\s+/g, " ").trim() === "Everyone 1 #lobby 2 #news"`, nil)
	ann.click("#rooms li:first-child button")
	ann.waitText("#talk-title", "Everyone")
	ann.hears("two")
	ann.say("to all of you")
	ann.hears("to all of you")
	ann.noComplaints()
}

func TestHostileTextStaysText(t *testing.T) {
	gateway := start(t, build(t, "gateway"), "-addr", "127.0.0.1:0")
	b := startBrowser(t)
	ann := visit(b, gateway, "Ann", desktop, "light")
	const hostile = `<img src=x onerror="document.title='stolen'"><script>document.title='stolen'</script>`
	ann.join(hostile)
	for _, body := range []string{
		`{"channel":"lobby","data":{"from":"<b onmouseover=alert(1)>Eve","text":"<img src=x onerror=\"document.title='stolen'\">"}}`,
		`{"channel":"lobby","data":"<svg onload=\"document.title='stolen'\">"}`,
		`{"channel":"lobby","data":{"from":["<img>"],"text":{"toString":"x"}}}`,
		`{"channel":"lobby","data":null}`,
	} {
		gateway.post("/publish", body)
	}
	ann.click("#rooms li:nth-child(2) button")
	ann.waitText("#talk-title", "#lobby")
	ann.hears("null")
	var found int
	ann.eval(&found, `() => document.querySelectorAll("#log img, #log script, #log svg, #log b *, #rooms img, #rooms script, #talk-title *").length`, nil)
	if found != 0 {
		t.Errorf("got %d elements made of messages, want none", found)
	}
	if got, want := ann.text("#log"), `<img src=x onerror="document.title='stolen'">`; !strings.Contains(got, want) {
		t.Errorf("log: got %q, want %q in it", got, want)
	}
	var title string
	ann.eval(&title, `() => document.title`, nil)
	if want := "go-ws gateway"; title != want {
		t.Errorf("title: got %q, want %q", title, want)
	}
	ann.noComplaints()
}

func TestPageComesBackWhenTheGatewayRestarts(t *testing.T) {
	binary := build(t, "gateway")
	gateway := start(t, binary, "-addr", "127.0.0.1:0")
	front := newFront(t)
	front.set(gateway.host())
	b := startBrowser(t)
	ann := visit(b, &program{t: t, url: front.url}, "Ann", desktop, "light")
	ann.join("news")
	ann.say("before")
	ann.hears("before")

	gateway.stop()
	ann.wait(`() => document.querySelector("#state").dataset.state !== "connected"`, nil)
	again := start(t, binary, "-addr", "127.0.0.1:0")
	front.set(again.host())
	ann.waitText("#state-text", "Connected")
	ann.waitText("#talk-sub", "Only you are here")
	again.post("/publish", `{"channel":"news","data":"after"}`)
	ann.hears("after")
	var entries []string
	ann.eval(&entries, `() => [...document.querySelectorAll("#log > *")].map(e => e.className.split(" ")[0])`, nil)
	if got, want := strings.Join(entries, " "), "entry gap entry"; got != want {
		t.Errorf("log: got %q, want %q", got, want)
	}
	ann.noComplaints()
}

func TestPageAsksForKeys(t *testing.T) {
	gateway := start(t, build(t, "gateway"), "-addr", "127.0.0.1:0", "-api-keys", "sesame=ann", "-publish-key", "quill")
	b := startBrowser(t)
	ann := b.newPage("Ann", desktop, "light")
	ann.open(gateway.url)
	ann.waitText("#state-text", "A key is needed")
	ann.waitText("#figures-note", "The figures need the publish key.")
	ann.fill("#token", "sesame")
	ann.fill("#publish-key", "wrong")
	ann.press("Enter")
	ann.waitText("#state-text", "Connected")
	ann.fill("#text", "hello")
	ann.press("Enter")
	ann.wait(`() => !document.querySelector("#notice").hidden && document.querySelector("#notice").textContent.startsWith("Not sent")`, nil)
	ann.fill("#publish-key", "quill")
	ann.press("Enter")
	ann.waitText("#state-text", "Connected")
	ann.waitText("#talk-sub", "Only you are here")
	ann.say("hello")
	ann.hears("hello")
	ann.noComplaints()
}

func TestPageFitsAPhone(t *testing.T) {
	gateway := start(t, build(t, "gateway"), "-addr", "127.0.0.1:0")
	b := startBrowser(t)
	for _, scheme := range []string{"light", "dark"} {
		ann := visit(b, gateway, "Ann "+scheme, phone, scheme)
		ann.join("a-channel-with-a-rather-long-name-that-does-not-break-anywhere-by-itself")
		gateway.post("/broadcast", `{"data":"`+strings.Repeat("unbroken", 60)+`"}`)
		ann.click("#rooms li:first-child button")
		ann.hears(strings.Repeat("unbroken", 60))
		ann.say("A line from a phone")
		ann.hears("A line from a phone")
		ann.fits()
		var room struct{ Sideways, Field, Below int }
		ann.eval(&room, `() => {
			scrollTo(0, 0);
			const log = document.querySelector("#log"), field = document.querySelector("#text").getBoundingClientRect();
			return { sideways: log.scrollWidth - log.clientWidth, field: Math.round(field.width), below: Math.round(field.bottom - innerHeight) };
		}`, nil)
		if room.Sideways > 0 || room.Field < 200 || room.Below > 0 {
			t.Errorf("%s: the log is %d pixels too wide, the message's field %d wide and %d below the screen; want 0, at least 200 and none", scheme, room.Sideways, room.Field, room.Below)
		}
		var small []string
		ann.eval(&small, `() => [...document.querySelectorAll("button, input, summary")]
			.filter(e => e.checkVisibility()).filter(e => e.getBoundingClientRect().height < 24 || parseFloat(getComputedStyle(e).fontSize) < 15)
			.map(e => e.id || e.textContent)`, nil)
		if len(small) > 0 {
			t.Errorf("%s: too small for a finger: %q", scheme, small)
		}
		save(t, ann, "phone-"+scheme+".png")
		ann.noComplaints()
	}
}

func TestEveryFieldHasALabel(t *testing.T) {
	gateway := start(t, build(t, "gateway"), "-addr", "127.0.0.1:0")
	b := startBrowser(t)
	ann := visit(b, gateway, "Ann", desktop, "light")
	ann.click("#keys summary")
	var bare []string
	ann.eval(&bare, `() => [...document.querySelectorAll("input, button")].filter(e => !(e.labels?.length || e.textContent.trim())).map(e => e.id)`, nil)
	if len(bare) > 0 {
		t.Errorf("fields without a label: %q", bare)
	}
	ann.noComplaints()
}

// TestPicture has the page's picture in the README taken anew when
// GOWS_SCREENSHOTS names the folder to put pictures in.
func TestPicture(t *testing.T) {
	gateway := start(t, build(t, "gateway"), "-addr", "127.0.0.1:0")
	b := startBrowser(t)
	ann := visit(b, gateway, "Ann", desktop, "light")
	ben := visit(b, gateway, "Ben", desktop, "dark")
	for _, p := range []*page{ann, ben} {
		p.join("deploys")
		p.join("news")
	}
	ann.say("Is anybody on the new build yet?")
	ben.say("Since this morning. It feels quick.")
	gateway.post("/publish", `{"channel":"news","data":{"build":1284,"status":"green"}}`)
	gateway.post("/publish", `{"channel":"deploys","data":"1284 is rolling out"}`)
	ann.say("And there is the proof.")
	for _, p := range []*page{ann, ben} {
		p.hears("And there is the proof.")
		p.waitText("#figure-published", "5")
		p.waitText("#talk-sub", "2 are here")
		save(t, p, "gateway-"+strings.ToLower(p.name)+".png")
	}
	if os.Getenv("GOWS_SCREENSHOTS") != "" {
		both := b.newPage("both", viewport{1340, 487}, "light")
		both.eval(nil, `([a, b]) => { document.body.style.cssText = "margin:0;background:#cfd8d6;display:flex;gap:20px;padding:20px;box-sizing:border-box";
			return Promise.all([a, b].map(data => new Promise(done => { const i = new Image(640, 447); i.style.borderRadius = "10px"; i.onload = done; i.src = "data:image/png;base64," + data; document.body.append(i); }))).then(() => null); }`,
			[]string{picture(t, "gateway-ann.png"), picture(t, "gateway-ben.png")})
		save(t, both, "gateway.png")
	}
}

// save keeps a picture where GOWS_SCREENSHOTS says, so that a plain test run
// changes no file.
func save(t *testing.T, p *page, name string) {
	t.Helper()
	if folder := os.Getenv("GOWS_SCREENSHOTS"); folder != "" {
		p.screenshot(filepath.Join(folder, name))
	}
}

func picture(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(os.Getenv("GOWS_SCREENSHOTS"), name))
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(data)
}

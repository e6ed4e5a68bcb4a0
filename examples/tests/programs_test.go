package tests_test

import "testing"

func TestChatPage(t *testing.T) {
	chat := start(t, build(t, "chat"), "127.0.0.1:0")
	b := startBrowser(t)
	ann, ben := b.newPage("ann", viewport{560, 420}, "light"), b.newPage("ben", phone, "dark")
	for _, p := range []*page{ann, ben} {
		p.open(chat.url)
		p.fill("[name=from]", p.name)
		p.waitText("#state", "")
	}
	ben.fill("[name=text]", "Good morning")
	ben.press("Enter")
	ann.waitText("#log", "ben: Good morning")
	ann.fill("[name=text]", "Good morning, Ben")
	ann.press("Enter")
	ann.waitText("#log > :last-child", "ann: Good morning, Ben")
	save(t, ann, "chat.png")
	ann.fill("[name=text]", `<img src=x onerror="document.title='stolen'">`)
	ann.press("Enter")
	for _, p := range []*page{ann, ben} {
		p.wait(`t => document.querySelector("#log > :last-child")?.textContent === t`, `ann: <img src=x onerror="document.title='stolen'">`)
		p.waitText("title", "Chat")
		p.fits()
		p.noComplaints()
	}
}

func TestProcessPage(t *testing.T) {
	process := start(t, build(t, "process"), "-addr", "127.0.0.1:0", "-id", "demo", "--",
		"sh", "-c", `for i in 1 2 3; do echo "step $i of 3"; sleep 0.05; done; echo "FAIL <TestLogin> in 0.15 s" >&2; exit 4`)
	b := startBrowser(t)
	ann := b.newPage("ann", viewport{720, 320}, "light")
	ann.open(process.url)
	ann.waitText("#state", "exited, exit code 4")
	ann.waitText("#output", "step 1 of 3\nstep 2 of 3\nstep 3 of 3\nFAIL <TestLogin> in 0.15 s")
	ann.waitText("#title", "demo")
	save(t, ann, "process.png")
	ann.fits()
	process.Ends(4)
	// The page knows that it is over and does not call for a program that is gone.
	ann.waitText("#state", "exited, exit code 4")
	ann.noComplaints()
}

func TestCustomauthPage(t *testing.T) {
	program := start(t, build(t, "customauth"), "-addr", "127.0.0.1:0", "-lifetime", "1h")
	b := startBrowser(t)
	ann := b.newPage("ann", viewport{560, 420}, "light")
	ann.open(program.url)
	ann.waitText("#why", "A token is needed to connect.")
	save(t, ann, "customauth-login.png")
	ann.fill("#name", "Ann")
	ann.press("Enter")
	ann.waitText("#user", "Ann")
	// Sent again until the connection is there and it is heard.
	ann.wait(`() => {
		if (document.querySelector("#log > p")?.textContent === "Ann: hello") return true;
		document.querySelector("#text").value = "hello";
		document.querySelector("#say").requestSubmit();
	}`, nil)
	save(t, ann, "customauth.png")
	ann.reload()
	ann.waitText("#user", "Ann")
	ann.fits()
	ann.noComplaints()
}

func TestCustomauthPageAsksAgainWhenTheTokenExpires(t *testing.T) {
	program := start(t, build(t, "customauth"), "-addr", "127.0.0.1:0", "-lifetime", "2s")
	b := startBrowser(t)
	ann := b.newPage("ann", viewport{560, 420}, "light")
	ann.open(program.url)
	// A token may expire before its page has connected: then it gets another.
	ann.wait(`() => {
		const why = document.querySelector("#why").textContent;
		if (why === "A token is needed to connect.") {
			document.querySelector("#name").value = "Ann";
			document.querySelector("#login").requestSubmit();
		}
		return why === "Your token has expired.";
	}`, nil)
	ann.waitText("#why", "Your token has expired.")
	ann.noComplaints()
}

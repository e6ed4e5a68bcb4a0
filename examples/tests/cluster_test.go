package tests_test

import (
	"fmt"
	"testing"
)

const hubs = 3

// publishesOn says something in a hub's column.
func (p *page) publishesOn(hub int, text string) {
	p.b.t.Helper()
	p.fill(fmt.Sprintf("#hub-%d input", hub), text)
	p.press("Enter")
}

// shownOn waits until a hub's column shows that it has got this.
func (p *page) shownOn(hub int, line string) {
	p.b.t.Helper()
	p.wait(`([s, t]) => [...document.querySelectorAll(s)].some(e => e.textContent === t)`, []string{fmt.Sprintf("#hub-%d .log > p", hub), line})
}

// allSay waits until every hub's column says this of its health and its fleet.
func (p *page) allSay(health, state, everywhere, fleet string) {
	p.b.t.Helper()
	for hub := range hubs {
		root := fmt.Sprintf("#hub-%d ", hub+1)
		p.waitText(root+".health", health)
		p.wait(`([s, t]) => document.querySelector(s).dataset.state === t`, []string{root + ".health", state})
		p.waitText(root+".everywhere", everywhere)
		p.waitText(root+".fleet", fleet)
	}
}

func TestClusterPage(t *testing.T) {
	cluster := start(t, build(t, "cluster"), "-addr", "127.0.0.1:0")
	b := startBrowser(t)
	ann := b.newPage("ann", viewport{1080, 620}, "light")
	ann.open(cluster.url)
	ann.allSay("joined with the others", "good", "3", "3 of 3 answer")
	for from := 1; from <= hubs; from++ {
		text := fmt.Sprintf("said on %d", from)
		ann.publishesOn(from, text)
		for to := 1; to <= hubs; to++ {
			ann.shownOn(to, fmt.Sprintf("hub %d: %s", from, text))
		}
	}
	ann.waitText("#hub-1 .received", "2")

	ann.waitText("#toggle", "Stop the broker")
	ann.click("#toggle")
	ann.waitText("#broker", "The broker is stopped")
	for hub := 1; hub <= hubs; hub++ {
		ann.waitText(fmt.Sprintf("#hub-%d .health", hub), "alone: the broker is away")
		ann.waitText(fmt.Sprintf("#hub-%d .everywhere", hub), "1")
	}
	ann.publishesOn(1, "can you hear me?")
	ann.shownOn(1, "hub 1: can you hear me?")
	ann.shownOn(1, "not everywhere: only the clients of this hub got it")
	save(t, ann, "cluster.png")
	var red string
	ann.eval(&red, `() => getComputedStyle(document.querySelector("#hub-1 .health")).color`, nil)
	if want := "rgb(185, 28, 28)"; red != want {
		t.Errorf("health without the broker: got the colour %s, want %s", red, want)
	}

	ann.waitText("#toggle", "Start the broker")
	ann.click("#toggle")
	ann.allSay("joined with the others", "good", "3", "3 of 3 answer")
	for from := 1; from <= hubs; from++ {
		text := fmt.Sprintf("again on %d", from)
		ann.publishesOn(from, text)
		for to := 1; to <= hubs; to++ {
			ann.shownOn(to, fmt.Sprintf("hub %d: %s", from, text))
		}
	}
	// What was said while the broker was away has reached nobody else.
	for hub := 2; hub <= hubs; hub++ {
		var late int
		ann.eval(&late, `s => [...document.querySelectorAll(s)].filter(e => e.textContent.includes("can you hear me")).length`, fmt.Sprintf("#hub-%d .log > p", hub))
		if late != 0 {
			t.Errorf("hub %d shows what was said while the broker was away", hub)
		}
	}
	ann.noComplaints()
	cluster.stop()
}

func TestClusterPageKeepsTextAndFitsAPhone(t *testing.T) {
	cluster := start(t, build(t, "cluster"), "-addr", "127.0.0.1:0")
	b := startBrowser(t)
	ann := b.newPage("ann", phone, "dark")
	ann.open(cluster.url)
	ann.allSay("joined with the others", "good", "3", "3 of 3 answer")
	const hostile = `<img src=x onerror="document.title='stolen'">`
	ann.publishesOn(1, hostile)
	ann.shownOn(3, "hub 1: "+hostile)
	ann.waitText("title", "Cluster")
	ann.fits()
	ann.noComplaints()
}

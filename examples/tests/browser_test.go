package tests_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// bound is how long anything may take before it counts as hung.
const bound = 60 * time.Second

// driver is the Chromium that driver.mjs moves, one for all tests.
type driver struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	ended chan struct{} // closed when the driver has closed its output

	mu      sync.Mutex
	last    int
	answers map[int]chan answer
}

type command struct {
	ID   int    `json:"id"`
	Do   string `json:"do"`
	Page string `json:"page,omitempty"`
	Args []any  `json:"args,omitempty"`
}

type answer struct {
	ID     int             `json:"id"`
	Result json.RawMessage `json:"result"`
	Error  string          `json:"error"`
}

var startDriver = sync.OnceValues(func() (*driver, error) {
	if err := installDriver(); err != nil {
		return nil, err
	}
	chromium, err := findChromium()
	if err != nil {
		return nil, err
	}
	d := &driver{answers: make(map[int]chan answer), ended: make(chan struct{})}
	d.cmd = exec.Command("node", "driver.mjs", chromium)
	d.cmd.Stderr = os.Stderr
	if d.stdin, err = d.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := d.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := d.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting node: %w; make deps installs it", err)
	}
	go d.read(stdout)
	running = d
	return d, nil
})

// running is the driver once a test has started it. TestMain stops it.
var running *driver

// stop ends the driver, and Chromium with it: the end of its input tells it.
func (d *driver) stop() error {
	d.stdin.Close()
	hung := time.AfterFunc(bound, func() { d.cmd.Process.Kill() })
	defer hung.Stop()
	<-d.ended
	return d.cmd.Wait()
}

func (d *driver) read(stdout io.Reader) {
	defer close(d.ended)
	lines := bufio.NewScanner(stdout)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var a answer
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
			fmt.Fprintf(os.Stderr, "the browser's driver wrote %q: %v\n", lines.Text(), err)
			continue
		}
		d.mu.Lock()
		to := d.answers[a.ID]
		delete(d.answers, a.ID)
		d.mu.Unlock()
		to <- a
	}
}

// browser is one test's use of the driver.
type browser struct {
	t *testing.T
	*driver
}

// startBrowser fails the test where Chromium or Node.js is missing.
func startBrowser(t *testing.T) *browser {
	t.Helper()
	d, err := startDriver()
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{t, d}
	t.Cleanup(func() { b.do(nil, t.Name(), "leave") })
	return b
}

// do sends one command and waits for its answer.
func (b *browser) do(result any, page, name string, args ...any) {
	b.t.Helper()
	to := make(chan answer, 1)
	b.mu.Lock()
	b.last++
	id := b.last
	b.answers[id] = to
	line, err := json.Marshal(command{id, name, page, args})
	if err == nil {
		_, err = b.stdin.Write(append(line, '\n'))
	}
	b.mu.Unlock()
	if err != nil {
		b.t.Fatalf("%s: %v", name, err)
	}
	select {
	case a := <-to:
		if a.Error != "" {
			b.t.Fatalf("%s %v on page %s: %s", name, args, page, a.Error)
		}
		if result == nil {
			return
		}
		if err := json.Unmarshal(a.Result, result); err != nil {
			b.t.Fatalf("%s on page %s: result %s: %v", name, page, a.Result, err)
		}
	case <-b.ended:
		b.t.Fatalf("%s on page %s: the browser's driver has ended", name, page)
	case <-time.After(2 * bound):
		b.t.Fatalf("%s on page %s: no answer", name, page)
	}
}

// page is one tab.
type page struct {
	b         *browser
	name, key string
}

type viewport struct {
	Width  int `json:"width"`
	Height int `json:"height"`
}

var (
	desktop = viewport{980, 684}
	phone   = viewport{360, 640}
)

func (b *browser) newPage(name string, size viewport, scheme string) *page {
	b.t.Helper()
	// The driver knows pages and tests by their names.
	p := &page{b, name, b.t.Name() + "/" + name}
	b.do(nil, p.key, "page", b.t.Name(), size, scheme)
	return p
}

func (p *page) open(url string) {
	p.b.t.Helper()
	var status int
	p.b.do(&status, p.key, "goto", url)
	if status != 200 {
		p.b.t.Fatalf("opening %s: got status %d, want 200", url, status)
	}
}

func (p *page) reload() { p.b.t.Helper(); p.b.do(nil, p.key, "reload") }
func (p *page) fill(selector, text string) {
	p.b.t.Helper()
	p.b.do(nil, p.key, "fill", selector, text)
}
func (p *page) click(selector string)  { p.b.t.Helper(); p.b.do(nil, p.key, "click", selector) }
func (p *page) press(key string)       { p.b.t.Helper(); p.b.do(nil, p.key, "press", key) }
func (p *page) screenshot(path string) { p.b.t.Helper(); p.b.do(nil, p.key, "screenshot", path) }

// wait waits until a JavaScript function of one argument returns something true.
func (p *page) wait(function string, arg any) {
	p.b.t.Helper()
	p.b.do(nil, p.key, "wait", function, arg)
}

func (p *page) eval(result any, function string, arg any) {
	p.b.t.Helper()
	p.b.do(result, p.key, "eval", function, arg)
}

// text is what an element shows.
func (p *page) text(selector string) string {
	p.b.t.Helper()
	var text string
	p.eval(&text, `s => document.querySelector(s)?.innerText ?? ""`, selector)
	return text
}

// waitText waits until an element shows exactly this.
func (p *page) waitText(selector, text string) {
	p.b.t.Helper()
	p.wait(`([s, t]) => document.querySelector(s)?.innerText.trim() === t`, []string{selector, text})
}

// fits fails the test where the page is wider than its window.
func (p *page) fits() {
	p.b.t.Helper()
	var wide int
	p.eval(&wide, `() => Math.max(document.documentElement.scrollWidth, document.body.scrollWidth) - document.documentElement.clientWidth`, nil)
	if wide > 0 {
		p.b.t.Errorf("page %s is %d pixels wider than its window", p.name, wide)
	}
}

// noComplaints fails the test where a script of the page failed, or the browser
// refused something by the page's content policy.
func (p *page) noComplaints() {
	p.b.t.Helper()
	var complaints []string
	p.b.do(&complaints, p.key, "complaints")
	for _, c := range complaints {
		p.b.t.Errorf("page %s: %s", p.name, c)
	}
}

// installDriver runs npm ci where that was not done for this lock file.
func installDriver() error {
	lock, err := os.Stat("package-lock.json")
	if err != nil {
		return err
	}
	stamp := filepath.Join("node_modules", ".package-lock.json")
	if done, err := os.Stat(stamp); err == nil && done.ModTime().After(lock.ModTime()) {
		return nil
	}
	out, err := exec.Command("npm", "ci", "--no-audit", "--no-fund").CombinedOutput()
	if err != nil {
		return fmt.Errorf("npm ci: %w\n%s\nmake deps installs what the tests need", err, out)
	}
	now := time.Now()
	return os.Chtimes(stamp, now, now)
}

func findChromium() (string, error) {
	for _, name := range []string{os.Getenv("CHROMIUM"), "chromium", "chromium-browser", "google-chrome"} {
		if name == "" {
			continue
		}
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("no chromium is installed; make deps installs it")
}

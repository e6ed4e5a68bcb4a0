package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"forge.lthn.ai/core/go-ws/examples/internal/probe"
)

// TestMain lets the test binary play the command that is run, or the program
// itself: an environment variable says which.
func TestMain(m *testing.M) {
	switch os.Getenv("PROCESS_TEST_COMMAND") {
	case "":
		os.Exit(m.Run())
	case "main":
		main()
	case "both":
		io.WriteString(os.Stdout, "out 1\n")
		io.WriteString(os.Stderr, "err 2\n")
		io.WriteString(os.Stdout, "out 3\n")
		os.Exit(3)
	case "long":
		io.WriteString(os.Stdout, strings.Repeat("€", 10_000))
	case "flood":
		io.WriteString(os.Stdout, strings.Repeat("0123456789abcde\n", pace/16))
	case "garbage":
		os.Stdout.Write([]byte{'a', 0xff, 0xfe, 'z', '\n'})
	case "forever":
		io.WriteString(os.Stdout, "here\n")
		select {}
	}
	os.Exit(0)
}

// start runs this test binary as a command, under the program.
func start(t *testing.T, command string, flags ...string) (client *probe.Client, url string, stop func(), ended <-chan error) {
	t.Helper()
	t.Setenv("PROCESS_TEST_COMMAND", command)
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := append([]string{"-addr", "127.0.0.1:0", "-id", "7"}, flags...)
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	url, result := launch(t, ctx, append(args, "--", binary))
	return probe.Dial(t, url+"/ws"), url, cancel, result
}

func launch(t *testing.T, ctx context.Context, args []string) (url string, ended <-chan error) {
	t.Helper()
	out, result := probe.NewOutput(), make(chan error, 1)
	go func() {
		err := run(ctx, args, out)
		out.CloseWithError(err)
		result <- err
	}()
	return out.Address(t), result
}

// follow reads what a process shows until its end and until the program closes
// the connection, and returns what it read.
func follow(t *testing.T, c *probe.Client) (output []string, statuses []string) {
	t.Helper()
	for {
		f := c.Any()
		if f.Channel != "process:7" || f.ProcessID != "7" {
			t.Errorf("got a frame of channel %q and process %q, want process:7 and 7", f.Channel, f.ProcessID)
		}
		switch f.Type {
		case "process_output":
			var text string
			if err := json.Unmarshal(f.Data, &text); err != nil {
				t.Fatal(err)
			}
			output = append(output, text)
		case "process_status":
			statuses = append(statuses, string(f.Data))
			if !strings.Contains(string(f.Data), `"running"`) {
				if code, _ := c.Closed(); code != 1012 {
					t.Errorf("close code: got %d, want 1012", code)
				}
				return output, statuses
			}
		default:
			t.Fatalf("got a frame of type %q", f.Type)
		}
	}
}

func TestOutputAndExitCodeReachWhoWatches(t *testing.T) {
	client, _, _, ended := start(t, "both")
	client.Join("process:7")
	output, statuses := follow(t, client)
	if got, want := strings.Join(output, ""), "out 1\nerr 2\nout 3\n"; got != want {
		t.Errorf("output: got %q, want %q", got, want)
	}
	want := `{"status":"running","exitCode":0} {"status":"exited","exitCode":3}`
	if got := strings.Join(statuses, " "); got != want {
		t.Errorf("statuses: got %s, want %s", got, want)
	}
	err := <-ended
	if code, ok := errors.AsType[exitCode](err); !ok || code != 3 {
		t.Errorf("run: got %v, want exit code 3", err)
	}
}

func TestLongOutputComesInBoundedPiecesOfWholeCharacters(t *testing.T) {
	client, _, _, ended := start(t, "long")
	client.Join("process:7")
	output, _ := follow(t, client)
	if got, want := strings.Join(output, ""), strings.Repeat("€", 10_000); got != want {
		t.Errorf("output: got %d bytes, want the %d that were written", len(got), len(want))
	}
	for _, piece := range output {
		if len(piece) > 4096 {
			t.Errorf("a piece has %d bytes, want at most 4096", len(piece))
		}
	}
	if err := <-ended; err != nil {
		t.Errorf("run: %v", err)
	}
}

func TestOutputThatIsNoTextIsMadeText(t *testing.T) {
	client, _, _, _ := start(t, "garbage")
	client.Join("process:7")
	output, _ := follow(t, client)
	if got, want := strings.Join(output, ""), "a\uFFFDz\n"; got != want {
		t.Errorf("output: got %q, want %q", got, want)
	}
}

func TestOutputIsReadNoFasterThanItCanBeShown(t *testing.T) {
	client, _, _, _ := start(t, "flood")
	client.Join("process:7")
	began := time.Now()
	output, _ := follow(t, client)
	if got := len(strings.Join(output, "")); got != pace {
		t.Errorf("output: got %d bytes, want all %d", got, pace)
	}
	if took := time.Since(began); took < 900*time.Millisecond {
		t.Errorf("a second's worth of output came in %v", took)
	}
}

func TestSignalEndsTheCommand(t *testing.T) {
	client, _, stop, ended := start(t, "forever")
	client.Join("process:7")
	for client.Any().Type != "process_output" {
	}
	stop()
	_, statuses := follow(t, client)
	if len(statuses) != 1 || !strings.Contains(statuses[0], `"exited"`) || strings.Contains(statuses[0], `"exitCode":0`) {
		t.Errorf("statuses: got %q, want exited and a code that is not 0", statuses)
	}
	if _, ok := errors.AsType[exitCode](<-ended); !ok {
		t.Error("run: want the command's exit code")
	}
}

func TestCommandThatCannotStartIsReported(t *testing.T) {
	url, ended := launch(t, t.Context(), []string{"-addr", "127.0.0.1:0", "-id", "7", "--", "./there is no such command"})
	client := probe.Dial(t, url+"/ws")
	client.Join("process:7")
	output, statuses := follow(t, client)
	if len(output) == 0 {
		t.Error("output: got none, want the reason")
	}
	if got, want := strings.Join(statuses, " "), `{"status":"failed","exitCode":127}`; got != want {
		t.Errorf("statuses: got %s, want %s", got, want)
	}
	if code, ok := errors.AsType[exitCode](<-ended); !ok || code != 127 {
		t.Errorf("run: got exit code %d, want 127", code)
	}
}

func TestWithoutWaitingTheCommandRunsForNobody(t *testing.T) {
	t.Setenv("PROCESS_TEST_COMMAND", "both")
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	_, ended := launch(t, t.Context(), []string{"-addr", "127.0.0.1:0", "-wait=false", "--", binary})
	if code, ok := errors.AsType[exitCode](<-ended); !ok || code != 3 {
		t.Errorf("run: got exit code %d, want 3", code)
	}
}

func TestOtherChannelsAreRefused(t *testing.T) {
	client, _, stop, ended := start(t, "both")
	client.Send(`{"type":"subscribe","data":"news"}`)
	if f := client.Next("error"); !strings.Contains(string(f.Data), `"forbidden"`) {
		t.Errorf("got %s, want the error forbidden", f.Data)
	}
	stop()
	client.Closed()
	if err := <-ended; err != nil {
		t.Errorf("run, stopped while nobody watched: %v", err)
	}
}

func TestPageAndItsChannelAreServed(t *testing.T) {
	_, url, _, _ := start(t, "both")
	for path, want := range map[string]string{"/": "<title>Process</title>", "/process": `{"channel":"process:7","id":"7"}`} {
		answer, err := http.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || answer.StatusCode != http.StatusOK || !strings.Contains(string(body), want) {
			t.Errorf("%s: got %s %q, %v, want %q in it", path, answer.Status, body, err, want)
		}
	}
}

func TestWithoutACommandItSaysWhatIsWrong(t *testing.T) {
	if err := run(t.Context(), []string{"-addr", "127.0.0.1:0"}, io.Discard); err == nil || !strings.Contains(err.Error(), "no command") {
		t.Errorf("got %v, want an error that says so", err)
	}
}

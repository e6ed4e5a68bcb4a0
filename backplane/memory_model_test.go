package backplane_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"forge.lthn.ai/core/go-ws/backplane"
	"forge.lthn.ai/core/go-ws/hub"
)

// modelLog is what one topic's log must be, said as simply as can be: all that
// was ever appended, looked at anew for each question.
type modelLog struct {
	start hub.Position
	all   []modelEntry
}

type modelEntry struct {
	id       string
	position hub.Position
	at       time.Time
}

const (
	modelMessages = 5
	modelAge      = 3 * time.Minute
	modelWindow   = 2 * time.Minute
)

func (l *modelLog) double(id string) (hub.Position, bool) {
	for _, e := range slices.Backward(l.all) {
		if e.id == id && time.Since(e.at) <= modelWindow {
			return e.position, true
		}
	}
	return hub.Position{}, false
}

func (l *modelLog) kept() []modelEntry {
	kept := l.all[max(0, len(l.all)-modelMessages):]
	return slices.DeleteFunc(slices.Clone(kept), func(e modelEntry) bool { return time.Since(e.at) > modelAge })
}

func (l *modelLog) top() hub.Position {
	if len(l.all) == 0 {
		return l.start
	}
	return l.all[len(l.all)-1].position
}

func (l *modelLog) read(r hub.ReadRequest) []hub.Position {
	kept := l.kept()
	if r.Last > 0 {
		kept = kept[max(0, len(kept)-r.Last):]
	} else {
		kept = slices.DeleteFunc(kept, func(e modelEntry) bool { return e.position.Offset < r.Since.Offset })
	}
	var positions []hub.Position
	for _, e := range kept[:min(len(kept), r.Limit)] {
		positions = append(positions, e.position)
	}
	return positions
}

// Whatever is published, read, waited for and rewound, the history is as a
// simple model says. Each byte is a step.
func FuzzMemoryHistoryAgreesWithModel(f *testing.F) {
	f.Add([]byte("\x00\x01\x02\x10\x20\x30\x01\x01\x40\x50\x60\x70\x00\x31"))
	f.Add([]byte("\x00\x08\x08\x08\x00\x01\x02\x03\x04\x05\x06\x07\x50\x51\x60\x00\x01\x70\x00\x50"))
	steps := make([]byte, 600)
	for i := range steps {
		steps[i] = byte(i * i * 31 >> 2)
	}
	f.Add(steps)
	f.Fuzz(func(t *testing.T, steps []byte) {
		synctest.Test(t, func(t *testing.T) { followModel(t, steps[:min(len(steps), 2000)]) })
	})
}

func followModel(t *testing.T, steps []byte) {
	bus := backplane.NewMemory(backplane.MemoryConfig{})
	m := joinLogs(t, bus, hub.Log{Name: "log", Messages: modelMessages, Age: modelAge})
	defer m.Close()
	topics := []hub.Topic{"c:a", "c:b"}
	model := make(map[hub.Topic]*modelLog)
	for _, topic := range topics {
		model[topic] = &modelLog{start: m.read(hub.ReadRequest{Topic: topic}).Top}
	}
	rewind, saved := bus.SaveLogs(), cloneModel(model)
	for i, step := range steps {
		topic, n := topics[step&1], int(step>>1&7)
		l := model[topic]
		switch step >> 4 {
		case 0, 1, 2: // publish, sometimes what was published
			id := fmt.Sprint("id ", n)
			if step>>4 > 0 {
				id = fmt.Sprint("step ", i)
			}
			want, double := l.double(id)
			got := m.append(topic, id)
			if got.Duplicate != double || double && got.Position != want || !double && got.Position.Offset != l.top().Offset+1 {
				t.Fatalf("step %d, publish %q: got %+v, want a double %t, %+v", i, id, got, double, want)
			}
			if !double {
				l.all = append(l.all, modelEntry{id: id, position: got.Position, at: time.Now()})
			}
		case 3, 4:
			time.Sleep(time.Duration(n) * 17 * time.Second)
		case 5:
			rewind, saved = bus.SaveLogs(), cloneModel(model)
		case 6:
			rewind()
			model = cloneModel(saved)
		default:
			r := hub.ReadRequest{Topic: topic, Limit: n}
			switch step >> 4 % 3 {
			case 0:
				r.Last = n + 1
			case 1:
				r.Since = hub.Position{Offset: max(1, l.top().Offset+2) - min(uint64(n), l.top().Offset+1), ID: "x"}
			}
			checkAgainstModel(t, fmt.Sprint("step ", i), m.read(r), l, r)
		}
	}
	for _, topic := range topics {
		r := hub.ReadRequest{Topic: topic, Limit: 100}
		checkAgainstModel(t, "at the end", m.read(r), model[topic], r)
	}
}

func checkAgainstModel(t *testing.T, when string, page hub.Page, l *modelLog, r hub.ReadRequest) {
	t.Helper()
	var got []hub.Position
	for _, e := range page.Entries {
		got = append(got, e.Position)
		before := l.start
		if at := slices.IndexFunc(l.all, func(m modelEntry) bool { return m.position == e.Position }); at > 0 {
			before = l.all[at-1].position
		}
		if e.Previous != before {
			t.Fatalf("%s, Previous of %+v: got %+v, want %+v", when, e.Position, e.Previous, before)
		}
	}
	if want := l.read(r); !slices.Equal(got, want) || page.Top != l.top() {
		t.Fatalf("%s, read %+v: got %+v and top %+v, want %+v and %+v", when, r, got, page.Top, want, l.top())
	}
}

func cloneModel(model map[hub.Topic]*modelLog) map[hub.Topic]*modelLog {
	clone := make(map[hub.Topic]*modelLog)
	for topic, l := range model {
		clone[topic] = &modelLog{start: l.start, all: slices.Clone(l.all)}
	}
	return clone
}

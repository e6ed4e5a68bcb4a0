package hub

import (
	"slices"
	"sync"
	"time"
)

// recent remembers the ids that publishers chose, so that a message that is
// published again is not delivered again. It forgets after recentTime, and
// earlier past recentMax ids.
type recent struct {
	mu   sync.Mutex
	seen map[recentKey]struct{}
	// order is a ring of what is in seen, oldest first.
	order []recentEntry
}

type recentKey struct {
	scope Topic
	id    string
}

type recentEntry struct {
	key recentKey
	at  time.Time
}

const (
	recentTime = 2 * time.Minute
	recentMax  = 65_536
)

// recentScope is what a message's id is unique in: its topic, and for messages
// to single clients, which share their hub's topic, the client.
func recentScope(t Topic, client string) Topic {
	if client == "" {
		return t
	}
	return t + "\x00" + Topic(client)
}

// add reports whether the id is new in its scope.
func (r *recent) add(scope Topic, id string, now time.Time) bool {
	key := recentKey{scope, id}
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.order) > 0 && now.Sub(r.order[0].at) >= recentTime {
		r.forgetOldestLocked()
	}
	if _, ok := r.seen[key]; ok {
		return false
	}
	if len(r.order) >= recentMax {
		r.forgetOldestLocked()
	}
	if r.seen == nil {
		r.seen = make(map[recentKey]struct{})
	}
	r.seen[key] = struct{}{}
	r.order = append(r.order, recentEntry{key, now})
	return true
}

func (r *recent) forgetOldestLocked() {
	delete(r.seen, r.order[0].key)
	r.order[0] = recentEntry{}
	r.order = r.order[1:]
}

// remove forgets an id that was added a moment ago.
func (r *recent) remove(scope Topic, id string) {
	key := recentKey{scope, id}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.seen, key)
	for i, entry := range slices.Backward(r.order) {
		if entry.key == key {
			r.order = slices.Delete(r.order, i, i+1)
			return
		}
	}
}

package hub

import (
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
	topic Topic
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

// add reports whether the id is new on its topic.
func (r *recent) add(t Topic, id string, now time.Time) bool {
	key := recentKey{t, id}
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.order) > 0 && (len(r.order) >= recentMax || now.Sub(r.order[0].at) >= recentTime) {
		delete(r.seen, r.order[0].key)
		r.order[0] = recentEntry{}
		r.order = r.order[1:]
	}
	if _, ok := r.seen[key]; ok {
		return false
	}
	if r.seen == nil {
		r.seen = make(map[recentKey]struct{})
	}
	r.seen[key] = struct{}{}
	r.order = append(r.order, recentEntry{key, now})
	return true
}

package hub

import "sync"

// stream is what lets a burst on a channel cost little however many are on it.
// A subscriber for which the channel's messages pile up follows the stream: of
// the messages from one index on it has no entries of its own, and a message
// for all followers is appended once, to the stream. The others are apart, and
// get each message by themselves.
//
//	         a message, while one of the channel's waits already
//	apart ─────────────────────────────────────────────────────▶ following
//	  ▲                                                            │
//	  └────────────────────────────────────────────────────────────┘
//	    a worker takes what waits · a message from elsewhere · the
//	    stream is full · the client leaves, or takes nothing more
//
// Only a subscriber whose outbox has room for a whole stream may follow, so that
// nobody's bounds have to be looked at while the stream grows.
//
// Lock order: channel.mu, outbox.mu, stream.mu. A message is put through under
// channel.mu, so only one at a time; subscribers come apart at any time.
type stream struct {
	mu sync.Mutex
	// frames since the first follower came, and their bytes.
	frames []Frame
	bytes  int
	// followers, and one more while a message is put through.
	followers int
	// apart are the subscriptions that don't follow, and left of them those of
	// clients that are not on the channel any more.
	apart []listener
	left  int
	// pushed: the message that is being put through is in frames. Guarded by
	// channel.mu.
	pushed bool
}

// listener is a subscription with its client beside it, since to look for it
// costs more than all else where a channel has not been in use for a while.
type listener struct {
	client *Client
	sub    *subscription
}

// streamShare is the part of an outbox's bounds that a stream may fill.
const streamShare = 4

// fits reports whether a message has room in the stream.
func (s *stream) fitsLocked(cfg *Config, size int) bool {
	return len(s.frames) < cfg.OutboxMessages/streamShare && s.bytes+size <= cfg.OutboxBytes/streamShare
}

// begin puts a message through to all who follow and says how many they are,
// and who is apart. It reports false where the stream is full: then nothing has
// happened. It is called with channel.mu, end after it.
func (s *stream) begin(cfg *Config, frame Frame, size int) (following int, apart []listener, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tidyLocked()
	following = s.followers
	if following > 0 {
		if !s.fitsLocked(cfg, size) {
			return 0, nil, false
		}
		s.pushLocked(frame, size)
	}
	s.followers++
	apart, s.apart = s.apart, nil
	return following, apart, true
}

// end gives back those who are apart still.
func (s *stream) end(apart []listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.apart = append(apart, s.apart...)
	s.pushed = false
	s.goneLocked()
}

func (s *stream) pushLocked(frame Frame, size int) {
	s.frames = append(s.frames, frame)
	s.bytes += size
	s.pushed = true
}

// join makes a subscription follow, from the message on that is being put
// through.
func (s *stream) join(cfg *Config, frame Frame, size int) (p place, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.pushed {
		if !s.fitsLocked(cfg, size) {
			return place{}, false
		}
		s.pushLocked(frame, size)
	}
	s.followers++
	return place{index: len(s.frames) - 1, bytes: s.bytes - size}, true
}

// place is where a follower stands: what is after it waits for it.
type place struct{ index, bytes int }

// part takes a follower off the stream, and appends what waits for it to queue.
// It is apart from then on, unless it leaves the channel.
func (s *stream) part(p place, queue []Frame, sub *subscription, leaves bool) (_ []Frame, bytes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	queue = append(queue, s.frames[p.index:]...)
	bytes = s.bytes - p.bytes
	if !leaves {
		s.apart = append(s.apart, listener{sub.client, sub})
	}
	s.goneLocked()
	return queue, bytes
}

// keepStream is the longest stream, in messages, whose memory a channel keeps.
const keepStream = 64

// goneLocked counts one follower less.
func (s *stream) goneLocked() {
	if s.followers--; s.followers > 0 {
		return
	}
	clear(s.frames)
	s.frames, s.bytes = s.frames[:0], 0
	if cap(s.frames) > keepStream {
		s.frames = nil
	}
}

// add takes a new subscription.
func (s *stream) add(sub *subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.apart = append(s.apart, listener{sub.client, sub})
}

// forget takes word that a subscription that is apart has left the channel. It
// is called with channel.mu.
func (s *stream) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left++; s.left > len(s.apart)/2 {
		s.tidyLocked()
	}
}

// tidyLocked drops those who left.
func (s *stream) tidyLocked() {
	if s.left == 0 {
		return
	}
	s.left = 0
	kept := s.apart[:0]
	for _, l := range s.apart {
		if !l.sub.left {
			kept = append(kept, l)
		}
	}
	clear(s.apart[len(kept):])
	s.apart = kept
	if cap(kept) > 64 && len(kept) < cap(kept)/4 {
		s.apart = append(make([]listener, 0, 2*len(kept)), kept...)
	}
}

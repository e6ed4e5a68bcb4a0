package backplane

// Topics says how many topics the bus remembers.
func (b *Memory) Topics() int {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return len(b.topics)
}

// Members says how many members the bus remembers.
func (b *Memory) Members() int {
	b.signals.Lock()
	defer b.signals.Unlock()
	return len(b.started)
}

// Topics says how many topics the Dual remembers, and how many that it has to
// leave yet.
func (d *Dual) Topics() (subscribed, stale int) {
	d.telling <- struct{}{}
	defer func() { <-d.telling }()
	return d.topics.len(), len(d.stale[fromSide]) + len(d.stale[toSide])
}

// MarkCopy and IsCopy are Dual's marks.
var (
	MarkCopy = markCopy
	IsCopy   = isCopy
)

// SetNumber makes the next message that is sealed have another number.
func (e *Encrypted) SetNumber(n uint64) {
	e.seal.mu.Lock()
	defer e.seal.mu.Unlock()
	e.seal.number = n
}

// Openers says how many AES keys the Encrypted remembers.
func (e *Encrypted) Openers() int {
	e.keys.mu.Lock()
	defer e.keys.mu.Unlock()
	return len(e.keys.openers)
}

// Logs is how many topics have a log.
func (b *Memory) Logs() int {
	b.logs.mu.RLock()
	defer b.logs.mu.RUnlock()
	return len(b.logs.logs)
}

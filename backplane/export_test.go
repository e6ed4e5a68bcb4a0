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

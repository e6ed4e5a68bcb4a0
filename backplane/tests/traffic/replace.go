package traffic

import "forge.lthn.ai/core/go-ws/hub"

// Replace puts a new hub in the place of each, one after the other, as a deploy
// does, and checks those that go.
func (r *Run) Replace(next func() hub.Backplane) {
	r.t.Helper()
	for _, old := range r.Members() {
		r.Join(next())
		old.CheckHub()
		r.Leave(old)
	}
}

// CheckHub fails the test unless the member's hub is well and always was: no
// disruption, no publish that failed, and nothing that it dropped. What a hub
// never got twice it did not have to recognise.
func (m *Member) CheckHub() {
	m.run.t.Helper()
	s := m.hub.Stats().Backplane
	if !s.Healthy || s.Disruptions+s.Duplicates+s.Missed+s.Malformed+s.PublishErrors != 0 {
		m.run.t.Errorf("hub %d: got %+v, want it healthy, and nothing disrupted, doubled, missed or failed", m.id, s)
	}
}

// Package traffic keeps a fleet of hubs, or of bare backplanes, busy and says
// what became of each message: lost, delivered twice, delivered out of order,
// and when. It is for tests which break something meanwhile.
//
//	run := traffic.Start(t, traffic.Config{
//		New: func(t testing.TB) hub.Backplane { return bus.Join() },
//	})
//	away := run.Begin("broker killed") // before the fault
//	broker.Kill()
//	broker.Restart()
//	away.End() // waits until everything flows again
//	report := run.Stop()
//	report.Check()
//
// Each member of the fleet has a subscriber, which is on all channels, and
// publishers, each a goroutine that publishes on one channel after the other
// and waits for each result. What a publisher publishes on one channel is
// numbered. Report.Check fails the test where
//
//   - a publication that was acknowledged has not arrived at a subscriber that
//     was there from before it until after it, unless it was published within a
//     span or was under way when one began;
//   - a publication arrived twice, or after a later one of the same publisher on
//     the same channel, whenever that was;
//   - something arrived that nobody has published;
//   - a publish failed outside of all spans, or took ten times its timeout.
//
// Report has the figures, so that a test can also show that its fault has
// bitten: that something was lost, or failed.
//
// Nothing in here depends on how fast things go. All waiting is for events and
// is given up after a minute.
package traffic

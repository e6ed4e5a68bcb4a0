// Package backplane joins the hubs of one process without a broker: for tests,
// for demonstrations, and for programs that run several hubs side by side. It
// depends on package hub alone.
//
//	bus := backplane.NewMemory(backplane.MemoryConfig{})
//	a, err := hub.New(hub.Config{Backplane: bus.Join(), …})
//	b, err := hub.New(hub.Config{Backplane: bus.Join(), …})
//
// # Delivery
//
// Publish delivers on the caller's goroutine and returns when every member that
// is subscribed has the publication, the publishing one included. All members
// see the publications of one topic in one order; different topics are delivered
// side by side. A publication that finds another one of its topic under way
// waits for it, for as long as its context allows. Nothing is queued, nothing
// is kept, and there is no goroutine: what was published while nobody was
// subscribed is gone, and so is everything when the process ends.
//
// # Faults
//
// [Memory.Break] takes the bus down as a broker's outage would, and
// [Memory.Heal] brings it back, so that a program's behaviour meanwhile can be
// tested and shown.
package backplane

// Package backplane has the backplane that needs no broker, and those that are
// put around others. It depends on package hub alone.
//
// [Memory] joins the hubs of one process: for tests, for demonstrations, and for
// programs that run several hubs side by side.
//
//	bus := backplane.NewMemory(backplane.MemoryConfig{})
//	a, err := hub.New(hub.Config{Backplane: bus.Join(), …})
//	b, err := hub.New(hub.Config{Backplane: bus.Join(), …})
//
// [Dual] is on two brokers at once, so that a running fleet moves from one to the
// other. [Encrypted] hides from a broker what it carries. Both go where any
// backplane goes:
//
//	moving, err := backplane.NewDual(backplane.DualConfig{From: redis, To: nats})
//	secret, err := backplane.NewEncrypted(redis, backplane.EncryptedConfig{Keys: keys})
//
// # Delivery of Memory
//
// Publish delivers on the caller's goroutine and returns when every member that
// is subscribed has the publication, the publishing one included. All members
// see the publications of one topic in one order; different topics are delivered
// side by side. A publication that finds another one of its topic under way
// waits for it, for as long as its context allows. Nothing is queued, nothing
// is kept, and there is no goroutine: what was published while nobody was
// subscribed is gone, and so is everything when the process ends.
//
// # Faults of Memory
//
// [Memory.Break] takes the bus down as a broker's outage would, and
// [Memory.Heal] brings it back, so that a program's behaviour meanwhile can be
// tested and shown.
package backplane

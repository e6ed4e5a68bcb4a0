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
// waits for it, for as long as its context allows. Nothing is queued, and there
// is no goroutine. What names no log is not kept: published while nobody was
// subscribed it is gone. Everything is gone when the process ends.
//
// # History of Memory
//
// A publication that names a log is in it before anybody gets it, and all
// members that join the same Memory share the logs, those that join when all
// others are closed too. Offsets begin at 1 and have no gaps. An id is known
// again for two minutes on its topic, also when its message is gone. Limits are
// exact: of a log with Messages the newest so many are there, of one with Age
// those that are no older. Of several declarations of one log the last one
// holds, for all members.
//
// What is beyond the limits is freed when its topic is used, and for topics that
// are not, bit by bit as others are published to; without any call nothing is
// freed. A topic whose messages and ids are gone keeps about 200 bytes, its
// place, for 24 hours after its last use. A log without Age keeps its topics for
// good, and one without limits all that it gets.
//
// # Faults of Memory
//
// [Memory.Break] takes the bus down as a broker's outage would, and
// [Memory.Heal] brings it back, so that a program's behaviour meanwhile can be
// tested and shown. [Memory.LoseLogs] and [Memory.SaveLogs] do to the logs what a
// broker does that comes back without its data, or with older data.
package backplane

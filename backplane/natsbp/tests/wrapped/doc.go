// Package wrapped holds tests of what is the same on every broker, and of what
// wraps backplanes: package backplane's Encrypted and Dual over Redis and NATS,
// fleets of hubs on either, and the move of a fleet from one to the other. The
// servers are real ones.
package wrapped

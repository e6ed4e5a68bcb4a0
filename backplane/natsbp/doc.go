// Package natsbp joins hubs through NATS.
package natsbp

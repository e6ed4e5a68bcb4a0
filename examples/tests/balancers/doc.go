// Package balancers holds the tests of docs/load-balancers.md: the balancers run
// with the configuration that the document shows.
package balancers

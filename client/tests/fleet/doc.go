// Package fleet tests clients of several hubs that a backplane joins, each kind of
// it.
package fleet

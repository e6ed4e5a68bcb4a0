// Package tests tests package redisbp on real servers, which package redistest
// starts: the suite of every backplane on one server, behind Sentinels and on a
// Cluster, and what is redisbp's own. The module is never tagged.
package tests

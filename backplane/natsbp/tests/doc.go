// Package tests holds the tests of natsbp that need a server: embedded ones, on
// real sockets, behind a proxy that cuts and freezes. The module is never tagged.
package tests

// Package tests holds what tests of backplanes share, and the tests of package
// backplane that need it. The module is never tagged; modules that are named
// "tests" may require it.
//
//   - netfault is a TCP proxy that cuts, freezes and slows.
//   - traffic runs publishers and subscribers over a fleet of hubs, or of bare
//     backplanes, and says what was lost, came twice or came out of order.
package tests

// Package netfault is a TCP proxy that stands between a program and its server
// and does what networks do to connections: it ends them, lets them fall silent
// without a word, and slows them.
//
//	proxy, err := netfault.Listen("127.0.0.1:6379")
//	defer proxy.Close()
//	client := connect(proxy.Addr())
//
//	proxy.Freeze(netfault.Swallow) // a cable is pulled
//	err = proxy.Wait(ctx, func(s netfault.Stats) bool { return s.Swallowed > 0 })
//	proxy.Thaw()
//
// Every fault is counted, so that a test can wait until it has bitten and show
// it afterwards.
package netfault

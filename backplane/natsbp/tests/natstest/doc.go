// Package natstest starts NATS servers within a test's process, alone or as a
// cluster, before which a proxy stands that cuts and freezes.
//
//	s := natstest.Start(t, server.Options{})
//	p := natstest.Proxy(t, natstest.Addr(s))
//	bp, err := natsbp.New(natsbp.Config{URL: natstest.URL(p.Addr())})
//
// The test's end stops them.
package natstest

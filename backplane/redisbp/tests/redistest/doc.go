// Package redistest starts Redis servers for tests: one, a master with replicas
// and Sentinels, or a Cluster. They listen on free ports of 127.0.0.1, live in
// the test's own folder and die with the test, whatever way it ends.
//
//	server := redistest.Start(t)
//	backplane, err := redisbp.New(redisbp.Config{URL: "redis://" + server.Addr()})
//	server.Kill()
//	server.Restart()
//
// The program redis-server must be installed; scripts/deps does that.
package redistest

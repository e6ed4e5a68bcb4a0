package redistest_test

import (
	"net"
	"testing"
	"time"

	"forge.lthn.ai/core/go-ws/backplane/redisbp/tests/redistest"
	"github.com/redis/go-redis/v9/logging"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	logging.Disable()
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction(redistest.Afterlife))
}

func TestAServerIsKilledAndComesBackAtItsAddress(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	if err := client.Set(t.Context(), "key", "value", 0).Err(); err != nil {
		t.Fatalf("Set: got %v, want nil", err)
	}
	server.Kill()
	if conn, err := net.Dial("tcp", server.Addr()); err == nil {
		conn.Close()
		t.Error("dialling a server that is killed: got a connection, want an error")
	}
	server.Restart()
	if n, err := client.Exists(t.Context(), "key").Result(); err != nil || n != 0 {
		t.Errorf("after Restart: got %d keys, %v, want none", n, err)
	}
}

func TestSentinelsReplaceAMasterThatIsKilled(t *testing.T) {
	set := redistest.StartSentinels(t, 2, 3, time.Second)
	old := set.Master()
	old.Kill()
	end := time.Now().Add(time.Minute)
	for set.Master() == old {
		if time.Now().After(end) {
			t.Fatal("got the same master after a minute, want another one")
		}
	}
}

func TestAClusterMovesASlotAndReplacesAMaster(t *testing.T) {
	c := redistest.StartCluster(t, 3, 1, time.Second)
	a := c.Owner("{p1}")
	b := c.Nodes[0]
	if a == b {
		b = c.Nodes[1]
	}
	c.Migrate("{p1}", b)
	if got := c.Owner("{p1}"); got != b {
		t.Errorf("slot that was moved: got it at %s, want %s", got.Addr(), b.Addr())
	}
	b.Kill()
	end := time.Now().Add(time.Minute)
	for c.Owner("{p1}") == b {
		if time.Now().After(end) {
			t.Fatal("got the same master after a minute, want its replica")
		}
	}
}

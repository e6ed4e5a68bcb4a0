package wrapped

import (
	"testing"

	"forge.lthn.ai/core/go-ws/backplane/natsbp/tests/natstest"
	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
)

// encryption is what it takes of what the broker lets an envelope have.
const encryption = 50

func TestConformanceOfEncryptedOverRedis(t *testing.T) {
	hubtest.TestBackplane(t, encryptedOver(startRedis(t)))
}

func TestConformanceOfEncryptedOverNATS(t *testing.T) {
	hubtest.TestBackplane(t, encryptedOver(startNATS(t)))
}

func TestConformanceOfEncryptedOverANATSCluster(t *testing.T) {
	hubtest.TestBackplane(t, spread(encryptedOver(startNATSCluster(t))))
}

// An outage of either broker is an outage of both.

func TestConformanceOfDualWhenRedisGoesAway(t *testing.T) {
	redis, nats := startRedis(t), startNATS(t)
	hubtest.TestBackplane(t, dualOf(redis.join, nats.join, redis))
}

func TestConformanceOfDualWhenNATSGoesAway(t *testing.T) {
	redis, nats := startRedis(t), startNATS(t)
	hubtest.TestBackplane(t, dualOf(redis.join, nats.join, nats))
}

// From Redis as it is to a NATS cluster on which everything is encrypted: both
// wrappers, and both adapters, as in the middle of a move.

func TestConformanceOfDualWhenItsEncryptedClusterGoesAway(t *testing.T) {
	redis, nats := startRedis(t), startNATSCluster(t)
	hubtest.TestBackplane(t, spread(dualOf(redis.join, nats.encrypted, nats)))
}

func TestConformanceOfDualWhenTheSideThatIsNotEncryptedGoesAway(t *testing.T) {
	redis, nats := startRedis(t), startNATS(t)
	hubtest.TestBackplane(t, dualOf(redis.join, nats.encrypted, redis))
}

// spread says that members are on several servers of a cluster.
func spread(h hubtest.BackplaneHarness) hubtest.BackplaneHarness {
	h.Features.EventualInterest = true
	return h
}

func encryptedOver(b *broker) hubtest.BackplaneHarness {
	return hubtest.BackplaneHarness{
		New:            b.encrypted,
		Break:          b.away,
		Heal:           b.back,
		Features:       hubtest.BackplaneFeatures{MaxPayload: maxPayload - encryption},
		OtherGoroutine: natstest.Goroutine,
	}
}

// dualOf declares no limit of size: it is another one on each side, so what is
// too large for one may be published on the other.
func dualOf(from, to func(testing.TB) hub.Backplane, broken *broker) hubtest.BackplaneHarness {
	return hubtest.BackplaneHarness{
		New:            func(t testing.TB) hub.Backplane { return dual(t, from(t), to(t)) },
		Break:          broken.away,
		Heal:           broken.back,
		OtherGoroutine: natstest.Goroutine,
	}
}

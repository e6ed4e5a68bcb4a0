package wrapped

import (
	"testing"

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

// An outage of either broker is an outage of both.

func TestConformanceOfDualWhenRedisGoesAway(t *testing.T) {
	redis, nats := startRedis(t), startNATS(t)
	hubtest.TestBackplane(t, dualOf(redis, nats, redis))
}

func TestConformanceOfDualWhenNATSGoesAway(t *testing.T) {
	redis, nats := startRedis(t), startNATS(t)
	hubtest.TestBackplane(t, dualOf(redis, nats, nats))
}

func encryptedOver(b *broker) hubtest.BackplaneHarness {
	return hubtest.BackplaneHarness{
		New:            b.encrypted,
		Break:          b.away,
		Heal:           b.back,
		Features:       hubtest.BackplaneFeatures{MaxPayload: maxPayload - encryption},
		OtherGoroutine: brokerGoroutine,
	}
}

// dualOf declares no limit of size: it is another one on each side, so what is
// too large for one may be published on the other.
func dualOf(from, to, broken *broker) hubtest.BackplaneHarness {
	return hubtest.BackplaneHarness{
		New:            func(t testing.TB) hub.Backplane { return dual(t, from.join(t), to.join(t)) },
		Break:          broken.away,
		Heal:           broken.back,
		OtherGoroutine: brokerGoroutine,
	}
}

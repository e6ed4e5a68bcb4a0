package hubtest

import (
	"testing"

	"forge.lthn.ai/core/go-ws/hub"
)

// BackplaneHarness is one deployment of a backplane under test: a broker and
// the way to it.
//
// Topics are the same at every run. Where other runs use the same broker, give
// each run a namespace of its own, by the adapter's prefix or the like.
type BackplaneHarness struct {
	// New makes another member of the deployment, not started. The suite closes
	// it. New is also called while the deployment is broken: such a member finds
	// no broker until Heal. All members behave alike.
	New func(t testing.TB) hub.Backplane
	// Break cuts every member's way to the broker, so that it is noticed: those
	// that are connected, and those that New makes meanwhile. Heal mends it. They
	// are called in turn, from one goroutine. How the way is cut (by a reset, by
	// silence, by stopping the broker) is the harness's choice; running the suite
	// once for each is best.
	Break, Heal func(t testing.TB)
	// FailSome makes Subscribe fail at every member for some of the topics and not
	// for others, as an access list does, or a part of the broker that is away, and
	// returns those that fail: some of them, not all. The topics are "c:some-0" to
	// "c:some-63". FailNone ends it; where nothing can, it is nil. Both are used
	// only where Features.PartialSubscribe is declared.
	FailSome func(t testing.TB, topics []hub.Topic) (failed []hub.Topic)
	FailNone func(t testing.TB)
	// Features are what the backplane can do.
	Features BackplaneFeatures
	// OtherGoroutine reports that a goroutine, whose stack is given, is no part
	// of the backplane but of a broker in the test's own process. Nil means that
	// there are none.
	OtherGoroutine func(stack string) bool
}

// BackplaneFeatures are what an adapter declares about itself. A subtest whose
// feature is not declared does not run; a subtest that comes with a later
// version of the suite gets a feature here unless every adapter that fulfils
// the port passes it.
type BackplaneFeatures struct {
	// MaxPayload is the largest envelope that Publish takes, in bytes: what the
	// broker takes without what the adapter adds. Zero means that there is no
	// limit worth testing; 512 KiB must pass.
	MaxPayload int
	// EventualInterest says that a subscription which is live at its own server
	// takes a moment until publishers at another server reach it, as on a NATS
	// cluster. The suite then publishes until something arrives before it goes
	// on.
	EventualInterest bool
	// PartialSubscribe says that Subscribe names the topics that it could not join
	// by a *hub.SubscribeError and joins those beside them. The harness needs
	// FailSome.
	PartialSubscribe bool
	// History says that Abilities has a History.
	History bool
}

// TestBackplane runs every check that a hub.Backplane must pass, as subtests.
//
//	func TestConformance(t *testing.T) {
//		hubtest.TestBackplane(t, hubtest.BackplaneHarness{New: …, Break: …, Heal: …})
//	}
//
// Checks wait for events and give up after a minute. That something does not
// arrive is shown by what is published after it. Run it with -race.
func TestBackplane(t *testing.T, h BackplaneHarness) {
	if h.New == nil || h.Break == nil || h.Heal == nil {
		t.Fatal("hubtest: a BackplaneHarness needs New, Break and Heal")
	}
	if h.Features.PartialSubscribe && h.FailSome == nil {
		t.Fatal("hubtest: a BackplaneHarness with the feature PartialSubscribe needs FailSome")
	}
	for _, c := range backplaneChecks {
		if c.needs != nil && !c.needs(h.Features) {
			continue
		}
		t.Run(c.name, func(t *testing.T) { c.run(newBackplaneEnv(t, h)) })
	}
}

// backplaneCheck is one promise of the port.
type backplaneCheck struct {
	name  string
	run   func(*backplaneEnv)
	needs func(BackplaneFeatures) bool
}

var backplaneChecks = []backplaneCheck{
	{name: "ReachesEveryMember", run: checkReachesEveryMember},
	{name: "ReachesThePublisher", run: checkReachesThePublisher},
	{name: "NobodyListens", run: checkNobodyListens},
	{name: "EnvelopeIsUnchanged", run: checkEnvelopeIsUnchanged},
	{name: "EnvelopeBelongsToTheReceiver", run: checkEnvelopeBelongsToTheReceiver},
	{name: "EnvelopeStaysThePublishers", run: checkEnvelopeStaysThePublishers},
	{name: "NoPositionWithoutHistory", run: checkNoPosition, needs: func(f BackplaneFeatures) bool { return !f.History }},
	{name: "TooLarge", run: checkTooLarge, needs: func(f BackplaneFeatures) bool { return f.MaxPayload > 0 }},

	{name: "OnlySubscribedTopics", run: checkOnlySubscribedTopics},
	{name: "TopicSpacesAreApart", run: checkTopicSpacesAreApart},
	{name: "HostileTopics", run: checkHostileTopics},
	{name: "LongTopics", run: checkLongTopics},

	{name: "SubscribeIsLiveOnReturn", run: checkSubscribeIsLiveOnReturn, needs: func(f BackplaneFeatures) bool { return !f.EventualInterest }},
	{name: "SubscribeManyAtOnce", run: checkSubscribeManyAtOnce},
	{name: "SubscribeTwiceDeliversOnce", run: checkSubscribeTwiceDeliversOnce},
	{name: "UnsubscribeStops", run: checkUnsubscribeStops},
	{name: "UnsubscribeUnknown", run: checkUnsubscribeUnknown},
	{name: "ConcurrentCalls", run: checkConcurrentCalls},
	{name: "SubscribeSome", run: checkSubscribeSome, needs: func(f BackplaneFeatures) bool { return f.PartialSubscribe }},

	{name: "OnePublisherInOrder", run: checkOnePublisherInOrder},
	{name: "ConcurrentPublishersInOrder", run: checkConcurrentPublishersInOrder},
	{name: "DeliverIsNotConcurrent", run: checkDeliverIsNotConcurrent},

	{name: "HubsAreOneSystem", run: checkHubsAreOneSystem},

	{name: "EndedContext", run: checkEndedContext},
	{name: "BreakIsReported", run: checkBreakIsReported},
	{name: "PublishWhileBroken", run: checkPublishWhileBroken},
	{name: "UnavailablePublishesNothing", run: checkUnavailablePublishesNothing},
	{name: "SubscribeWhileBroken", run: checkSubscribeWhileBroken},
	{name: "UnsubscribeWhileBroken", run: checkUnsubscribeWhileBroken},
	{name: "SubscriptionsComeBack", run: checkSubscriptionsComeBack},

	{name: "RestoredOnceAtStart", run: checkRestoredOnceAtStart},
	{name: "StartWhileAway", run: checkStartWhileAway},
	{name: "CloseWhileBroken", run: checkCloseWhileBroken},
	{name: "CloseBeforeStart", run: checkCloseBeforeStart},
	{name: "CloseTwice", run: checkCloseTwice},
	{name: "CloseLeavesOthersAlone", run: checkCloseLeavesOthersAlone},
	{name: "NoCallAfterClose", run: checkNoCallAfterClose},
	{name: "UseAfterClose", run: checkUseAfterClose},
	{name: "NoGoroutineLeft", run: checkNoGoroutineLeft},
	{name: "AbilitiesNeverChange", run: checkAbilitiesNeverChange},
}

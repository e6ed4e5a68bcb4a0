package hubtest

import (
	"testing"
	"time"
)

// HistoryHarness is one deployment of a backplane with a hub.History.
//
// Topics are other ones in each check and each run; the logs are named
// "hubtest-all", "hubtest-count" and "hubtest-age".
type HistoryHarness struct {
	// Backplane is the deployment. Break and Heal must not lose what is in the
	// logs; where Break is nil, what is about outages is left out. Features of
	// partial subscribing don't matter.
	Backplane BackplaneHarness
	// Lose makes the broker forget its logs, as a restart without its data does.
	// The members come back by themselves. Where it is nil nothing is tested
	// about lost logs.
	Lose func(t testing.TB)
	// Save remembers what the broker has on disk. Rewind puts it back there: what
	// was published since is lost, the ids of messages too. The members come back
	// by themselves. Where it is nil nothing is tested about it.
	Save func(t testing.TB) (rewind func(t testing.TB))
	// Features are what the history can do.
	Features HistoryFeatures
}

// HistoryFeatures are what an adapter declares about its history.
type HistoryFeatures struct {
	// HalfKnownPrevious says that deliveries tell the offset of the one before
	// without its id, and nothing of the one before a topic's first.
	HalfKnownPrevious bool
	// MinAge is the shortest hub.Log.Age that can be kept; 1 s by default. The
	// suite waits for a few times as long.
	MinAge time.Duration
	// Window is how long an id is known again, at least; 1 minute by default.
	Window time.Duration
}

// TestHistory runs every check that a hub.History must pass, as subtests,
// beside TestBackplane, whose BackplaneFeatures.History says that there is one.
//
//	func TestHistoryConformance(t *testing.T) {
//		hubtest.TestHistory(t, hubtest.HistoryHarness{Backplane: …, Lose: …, Save: …})
//	}
//
// What takes a while is waited for, up to a minute. Run it with -race.
func TestHistory(t *testing.T, h HistoryHarness) {
	if h.Backplane.New == nil || (h.Backplane.Break == nil) != (h.Backplane.Heal == nil) {
		t.Fatal("hubtest: a HistoryHarness needs Backplane.New, and Break with Heal")
	}
	for _, c := range historyChecks {
		if c.needs != nil && !c.needs(h) {
			continue
		}
		t.Run(c.name, func(t *testing.T) { c.run(newHistoryEnv(t, h)) })
	}
}

// historyCheck is one promise of hub.History.
type historyCheck struct {
	name  string
	run   func(*historyEnv)
	needs func(HistoryHarness) bool
}

func breaks(h HistoryHarness) bool { return h.Backplane.Break != nil }
func loses(h HistoryHarness) bool  { return h.Lose != nil }
func saves(h HistoryHarness) bool  { return h.Save != nil }

var historyChecks = []historyCheck{
	{name: "DeclareOnce", run: checkDeclareOnce},
	{name: "DeclareValidLogs", run: checkDeclareValidLogs},
	{name: "UndeclaredLog", run: checkUndeclaredLog},

	{name: "PositionsIncrease", run: checkPositionsIncrease},
	{name: "SubscribersGetThePublishersPosition", run: checkSubscribersGetThePublishersPosition},
	{name: "PreviousChains", run: checkPreviousChains},
	{name: "LogOrderIsDeliveryOrder", run: checkLogOrderIsDeliveryOrder},
	{name: "LiveIsNotKept", run: checkLiveIsNotKept},

	{name: "DoublesAppendNothing", run: checkDoublesAppendNothing},
	{name: "DoublesAtOnce", run: checkDoublesAtOnce},
	{name: "IDsArePerTopic", run: checkIDsArePerTopic},
	{name: "DoubleOfWhatIsGone", run: checkDoubleOfWhatIsGone},

	{name: "EntriesAreUnchanged", run: checkEntriesAreUnchanged},
	{name: "EntriesBelongToTheReader", run: checkEntriesBelongToTheReader},
	{name: "ReadSince", run: checkReadSince},
	{name: "ReadFromTheOldest", run: checkReadFromTheOldest},
	{name: "ReadLast", run: checkReadLast},
	{name: "ReadLimit", run: checkReadLimited},
	{name: "ReadChains", run: checkReadChains},
	{name: "ReadSeesWhatWasAcknowledged", run: checkReadSeesWhatWasAcknowledged},
	{name: "ReadSeesWhatWasDelivered", run: checkReadSeesWhatWasDelivered},
	{name: "ReadWhilePublishing", run: checkReadWhilePublishing},
	{name: "TopsInOrder", run: checkTopsInOrder},
	{name: "TheStartHasAnID", run: checkTheStartHasAnID},
	{name: "TheStartIsProven", run: checkTheStartIsProven},
	{name: "HostileTopics", run: checkHistoryOfHostileTopics},
	{name: "ManyTopics", run: checkHistoryOfManyTopics},

	{name: "MembersShareTheLog", run: checkMembersShareTheLog},
	{name: "KeepsMessages", run: checkKeepsMessages},
	{name: "TheOneBeforeIsProven", run: checkTheOneBeforeIsProven},
	{name: "NothingFalseIsProven", run: checkNothingFalseIsProven},
	{name: "MessagesAreBounded", run: checkMessagesAreBounded},
	{name: "KeepsForAge", run: checkKeepsForAge},
	{name: "AgeIsBounded", run: checkAgeIsBounded},
	{name: "OffsetsOutliveTheEntries", run: checkOffsetsOutliveTheEntries},

	{name: "EndedContext", run: checkHistoryEndedContext},
	{name: "UseAfterClose", run: checkHistoryUseAfterClose},
	{name: "NoGoroutineLeft", run: checkHistoryNoGoroutineLeft},
	{name: "ReadWhileBroken", run: checkReadWhileBroken, needs: breaks},
	{name: "TheLogOutlivesAnOutage", run: checkTheLogOutlivesAnOutage, needs: breaks},
	{name: "ALostLogIsAnother", run: checkALostLogIsAnother, needs: loses},
	{name: "AnEmptyLogThatIsLostIsAnother", run: checkAnEmptyLogThatIsLostIsAnother, needs: loses},
	{name: "ARewoundLogIsToldApart", run: checkARewoundLogIsToldApart, needs: saves},
}

package hub_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
)

func TestRecentIDsAreRememberedForTwoMinutesPerTopic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r hub.Recent
		for _, step := range []struct {
			after time.Duration
			topic hub.Topic
			id    string
			fresh bool
		}{
			{0, "c:a", "1", true},
			{0, "c:a", "1", false},
			{0, "c:b", "1", true}, // another topic's
			{time.Minute, "c:a", "2", true},
			{time.Minute - 1, "c:a", "1", false},
			{1, "c:a", "1", true}, // two minutes after the first, not after the last
			{0, "c:a", "2", false},
			{time.Minute, "c:a", "2", true},
		} {
			time.Sleep(step.after)
			if got := r.Add(step.topic, step.id); got != step.fresh {
				t.Errorf("id %s on %s: got new %v, want %v", step.id, step.topic, got, step.fresh)
			}
		}
		time.Sleep(hub.RecentTime)
		r.Add("c:a", "3")
		if seen, order := r.Sizes(); seen != 1 || order != 1 {
			t.Errorf("after all but one id are over: got %d remembered in an order of %d, want 1 and 1", seen, order)
		}
	})
}

func TestRecentIDsAreBoundedAndTheOldestGoFirst(t *testing.T) {
	var r hub.Recent
	for i := range hub.RecentMax {
		r.Add("c:a", fmt.Sprint(i))
	}
	for _, id := range []string{"0", "65535"} {
		if r.Add("c:a", id) {
			t.Errorf("id %s before 65,536 others: got new, want remembered", id)
		}
	}
	r.Add("c:a", "one more")
	if seen, order := r.Sizes(); seen != hub.RecentMax || order != hub.RecentMax {
		t.Errorf("got %d ids remembered in an order of %d, want %d", seen, order, hub.RecentMax)
	}
	if r.Add("c:a", "1") {
		t.Error("the second oldest: got new, want remembered")
	}
	if !r.Add("c:a", "0") {
		t.Error("the oldest, after 65,536 others: got remembered, want it forgotten")
	}
}

func TestARecentIDCanBeTakenBack(t *testing.T) {
	var r hub.Recent
	for _, id := range []string{"1", "2", "3"} {
		r.Add("h:x", id)
	}
	r.Remove("h:x", "2")
	r.Remove("h:x", "never there")
	if seen, order := r.Sizes(); seen != 2 || order != 2 {
		t.Errorf("got %d ids remembered in an order of %d, want 2 and 2", seen, order)
	}
	if !r.Add("h:x", "2") || r.Add("h:x", "1") || r.Add("h:x", "3") {
		t.Error("want the id that was taken back to be new, the others not")
	}
}

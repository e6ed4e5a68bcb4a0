package hubtest_test

import (
	"context"
	"errors"
	"fmt"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
)

// How does a program take an answer of the broker that is lost on its way?
func ExampleBackplaneFaults() {
	ctx := context.Background()
	member := hubtest.NewBroker(hubtest.BrokerConfig{}).Join()
	defer member.Close()
	if err := member.Start(ctx, &notes{}); err != nil {
		fmt.Println(err)
		return
	}

	errLost := errors.New("connection reset")
	member.SetFaults(hubtest.BackplaneFaults{
		Acknowledge: func(context.Context, hub.Publication) error { return errLost },
	})
	_, err := member.Publish(ctx, hub.Publication{Topic: "c:news", ID: "1", Envelope: []byte("{}")})
	fmt.Println("the outcome is unknown:", errors.Is(err, errLost))
	// Output: the outcome is unknown: true
}

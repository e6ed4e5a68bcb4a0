module forge.lthn.ai/core/go-ws/backplane/tests

go 1.26

require (
	forge.lthn.ai/core/go-ws/backplane v0.0.0
	forge.lthn.ai/core/go-ws/hub v0.0.0
	go.uber.org/goleak v1.3.0
)

replace (
	forge.lthn.ai/core/go-ws/backplane => ..
	forge.lthn.ai/core/go-ws/hub => ../../hub
)

module forge.lthn.ai/core/go-ws/transport/tests

go 1.26

require (
	forge.lthn.ai/core/go-ws/hub v0.0.0
	forge.lthn.ai/core/go-ws/transport v0.0.0
	github.com/gorilla/websocket v1.5.3
	go.uber.org/goleak v1.3.0
)

require (
	forge.lthn.ai/core/go-ws/auth v0.0.0
	forge.lthn.ai/core/go-ws/backplane v0.0.0
	nhooyr.io/websocket v1.8.17 // indirect
)

replace (
	forge.lthn.ai/core/go-ws/hub => ../../hub
	forge.lthn.ai/core/go-ws/transport => ..
)

replace forge.lthn.ai/core/go-ws/auth => ../../auth

replace forge.lthn.ai/core/go-ws/backplane => ../../backplane

module forge.lthn.ai/core/go-ws/client

go 1.26

require (
	forge.lthn.ai/core/go-ws/hub v0.0.0
	nhooyr.io/websocket v1.8.17
)

replace forge.lthn.ai/core/go-ws/hub => ../hub

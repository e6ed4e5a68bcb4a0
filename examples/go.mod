module forge.lthn.ai/core/go-ws/examples

go 1.26

require (
	forge.lthn.ai/core/go-ws/auth v0.0.0
	forge.lthn.ai/core/go-ws/backplane v0.0.0
	forge.lthn.ai/core/go-ws/hub v0.0.0
	forge.lthn.ai/core/go-ws/transport v0.0.0
	github.com/golang-jwt/jwt/v5 v5.3.1
)

require nhooyr.io/websocket v1.8.17 // indirect

replace (
	forge.lthn.ai/core/go-ws/auth => ../auth
	forge.lthn.ai/core/go-ws/backplane => ../backplane
	forge.lthn.ai/core/go-ws/hub => ../hub
	forge.lthn.ai/core/go-ws/transport => ../transport
)

module forge.lthn.ai/core/go-ws/backplane/redisbp/tests

go 1.26.0

require (
	forge.lthn.ai/core/go-ws/backplane v0.0.0
	forge.lthn.ai/core/go-ws/backplane/redisbp v0.0.0
	forge.lthn.ai/core/go-ws/backplane/tests v0.0.0
	forge.lthn.ai/core/go-ws/hub v0.0.0
	github.com/redis/go-redis/v9 v9.23.0
	go.uber.org/goleak v1.3.0
)

require (
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	go.uber.org/atomic v1.12.0 // indirect
	golang.org/x/sys v0.48.0 // indirect
)

replace (
	forge.lthn.ai/core/go-ws/backplane => ../..
	forge.lthn.ai/core/go-ws/backplane/redisbp => ..
	forge.lthn.ai/core/go-ws/backplane/tests => ../../tests
	forge.lthn.ai/core/go-ws/hub => ../../../hub
)

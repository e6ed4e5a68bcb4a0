module forge.lthn.ai/core/go-ws/examples

go 1.26.0

require (
	forge.lthn.ai/core/go-ws/auth v0.0.0
	forge.lthn.ai/core/go-ws/backplane v0.0.0
	forge.lthn.ai/core/go-ws/backplane/natsbp v0.0.0
	forge.lthn.ai/core/go-ws/backplane/redisbp v0.0.0
	forge.lthn.ai/core/go-ws/client v0.0.0
	forge.lthn.ai/core/go-ws/hub v0.0.0
	forge.lthn.ai/core/go-ws/transport v0.0.0
	github.com/golang-jwt/jwt/v5 v5.3.1
	github.com/nats-io/nats-server/v2 v2.15.3
)

require (
	github.com/antithesishq/antithesis-sdk-go v0.9.0-default-no-op // indirect
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/google/go-tpm v0.9.8 // indirect
	github.com/klauspost/compress v1.20.4 // indirect
	github.com/minio/highwayhash v1.0.4 // indirect
	github.com/nats-io/jwt/v2 v2.8.3 // indirect
	github.com/nats-io/nats.go v1.55.0 // indirect
	github.com/nats-io/nkeys v0.4.17 // indirect
	github.com/nats-io/nuid v1.0.1 // indirect
	github.com/redis/go-redis/v9 v9.23.0 // indirect
	go.uber.org/atomic v1.12.0 // indirect
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/sys v0.50.0 // indirect
	golang.org/x/time v0.16.0 // indirect
	nhooyr.io/websocket v1.8.17 // indirect
)

replace (
	forge.lthn.ai/core/go-ws/auth => ../auth
	forge.lthn.ai/core/go-ws/backplane => ../backplane
	forge.lthn.ai/core/go-ws/backplane/natsbp => ../backplane/natsbp
	forge.lthn.ai/core/go-ws/backplane/redisbp => ../backplane/redisbp
	forge.lthn.ai/core/go-ws/client => ../client
	forge.lthn.ai/core/go-ws/hub => ../hub
	forge.lthn.ai/core/go-ws/transport => ../transport
)

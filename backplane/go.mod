module forge.lthn.ai/core/go-ws/backplane

go 1.26

require forge.lthn.ai/core/go-ws/hub v0.0.0

replace forge.lthn.ai/core/go-ws/hub => ../hub

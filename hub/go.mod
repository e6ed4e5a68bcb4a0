module forge.lthn.ai/core/go-ws/hub

go 1.26

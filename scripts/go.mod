// Tools of this repository. Never tagged.
module forge.lthn.ai/core/go-ws/scripts

go 1.26.0

require golang.org/x/mod v0.43.0

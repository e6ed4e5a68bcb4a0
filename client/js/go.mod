// A boundary: the JavaScript client is part of no Go module, and so neither are
// its sources and node_modules. There is no Go here.
module forge.lthn.ai/core/go-ws/client/js

go 1.26

// Tests of the examples' pages in a real browser. Never tagged.
module forge.lthn.ai/core/go-ws/examples/tests

go 1.26

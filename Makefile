# The scripts say at their head what they do.

.PHONY: test deps lint fuzz bench ci

test: deps ## every module's tests, with the race detector, and the JavaScript client's
	@scripts/clientjs
	@scripts/test

deps: ## what the tests need: the only target that touches the system
	@scripts/deps

lint: ## gofmt, go vet, staticcheck, the rules of the house
	@scripts/lint

fuzz: ## every fuzz target for FUZZTIME (5s)
	@scripts/fuzz

bench: ## every benchmark, with its allocations
	@scripts/bench

ci: ## all that must hold before a change is taken
	@bash .ci/run

# make test is what must pass; .ci/run calls it. Every other target is a convenience.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
FUZZTIME := 20s
MINUTES := 5
SEED :=

.PHONY: build
build: ## build bin/onceway, static and stripped
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.release=$(VERSION)" -o bin/onceway ./cmd/onceway

.PHONY: test
test: ## everything: format, vet, staticcheck, all tests under the race detector
	@$(MAKE) --no-print-directory -j2 prepare tools
	@$(MAKE) --no-print-directory fmt vet staticcheck allocations race

.PHONY: prepare
prepare: ## find or install a C compiler, PostgreSQL's server programs, and what the TypeScript client is tested with
	@.ci/prepare

.PHONY: tools
tools: ## build what checks the code, in bin
	@CGO_ENABLED=0 GOBIN="$(CURDIR)/bin" go install $(STATICCHECK)

.PHONY: fmt
fmt: ## fail on files that gofmt would change
	@echo "== gofmt"
	@files="$$(gofmt -l .)"; if [[ -n "$$files" ]]; then echo "gofmt would change:"; echo "$$files"; exit 1; fi

# SQLite is C that was translated to Go. Its memory lies outside of Go's heap, where the race detector sees nothing, so
# watching it finds nothing and makes it four times slower. What calls it, the driver included, is watched.
RACE := -race -gcflags=modernc.org/sqlite/lib=-race=false

# With the flags of the tests, so that all they stand on is compiled once.
.PHONY: vet staticcheck lint
lint: prepare fmt vet staticcheck
vet:
	@echo "== go vet"
	@CGO_ENABLED=1 go vet $(RACE) ./...

staticcheck: tools
	@echo "== staticcheck"
	@CGO_ENABLED=1 GOFLAGS="$$(go env GOFLAGS) $(RACE)" bin/staticcheck ./...

# vet has looked at them already. The longest packages start first. One package more than there are cores: some of their tests wait.
PACKAGES := $(shell echo $$(( $$(getconf _NPROCESSORS_ONLN) + 1 )))
.PHONY: race
race: ## all tests under the race detector; skipped ones are listed with their reasons
	@echo "== go test -race"
	@CGO_ENABLED=1 go test $(RACE) -vet=off -p $(PACKAGES) -timeout 20m -json ./cmd/onceway/e2e ./idempotency/postgres ./internal/mutants ./openapi ./... | go run ./internal/testfilter $(if $(CI),-skips .ci/skips)

.PHONY: allocations
allocations: ## memory per request against its ceilings; not under the race detector, which changes it
	@echo "== allocations"
	@CGO_ENABLED=0 go test -count=1 -run '^TestAllocations$$' ./gateway ./idempotency/postgres

.PHONY: quick
quick: ## all tests without the race detector
	@go test -timeout 20m -json ./... | go run ./internal/testfilter

.PHONY: typescript
typescript: prepare ## build the TypeScript client and run those of its tests that need no gateway
	cd client/typescript && npm test

.PHONY: fuzz-short
fuzz-short: ## each fuzz test for FUZZTIME
	@grep -rlE --include='*_test.go' '^func Fuzz' . | while read -r file; do \
		for name in $$(sed -nE 's/^func (Fuzz[A-Za-z0-9_]+)\(.*/\1/p' "$$file"); do \
			echo "== $$name in $$(dirname "$$file")"; \
			go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) "$$(dirname "$$file")"; \
		done; \
	done

SEEDS := 10000
FROM := 1
.PHONY: simulate
simulate: ## run SEEDS simulated worlds from seed FROM on; one that fails prints how to see it again
	go test ./internal/simulator -run '^TestSimulate$$' -v -timeout 60m -seeds $(SEEDS) -from $(FROM)

.PHONY: chaos
chaos: ## two gateways under all faults for MINUTES, checked against the ledger; SEED=n repeats a schedule
	@ONCEWAY_CHAOS=$(MINUTES)m ONCEWAY_CHAOS_SEED=$(SEED) go test -count=1 -v -timeout $$(( $(MINUTES) + 10 ))m -run TestChaos ./internal/chaos

MUTANTS :=
.PHONY: mutants
mutants: ## break the code on purpose in every way of internal/mutants, or in those that MUTANTS matches, and say which test notices
	go run ./internal/mutants -run '$(MUTANTS)'

.PHONY: bench
bench: ## compare with peers; see bench/README.md
	go run ./bench

.PHONY: cover
cover: ## write coverage.html
	go test -coverpkg=./... -coverprofile=coverage.out ./...
	go tool cover -html=coverage.out -o coverage.html
	@go tool cover -func=coverage.out | tail -1

.PHONY: image
image: ## build the container image
	docker build --build-arg VERSION=$(VERSION) -t onceway:$(VERSION) .

.PHONY: clean
clean:
	rm -rf bin coverage.out coverage.html

.PHONY: help
help:
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1\t\2/p' Makefile | column -t -s $$'\t'

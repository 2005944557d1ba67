# The menu. `make help` prints it.
GO      ?= go
BIN     := bin/stillwatch
TOOLS   := build/tools
GOTEST  := $(GO) test -timeout 30m
export GOFLAGS := -buildvcs=false

.DEFAULT_GOAL := help
.PHONY: help setup setup-test build run test unit race lint generate bench nightly fresh clean

help: ## print this menu
	@awk -F':.*## ' '/^[a-z/-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## install what running needs (Debian packages, models) - safe to repeat
	@.ci/setup run
	@$(MAKE) --no-print-directory build
	@$(BIN) models build

setup-test: setup ## install what the tests need besides
	@.ci/setup test

build: ## compile bin/stillwatch
	@mkdir -p bin
	$(GO) build -trimpath -ldflags "-X main.version=$$(git describe --tags --always --dirty 2>/dev/null || echo dev)" -o $(BIN) ./cmd/stillwatch

bin/stillwatch-verify: ## compile a static program that verifies evidence on any Linux
	@mkdir -p bin
	CGO_ENABLED=0 $(GO) build -trimpath -o $@ ./cmd/stillwatch

run: setup ## start the server with a synthetic call and print the address to open
	$(BIN) demo

test: setup-test lint unit race ## install everything and run all tests

unit: ## run every test once, with the real servers, models and browser
	$(GOTEST) ./...

race: ## run the concurrent packages' tests under the race detector
	$(GOTEST) -race -short $(shell cat .ci/race-packages)

lint: ## gofmt, vet, staticcheck and the import table
	@test -z "$$($(TOOLS)/gofumpt -l $$(git ls-files '*.go' ':!*.gen.go'))" || { echo 'not formatted; run build/tools/gofumpt -w on:'; $(TOOLS)/gofumpt -l $$(git ls-files '*.go' ':!*.gen.go'); exit 1; }
	$(GO) vet ./...
	$(TOOLS)/staticcheck ./...
	CGO_ENABLED=0 $(GO) vet ./...

generate: ## make what is generated: the API's types and routes and, for editors alone, the types for the console's scripts
	$(GO) generate ./web/api

bench: build ## print the capture benchmark (40 participants, 720p VP8, 2 s) as JSON
	$(BIN) bench capture --participants 40 --codec vp8 --interval 2s --quality 720p --duration 60s --json

nightly: setup-test ## longer runs: fuzzing, soak, every codec's benchmark
	.ci/nightly

fresh: ## prove make run and make test in a new Debian 12 root (needs root and debootstrap)
	.ci/fresh

clean: ## remove what was built, keep data/
	rm -rf bin build

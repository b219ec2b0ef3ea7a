# make help lists the targets.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.7.0
# Typing make is the explicit word by which the lab may install Debian packages,
# as root, where no registry answers; LAB_INSTALL=no forbids it.
export LAB_INSTALL ?= yes
# What `up`, `down`, `e2e` and `bench` add to their commands.
ARGS ?=

# with-sources runs a command with DEVENV_SOURCES set: to what it is already, or
# to what the lab says, which is nothing where the registries answer. For `up`
# the lab starts no engine: without one the cluster runs as plain processes.
define with-sources
sources="$${DEVENV_SOURCES:-$$($(MAKE) -s $(1))}" && DEVENV_SOURCES="$$sources"
endef

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/devenv
	@CGO_ENABLED=0 go build -buildvcs=false -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o bin/devenv ./cmd/devenv

.PHONY: up
up: build ## create an environment and prove it
	@$(call with-sources,lab-auto) bin/devenv up $(ARGS)

.PHONY: down
down: build ## delete it
	@bin/devenv down $(ARGS)

.PHONY: test
test: unit e2e ## all tests: unit and end-to-end

.PHONY: unit
unit: ## fast tests, offline
	go test -race $$(go list ./... | grep -v /e2e$$)

.PHONY: browser
browser: ## Chromium from Debian's packages, if none is there: a test logs in with it
	@(command -v chromium && command -v certutil) > /dev/null || go run ./e2e/lab browser

.PHONY: e2e
e2e: build browser ## end-to-end tests on real clusters
	@$(call with-sources,lab) go test -count=1 -timeout=60m -parallel=3 $(ARGS) ./e2e

.PHONY: bench
bench: build ## what users wait for, against bare kind and against bars, with timelines
	@$(call with-sources,lab) go test -count=1 -timeout=40m -run='^$$' -bench=Up -benchtime=3x $(ARGS) ./e2e

# How long each fuzz target looks for input that breaks it.
FUZZTIME ?= 1m

.PHONY: fuzz
fuzz: ## look for tokens, profiles, reports and plug-in input that break their readers
	go test -run='^$$' -fuzz=FuzzToken -fuzztime=$(FUZZTIME) ./provision/jwt
	go test -run='^$$' -fuzz=FuzzLoadFile -fuzztime=$(FUZZTIME) ./profiles
	go test -run='^$$' -fuzz=FuzzExecAPIVersion -fuzztime=$(FUZZTIME) ./provision/session
	go test -run='^$$' -fuzz=FuzzRead -fuzztime=$(FUZZTIME) ./provision/report

.PHONY: lint
lint: ## gofmt, go vet, staticcheck
	@test -z "$$(gofmt -l . | tee /dev/stderr)" || (echo "run gofmt -w on these" >&2; exit 1)
	go vet ./...
	go run $(STATICCHECK) ./...

.PHONY: tidy
tidy: ## go.mod and go.sum, here and in the sample project, which has this one's dependencies
	go mod tidy
	cd e2e/sample && go mod tidy

.PHONY: lab
lab: ## images from source, where no registry answers; prints the sources file
	@go run ./e2e/lab

.PHONY: lab-auto
lab-auto: ## the same where an engine answers, else only what plain processes need
	@go run ./e2e/lab auto

.PHONY: lab-undo
lab-undo: ## revert what the lab changed on this machine
	@go run ./e2e/lab undo

.PHONY: lab-save
lab-save: ## write the lab's cache to FILE=…
	@go run ./e2e/lab save "$(FILE)"

.PHONY: lab-load
lab-load: ## read the lab's cache from FILE=…
	@go run ./e2e/lab load "$(FILE)"

.PHONY: release
release: ## archives for Linux and macOS in bin/release, with checksums and bills of materials
	@go run ./cmd/release -version "$(VERSION)" $(ARGS)

.PHONY: clean
clean: ## remove what was built, the lab's cache included
	rm -rf bin
	rm -rf "$${XDG_CACHE_HOME:-$$HOME/.cache}/devenv"

# `make run` and `make test` are all that a newcomer needs; `make help` lists the rest.
# `make run` needs Go and make, `make test` npm besides; everything else is found or installed, and said.

export CGO_ENABLED ?= 0
BIN := bin
TOOLS := $(BIN)/tools
GUESTS := asker cited dedupe echo flood guardian hog liar loop paragraphs rerank state trap
GUEST_FILES := $(GUESTS:%=$(BIN)/guests/%.wasm)
LANGUAGES := assemblyscript c c-rerank go micropython micropython-exceptions quickjs rust zig
LANGUAGE_FILES := $(LANGUAGES:%=$(BIN)/guests/languages/%.wasm)
GO_FILES := $(shell find . -name '*.go' -not -path './$(BIN)/*' 2>/dev/null)
DATA_FILES := openapi.yaml $(shell find migrations knowledge cmd plugins -type f -not -name '*.go' 2>/dev/null)

GOLANGCI_LINT_VERSION := v2.15.0
GOFUMPT_VERSION := v0.12.0

.DEFAULT_GOAL := help
.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

# --- what a newcomer needs -----------------------------------------------------------

.PHONY: run
ifneq ($(shell command -v go),)
run: build $(BIN)/guests/cited.wasm ## Start everything on this machine and do the main job; Ctrl-C stops it
	@exec $(BIN)/tars dev
else
run:
	@exec deploy/run.sh
endif

.PHONY: test
test: build languages ## Run every test with the race detector, against a real PostgreSQL
	CGO_ENABLED=1 $(BIN)/tars pg exec -- go test -race -timeout 20m ./...

.PHONY: smoke
smoke: build $(BIN)/guests/cited.wasm ## Do the main job on free ports in a temporary folder, check each step, leave nothing
	@$(BIN)/tars smoke

.PHONY: clean-data
clean-data: build ## Remove the database and the keys that `make run` made
	@$(BIN)/tars pg clean

# --- building ------------------------------------------------------------------------

.PHONY: build
build: $(BIN)/tars ## Build bin/tars

$(BIN)/tars: go.mod go.sum $(GO_FILES) $(DATA_FILES)
	@echo "building $@"
	@go build -trimpath -ldflags='-s -w' -o $@ ./cmd/tars

.PHONY: guests
guests: $(GUEST_FILES) ## Compile the sample and test plugins to bin/guests

$(BIN)/guests/%.wasm: go.mod $(shell find plugins/guests plugins/sdk/go -type f)
	@mkdir -p $(@D)
	@echo "building $@"
	@GOOS=wasip1 GOARCH=wasm CGO_ENABLED=0 go build -trimpath -buildmode=c-shared -ldflags='-s -w' -o $@ ./plugins/guests/$*
	@cp plugins/guests/$*/plugin.json $(BIN)/guests/$*.json

.PHONY: languages
languages: $(LANGUAGE_FILES) ## Compile the sample plugin of each language to bin/guests/languages; fetches compilers, once

$(BIN)/guests/languages/go.wasm: go.mod $(shell find plugins/guests/languages/go plugins/sdk/go -type f)
	@mkdir -p $(@D)
	@echo "building $@"
	@GOOS=wasip1 GOARCH=wasm CGO_ENABLED=0 go build -trimpath -buildmode=c-shared -ldflags='-s -w' -o $@ ./plugins/guests/languages/go

.SECONDEXPANSION:
$(BIN)/guests/languages/%.wasm: plugins/guests/languages/build.sh plugins/guests/languages/toolchain.sh $$(wildcard plugins/guests/languages/c/*.h plugins/guests/languages/$$(firstword $$(subst -, ,$$*))/* plugins/guests/languages/$$*/*)
	@echo "building $@"
	@plugins/guests/languages/build.sh $* $@

.PHONY: generate
generate: ## Make the generated code again from openapi.yaml
	go generate ./api/oapi

.PHONY: clean
clean: ## Remove what was built
	rm -rf $(BIN)

# --- the gate ------------------------------------------------------------------------

.PHONY: check
check: build format-check vet lint generate-check layout ## Format, vet, lint, generated code, layout

.PHONY: format
format: $(TOOLS)/gofumpt ## Format the code
	$(TOOLS)/gofumpt -w $(filter-out ./api/oapi/%,$(GO_FILES))

.PHONY: format-check
format-check: $(TOOLS)/gofumpt
	@out=$$($(TOOLS)/gofumpt -l $(filter-out ./api/oapi/%,$(GO_FILES))); \
	if [ -n "$$out" ]; then echo "not formatted (make format):"; echo "$$out"; exit 1; fi

.PHONY: vet
vet:
	go vet ./...

.PHONY: lint
lint: $(TOOLS)/golangci-lint
	$(TOOLS)/golangci-lint run ./...

.PHONY: generate-check
generate-check: generate
	@git diff --exit-code --stat -- api/oapi || { echo "generated code is not current: commit what make generate made"; exit 1; }

.PHONY: layout
layout:
	go test -count=1 -run '^TestLayout' ./cmd/tars

$(TOOLS)/golangci-lint:
	@echo "installing golangci-lint $(GOLANGCI_LINT_VERSION) into $(TOOLS) (a few minutes, once)"
	@GOBIN=$(abspath $(TOOLS)) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)

$(TOOLS)/gofumpt:
	@GOBIN=$(abspath $(TOOLS)) go install mvdan.cc/gofumpt@$(GOFUMPT_VERSION)

# --- measuring -----------------------------------------------------------------------

.PHONY: bench
bench: build ## Run the Go benchmarks
	$(BIN)/tars pg exec -- go test -run '^$$' -bench . -benchtime 1s ./...

# What is compared with stays out of go.mod: the module is one of its own. It needs
# a C compiler, for wasmtime.
BENCHVM := vmhost/benchvm
BENCHVM_GUESTS := $(foreach l,c go quickjs rust,$(BIN)/guests/languages/$(l).wasm)

.PHONY: bench-vm
bench-vm: build $(BENCHVM_GUESTS) ## Compare plugins in cells with wazero, Extism and wasmtime; SHORT=1 takes a minute
	@cd $(BENCHVM) && CGO_ENABLED=1 go build -trimpath -o $(abspath $(BIN))/benchvm .
	@$(BIN)/benchvm -commit "$$(git describe --always --dirty)" $(if $(SHORT),-short,-raw docs/benchmarks/raw/vm.json -plot docs/benchmarks/vm.svg)

# Another module, for the same reason; npm brings the vectors, once.
BENCHSEARCH := knowledge/benchsearch

.PHONY: bench-search
bench-search: build ## Compare retrieval over REST with pgx, pgbench and Go; SHORT=1 takes a minute
	@cd $(BENCHSEARCH) && go build -trimpath -o $(abspath $(BIN))/benchsearch .
	@$(BIN)/benchsearch -commit "$$(git describe --always --dirty)" $(if $(SHORT),-short,-raw docs/benchmarks/raw/search.json)

.PHONY: bench-embed
bench-embed: build ## Measure speed, size and retrieval of the built-in embedders; SHORT=1 takes a minute
	@go build -trimpath -o $(BIN)/embedbench ./cmd/tars/embedbench
	@$(BIN)/embedbench -commit "$$(git describe --always --dirty)" $(if $(SHORT),-short,-raw docs/benchmarks/raw/embed.json)

.PHONY: embed-folders
embed-folders: ## Write the folders that ingest is measured with into DIR: PostgreSQL's manual, Debian's descriptions
	@test -n "$(DIR)" || { echo "usage: make embed-folders DIR=folder"; exit 2; }
	@go run ./cmd/tars/embedbench -folders "$(DIR)"

.PHONY: check-bench
check-bench: build $(BENCHVM_GUESTS) ## Vet and test what bench-vm and bench-search are made of
	cd $(BENCHVM) && CGO_ENABLED=1 go vet ./... && CGO_ENABLED=1 go test -race ./...
	cd $(BENCHSEARCH) && CGO_ENABLED=1 go vet ./... && CGO_ENABLED=1 go test -race ./...

# --- Docker --------------------------------------------------------------------------

.PHONY: up
up: ## Start PostgreSQL and TARS in Docker; makes the keys when they are missing
	@deploy/secrets.sh
	docker compose up --build --wait

.PHONY: down
down: ## Stop what `make up` started; data stays
	docker compose down

.PHONY: test-docker
test-docker: ## Test the image and docker-compose.yml, with Docker or a private engine (root)
	@deploy/test-docker.sh

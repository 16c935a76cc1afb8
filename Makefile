# Weft: make help lists the targets.
GO      ?= go
TEXT    ?= $(shell $(GO) env GOROOT)/src/testdata/Isaac.Newton-Opticks.txt
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
# The race detector needs a C compiler; without one the tests run without it.
RACE    := $(shell command -v gcc >/dev/null 2>&1 && echo -race)
# So does the native core of functions in Python; without it they are reached through their proxies.
CORE    := $(shell command -v gcc >/dev/null 2>&1 && echo "CGO_ENABLED=1 $(GO) build -trimpath -ldflags '-s -w' -buildmode=c-shared -o bin/libweft.so ./sdk/core && rm -f bin/libweft.h || { rm -f bin/libweft.so; echo 'weft: gcc does not build the native core: functions in Python run without it (docs/native-core.md)' >&2; }" \
	|| echo "rm -f bin/libweft.so; echo 'weft: no gcc: functions in Python run without the native core (docs/native-core.md)' >&2")
CHECK   := honnef.co/go/tools/cmd/staticcheck@v0.8.2
COUNT   ?= 1

export CGO_ENABLED ?= 0

.PHONY: help product build run test check bench compare soak clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 10

product:
	@$(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/ ./cmd/...
	@$(CORE)

build: product ## weft, actionproxy, invokerhook, libweft.so and weft-compare into bin/
	@cd bench && $(GO) build -trimpath -ldflags '-s -w' -o ../bin/ ./cmd/...

run: product ## count the words of Newton's Opticks with functions in two languages
	@echo 'This counts the words of Newton'"'"'s Opticks: a Python function splits lines, two Go workers count, a Python function sorts.' >&2
	@bin/weft run examples/wordcount/pipeline.yaml --in '$(TEXT)'
	@echo 'Next: bin/weft run --help, and the README: your own function in three steps.' >&2

test: build ## all tests
	CGO_ENABLED=$(if $(RACE),1,0) $(GO) test $(RACE) -timeout 30m -shuffle=on -count=$(COUNT) ./...
	cd bench && CGO_ENABLED=$(if $(RACE),1,0) $(GO) test $(RACE) -shuffle=on -count=$(COUNT) ./...
	CGO_ENABLED=0 $(GO) test -run Alloc -count=$(COUNT) ./quicmesh/... ./sdk/... # the race detector allocates

check: ## gofmt, vet, staticcheck
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo 'gofmt -w these files'; exit 1; }
	$(GO) vet ./...
	$(GO) run $(CHECK) ./...
	cd bench && $(GO) vet ./... && $(GO) run $(CHECK) ./...

bench: build ## the benchmarks, each as a ratio to a raw reference in the same run
	$(GO) test -run '^$$' -bench . -benchtime 2s ./quicmesh/... ./actionproxy/... ./tests/...
	WEFT_BENCH=1 $(GO) test -count=1 -run HookBesideOthers -v ./invokerhook

compare: build ## Weft beside Kafka, NATS, gRPC, HTTP, Flink and the machine's limits: table, compare.json, compare.html
	bin/weft compare --html compare.html --json compare.json

soak: build ## 10 minutes of renewals in each placement pattern, 1000 short runs, 10000 attacks, 10^9 on a ring
	WEFT_SOAK=1 $(GO) test -timeout 60m -run Soak -v ./tests/...
	WEFT_SOAK=1 $(GO) test -timeout 60m -run 'TestIsolation|TestContainerThatNeverComes' -v ./invokerhook
	WEFT_SOAK=1 $(GO) test -timeout 60m -run 'TestFlippedMemory|TestKilledAtRandomPoints' -v ./quicmesh/transport/shmring

clean: ## remove bin/
	rm -rf bin

# make help lists the targets.

SHELL   := /bin/bash
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
GO      := go
TOOL    := $(GO) tool -modfile=tools/go.mod
ROOT    := $(shell [ $$(id -u) = 0 ] && echo yes)
EVENTS  := bin/events.log
CAPTURE := testdata/edge.pcapng.gz
# What is built, tested and linted is compiled once, as it ships: without C, and without the paths of this machine.
export CGO_ENABLED := 0
export GOFLAGS     := -trimpath
# What tests and generators use beside Go, as COMMAND:DEBIAN-PACKAGE.
NEEDS   := ip:iproute2 ethtool:ethtool ping:iputils-ping sysctl:procps nft:nftables iptables:iptables conntrack:conntrack curl:curl iperf3:iperf3 gcc:gcc clang-14:clang-14 llvm-strip-14:llvm-14 protoc:protobuf-compiler chromium:chromium systemd-analyze:systemd

.PHONY: help build run test race sim soak fuzz bench bench-growth bench-all lint generate check needs collectors e2e packages packages-test install clean

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

# The version is that of the tag and the commit; what Go would say of them besides depends on how the sources were got.
build: ## build bin/pipelined, and the sinks that are executables of their own
	@mkdir -p bin
	@set -- cmd/*; i=0; for command; do i=$$((i + 1)); echo "building bin/$${command#cmd/} ($$i of $$#)"; \
	  $(GO) build -buildvcs=false -ldflags '-s -w -X main.version=$(VERSION)' -o bin/ ./$$command || exit 1; done

run: build ## run the shipped pipeline over the shipped capture: first lines of each kind, and the ledger
	@rm -f $(EVENTS)
	@echo "running pipeline.toml over $(CAPTURE)"
	@bin/pipelined run --log-level warn --legend 2> bin/ledger.txt || { cat bin/ledger.txt; exit 1; }
	@echo "first events of each kind (all are in $(EVENTS), as RFC 5424):"; echo
	@bin/pipelined read -f text --colour $$([ -t 1 ] && [ -z "$$NO_COLOR" ] && echo always || echo never) $(CAPTURE) 2> /dev/null | awk 'seen[$$2]++ < 2'
	@echo; cat bin/ledger.txt

# Where they cannot be had, tests with real collectors are skipped. A comma would end the argument of if.
COLLECTORS = $(if $(ROOT),@internal/testing/collectors/install.sh bin/collectors || echo "no rsyslogd and syslog-ng and ulogd and promtool")

# Those that take longest come first: none is left to be waited for alone.
PACKAGES = ./test/e2e ./test/sim ./sinks/syslog ./sinks/nats ./internal/pluginhost ./xsk ./...

TESTFLAGS ?=
test: $(if $(ROOT),needs) ## run every test; the AF_XDP ones too where this is root
	$(COLLECTORS)
	@set -o pipefail; $(GO) test $(TESTFLAGS) $(PACKAGES) 2>&1 | test/progress.sh $$($(GO) list ./... | wc -l)

# The end-to-end tests, and those of plugins and the kit for them, run programs that are built as they ship, in which the detector is not. Commands
# put together packages that run under it by themselves.
RACED = $$($(GO) list $(PACKAGES) | grep -v -e /test/e2e$$ -e /test/plugins$$ -e /internal/pluginkit$$ -e /cmd/)
race: $(if $(ROOT),needs) ## run every test but those of commands and built programs under the race detector
	$(COLLECTORS)
	@set -o pipefail; CGO_ENABLED=1 $(GO) test -race -vet=off $(TESTFLAGS) $(RACED) 2>&1 | test/progress.sh $$(echo $(RACED) | wc -w)

SEEDS ?= 2000
sim: ## simulate SEEDS schedules of faults under virtual time, or tell all that happens in one: SEED=17
	PIPELINED_SIM_SEEDS=$(SEEDS) PIPELINED_SIM_SEED=$(SEED) $(GO) test -count=1 -timeout 0 -v -run 'TestSchedules' ./test/sim

SOAK ?= 1h
soak: ## simulate new schedules for as long as SOAK says
	PIPELINED_SIM_SOAK=$(SOAK) $(GO) test -count=1 -timeout 0 -v -run 'TestSchedules' ./test/sim

FUZZTIME ?= 30s
fuzz: ## run each fuzz target for FUZZTIME
	@set -e; for pkg in $$($(GO) list ./...); do \
	  for target in $$($(GO) test -list '^Fuzz' $$pkg | grep ^Fuzz || true); do \
	    echo "== $$pkg $$target"; $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 20x $$pkg; \
	  done; done

BENCHTIME ?= 1s
bench: build ## run the benchmarks that the figures of the README come from, and print those
	@mkdir -p bin
	@PIPELINED_REQUIRE_XDP=$(if $(ROOT),1,0) $(GO) test -p 1 -run '^$$' -bench 'Gate|PacketPath|SessionClose|Lookup|Read$$|Receive|Stream|Plugin|Syslog|FileSink/rfc5424|Rsyslog|NFLOG|Conntrack' -benchtime $(BENCHTIME) \
	  ./core/admission ./core/worker ./core/session ./internal/pluginhost ./sdk/format ./sdk/eventstream ./sinks/file ./sinks/syslog ./cmd/pipelined ./test/stream ./sources/nflog ./test/bench ./test/e2e > bin/bench.txt || { cat bin/bench.txt; exit 1; }
	@awk -f test/bench/table.awk bin/bench.txt

GROWTH_RUNS ?= 5
bench-growth: ## measure how the cost of a packet or an event grows with the configuration: a table, and a plot in docs/growth.svg
	@mkdir -p bin
	@for p in core/admission core/worker test/bench; do $(GO) test -c -o bin/$$(basename $$p).test ./$$p; done; rm -f bin/growth.txt
	@for i in $$(seq $(GROWTH_RUNS)); do echo "run $$i of $(GROWTH_RUNS)"; \
	  { bin/bench.test -test.run '^$$' -test.bench 'Growth(Policies|Nftables|Sinks)' -test.benchtime 300000x && \
	    bin/bench.test -test.run '^$$' -test.bench 'Growth(VLANs|Workers)' -test.benchtime 3000000x -test.count 3 && \
	    bin/worker.test -test.run '^$$' -test.bench PathSessions -test.benchtime 2000000x -test.count 3 && \
	    bin/admission.test -test.run '^$$' -test.bench '^BenchmarkGate(Refuse|Admit)$$/=1$$' -test.benchtime 2000000x; } >> bin/growth.txt || \
	  { cat bin/growth.txt; exit 1; }; done
	@awk -v svg=docs/growth.svg -f test/bench/growth.awk bin/growth.txt
	@echo "start: the program checks a large configuration" && \
	  bin/bench.test -test.run '^$$' -test.bench Start -test.benchtime $(GROWTH_RUNS)x > bin/start.txt || { cat bin/start.txt; exit 1; }
	@awk '/^BenchmarkStart/ { sub(/^BenchmarkStart\//, "", $$1); sub(/-[0-9]+$$/, "", $$1); $$2 = ""; print "  " $$0 }' bin/start.txt

bench-all: ## run every benchmark there is
	@$(GO) test -p 1 $(TESTFLAGS) -run '^$$' -bench . -benchtime $(BENCHTIME) $$(grep -rl --include='*_test.go' '^func Benchmark' . | xargs -n 1 dirname | sort -u)

lint: ## run the linters pinned in tools/go.mod
	$(TOOL) golangci-lint run ./...
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo "gofmt would change:"; gofmt -l $$(git ls-files '*.go'); exit 1; }

generate: $(if $(ROOT),needs) ## rebuild the XDP program and its loader (clang), the code of the sink protocol (protoc), and the table of packages
	@mkdir -p bin
	$(GO) build -modfile=tools/go.mod -o bin/ google.golang.org/protobuf/cmd/protoc-gen-go google.golang.org/grpc/cmd/protoc-gen-go-grpc
	$(GO) generate ./...

check: lint race e2e ## what CI runs

needs: ## install what tests use beside Go and is missing (root, Debian)
	@missing=""; for need in $(NEEDS); do command -v "$${need%%:*}" > /dev/null || missing="$$missing $${need#*:}"; done; \
	  [ -d /usr/include/bpf ] || missing="$$missing libbpf-dev"; \
	  [ -z "$$missing" ] || { echo "installing$$missing"; apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $$missing > /dev/null; }

collectors: ## unpack rsyslogd, syslog-ng, ulogd and promtool into bin/collectors, for tests and benchmarks beside them (Debian)
	@internal/testing/collectors/install.sh bin/collectors

e2e: build $(if $(ROOT),needs) ## real traffic between network namespaces, tapped over AF_XDP, or through a router that is looked at (root)
	PIPELINED_REQUIRE_XDP=1 $(GO) test -count=1 -v -run . ./test/e2e

install: ## install what make build has built, and the systemd unit
	@test -x bin/pipelined || { echo "run make build first"; exit 1; }
	install -D -m 0755 bin/pipelined $(DESTDIR)/usr/bin/pipelined
	install -D -m 0755 -t $(DESTDIR)/usr/lib/pipelined/plugins bin/pipelined-sink-*
	install -D -m 0644 dist/pipelined.service $(DESTDIR)/usr/lib/systemd/system/pipelined.service
	install -D -m 0644 dist/pipelined.sysusers $(DESTDIR)/usr/lib/sysusers.d/pipelined.conf
	install -D -m 0644 dist/prometheus/pipelined.rules.yml $(DESTDIR)/usr/share/pipelined/prometheus/pipelined.rules.yml
	install -D -m 0644 dist/grafana/pipelined.json $(DESTDIR)/usr/share/pipelined/grafana/pipelined.json
	install -D -m 0644 dist/notify-reload.conf $(DESTDIR)/usr/share/pipelined/systemd/notify-reload.conf
	install -D -m 0644 -b pipeline.toml $(DESTDIR)/etc/pipelined/pipeline.toml.example
	install -D -m 0644 -b router.toml $(DESTDIR)/etc/pipelined/router.toml.example
	install -D -m 0644 -b bridge.toml $(DESTDIR)/etc/pipelined/bridge.toml.example

# A version that both package managers take: that of the tag, or one before all others.
PACKAGE_VERSION ?= $(patsubst v%,%,$(shell git describe --tags --match 'v[0-9]*' --exact-match 2>/dev/null || echo 0.0.0+git$$(git show -s --format=%cd.%h --date=format:%Y%m%d)))
SOURCE_DATE_EPOCH ?= $(shell git show -s --format=%ct)
packages: build ## deb and rpm, with man pages, completions, checksums and an SBOM, in bin/packages: the same bytes for the same commit
	@rm -rf bin/packages bin/man bin/completions && mkdir -p bin/packages bin/man bin/completions
	@$(GO) test -count=1 -run '^TestManual$$' ./cmd/pipelined -args -manual $(CURDIR)/bin/man > /dev/null && gzip -n9 bin/man/*
	@bin/pipelined completion bash > bin/completions/pipelined.bash
	@bin/pipelined completion zsh > bin/completions/_pipelined
	@bin/pipelined completion fish > bin/completions/pipelined.fish
	@for packager in deb rpm; do SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) PACKAGE_VERSION='$(PACKAGE_VERSION)' PACKAGE_ARCH=$$($(GO) env GOARCH) \
	  $(TOOL) nfpm package --config dist/nfpm.yaml --packager $$packager --target bin/packages || exit 1; done
	@$(TOOL) cyclonedx-gomod bin -json -noserial -version '$(PACKAGE_VERSION)' -output bin/packages/pipelined.cdx.json bin/pipelined
	@sed -i 's/"timestamp": "[^"]*"/"timestamp": "'$$(date -u -d @$(SOURCE_DATE_EPOCH) +%Y-%m-%dT%H:%M:%SZ)'"/' bin/packages/pipelined.cdx.json
	@cd bin/packages && sha256sum -- * > ../SHA256SUMS && mv ../SHA256SUMS . && cat SHA256SUMS

packages-test: packages ## install, start, upgrade and remove the deb in a container with a real systemd (root, Debian)
	@test/packages.sh

clean: ## remove what was built
	rm -rf bin

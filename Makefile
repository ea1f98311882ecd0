# make test   everything that must hold; needs Go alone (what needs Node, Python, Chromium, Java, Maven or Terraform is skipped with a line that says so)
# make torture  the same under kills, stops and a failing Pub/Sub, for ROUNDS rounds, JOBS at a time, with WORKERS workers that
#             decide as one; TORTURE has further flags, such as --emulator, --seed 7 or --sink telemetry,cloudlogging
# make bench  load → ingest → broker → worker → sink as processes: CPU per span, memory, spans per second, completeness
# make fuzz   each fuzz target for FUZZTIME
# make terraform  terraform fmt, validate and test of every module and example, with Google's provider, which it downloads
# make mutations  breaks the Terraform module, a line at a time, and says what no test notices; CI tries a seventh of it
# make lint   gofmt, go vet, staticcheck

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
FUZZTIME ?= 30s
BENCH ?=
ROUNDS ?= 5
WORKERS ?= 1
JOBS ?= 1
TORTURE ?=

.PHONY: test bench torture fuzz terraform mutations lint

test: lint
	go test -race -timeout 20m ./...
	cd e2e && go test -count=1 -parallel 4 -timeout 20m ./...
	cd compare && go test -count=1 -timeout 20m ./...

lint:
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$unformatted" ]; then echo "gofmt would change:"; echo "$$unformatted"; exit 1; fi
	go vet ./...
	go tool staticcheck ./...
	cd e2e && go vet ./...
	cd compare && go vet ./...

bench:
	go run ./bench run $(BENCH)

torture:
	go run ./bench torture --rounds $(ROUNDS) --workers $(WORKERS) --jobs $(JOBS) $(TORTURE)

terraform:
	@for dir in terraform/modules/* terraform/examples/*; do \
	  echo "== $$dir"; \
	  (cd $$dir && terraform fmt -check -recursive && terraform init -backend=false -input=false >/dev/null && terraform validate && terraform test) || exit 1; \
	done

mutations:
	TAILWEIR_MUTATIONS=1 go test ./terraform -run Mutations -count=1 -v -timeout 3h

fuzz:
	@for pkg in $$(go list ./...); do \
	  for target in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "$$pkg $$target"; go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 20x $$pkg; \
	  done; \
	done

# sup: build, test and install the five tools.
#
#   make run      build supd and run it on a demo configuration
#   make test     every test, with the race detector
#   make check    what must hold before a change lands: format, vet, staticcheck, builds, tests

MODULES = lib supconf supctl supd suplog suptail
TOOLS   = supconf supctl supd suplog suptail

VERSION := $(shell git describe --tags --match 'v[0-9]*' 2>/dev/null | sed 's/^v//')
ifeq ($(VERSION),)
VERSION := 0.1.0
endif

GO      ?= go
LDFLAGS  = -s -w -X sup/lib/cli.Version=$(VERSION)
PREFIX  ?= /usr/local
DESTDIR ?=
BINDIR   = $(DESTDIR)$(PREFIX)/bin
MANDIR   = $(DESTDIR)$(PREFIX)/share/man
UNITDIR  = $(DESTDIR)$(PREFIX)/lib/systemd/system
TMPFILESDIR = $(DESTDIR)$(PREFIX)/lib/tmpfiles.d
DOCDIR   = $(DESTDIR)$(PREFIX)/share/doc/sup

.PHONY: all build run test fuzz soak check bench install uninstall clean help

all: build

# Not position-independent: Go's own linker makes such programs need a loader, and
# with the C linker's -static-pie they start later (4.6 ms, not 2.8) and are larger
# in memory (supd with suplog by 4.8 MB).
build: ## build the five tools into bin/ (static, without paths of this machine)
	@mkdir -p bin
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./supconf ./supctl ./supd ./suplog ./suptail
	@$(GO) run ./lib/internal/thirdparty $(addprefix bin/,$(TOOLS)) >bin/THIRD-PARTY || { rm -f bin/THIRD-PARTY; exit 1; }

run: build ## build and run supd on a demo configuration in a temporary directory
	./bin/supd --demo

# Tests read and build what lies in other modules, of which go's cache of results
# knows nothing.
TESTFLAGS ?= -count=1
test: build ## run every test with the race detector
	@bad=; for m in $(MODULES); do (cd $$m && $(GO) test -race -timeout 30m $(TESTFLAGS) ./...) || bad="$$bad $$m"; done; \
	  test -z "$$bad" || { echo "tests have failed in:$$bad" >&2; exit 1; }

FUZZTIME ?= 30s
fuzz: ## run every fuzz target for FUZZTIME each
	@set -e; for m in $(MODULES); do (cd $$m && for p in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz' || true); do \
	    echo "== $$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$p; done; done); done

soak: ## the long tests in full: kills, upgrades and churn under load; an hour or more
	cd supd && SUP_STRESS=1 $(GO) test -count=1 -v -timeout 4h .
	cd suplog && $(GO) test -count=1 -v -timeout 1h . -lines 1000000

check: ## what must hold before a change lands
	./.ci/run

bench: build ## the project's own measurements
	@set -e; for m in $(MODULES); do (cd $$m && $(GO) test -run '^$$' -bench . ./...); done

# Root may have no Go in its path, and what "make" has built is there.
install: $(if $(shell command -v $(GO)),build) ## install tools, manual pages and systemd files below DESTDIR/PREFIX; Supervisor's names as links
	install -d $(BINDIR) $(MANDIR)/man1 $(MANDIR)/man8 $(UNITDIR) $(TMPFILESDIR) $(DOCDIR)
	install -m 755 $(addprefix bin/,$(TOOLS)) $(BINDIR)
	ln -sf supd $(BINDIR)/supervisord
	ln -sf supd $(BINDIR)/pidproxy
	ln -sf supctl $(BINDIR)/supervisorctl
	ln -sf supconf $(BINDIR)/echo_supervisord_conf
	install -m 644 supconf/supconf.1 supctl/supctl.1 suplog/suplog.1 suptail/suptail.1 $(MANDIR)/man1
	install -m 644 supd/supd.8 $(MANDIR)/man8
	sed 's,/usr/local/bin,$(PREFIX)/bin,' supd/systemd/supd.service >$(UNITDIR)/supd.service
	chmod 644 $(UNITDIR)/supd.service
	install -m 644 supd/systemd/sup.conf $(TMPFILESDIR)
	install -m 644 LICENSE bin/THIRD-PARTY supd/systemd/hardened.conf $(DOCDIR)

uninstall: ## remove what install has put there
	rm -f $(addprefix $(BINDIR)/,$(TOOLS) supervisord supervisorctl echo_supervisord_conf pidproxy)
	rm -f $(addprefix $(MANDIR)/man1/,supconf.1 supctl.1 suplog.1 suptail.1) $(MANDIR)/man8/supd.8
	rm -f $(UNITDIR)/supd.service $(TMPFILESDIR)/sup.conf
	rm -f $(addprefix $(DOCDIR)/,LICENSE THIRD-PARTY hardened.conf)
	rmdir $(DOCDIR) 2>/dev/null || true

clean: ## remove what build has made
	rm -rf bin

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /  \1	/p' $(MAKEFILE_LIST) | expand -t 14

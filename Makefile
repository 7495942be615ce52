# edw_stream: make && make install && make installcheck
#
# installcheck wants a running server that has edw_stream in
# shared_preload_libraries; test/run sets one up and runs everything.

EXTENSION = edw_stream
MODULE_big = edw_stream
DATA = $(wildcard sql/edw_stream--*.sql)

SOURCES_C = $(wildcard src/*.c src/*/*.c)
SOURCES_CXX = $(wildcard src/*/*.cpp)
OBJS = $(SOURCES_C:.c=.o) $(SOURCES_CXX:.cpp=.o)

REGRESS = $(patsubst test/regress/sql/%.sql,%,$(wildcard test/regress/sql/*.sql))
REGRESS_OPTS = --inputdir=test/regress --outputdir=$(CURDIR) --load-extension=edw_stream
ISOLATION = $(patsubst test/isolation/specs/%.spec,%,$(wildcard test/isolation/specs/*.spec))
ISOLATION_OPTS = --inputdir=test/isolation --outputdir=$(CURDIR)/output_iso --load-extension=edw_stream

PG_CONFIG ?= pg_config
INCLUDEDIR_SERVER := $(shell $(PG_CONFIG) --includedir-server)

# The server's own headers are not -Wextra clean: they count as system headers.
PG_CPPFLAGS = -isystem $(INCLUDEDIR_SERVER) -Isrc
PG_CFLAGS = -Wall -Wextra -Werror
PG_CXXFLAGS = -std=c++17 -Wall -Wextra -Werror -fno-exceptions -fno-rtti
SHLIB_LINK = -lrdkafka -lsimdjson -lstdc++

EXTRA_CLEAN = output_iso results regression.diffs regression.out tmp_check

# Bitcode for JIT inlining is of no use here and would need LLVM to build.
override with_llvm = no

PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

# every object is rebuilt when a header changes: the tree is small
$(OBJS): $(wildcard src/*.h src/*/*.h)

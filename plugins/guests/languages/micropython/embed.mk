# Makes MicroPython's generated headers and gathers its sources in the current
# folder; MICROPYTHON_TOP, CC and PYTHON are told by build.sh.
SRC_QSTR += extmod/modjson.c
include $(MICROPYTHON_TOP)/ports/embed/embed.mk

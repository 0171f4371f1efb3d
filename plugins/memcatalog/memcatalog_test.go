package memcatalog_test

import (
	"testing"

	"github.com/tars-project/tars/plugins"
	"github.com/tars-project/tars/plugins/catalogtest"
	"github.com/tars-project/tars/plugins/memcatalog"
)

func TestCatalog(t *testing.T) {
	catalogtest.Run(t, catalogtest.Harness{New: func(*testing.T) plugins.Catalog { return new(memcatalog.Catalog) }})
}
